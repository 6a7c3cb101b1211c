"""Detectors that were made elsewhere: a user's own network, an ONNX file, an estimator."""

import copy
import re

import numpy as np
import pytest
import torch
from torch import nn

import kdcompress as kd
from kdcompress import bundle, signature
from kdcompress import recipe as recipes
from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.module import Wrapped
from kdcompress.architectures.modules import MODULES
from kdcompress.architectures.scoring import Distance, Preparation, Reconstruction
from kdcompress.bundle import Manifest
from kdcompress.errors import InputError, ScoreError
from kdcompress.evaluation import score
from kdcompress.planning import _meta, plan
from kdcompress.profiling.profile import profile
from kdcompress.start import load_data, resolve_written

IMAGES = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(60, 5, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    def __init__(self, channels=4):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(1, channels, 3, 2, 1), nn.ReLU())
        self.back = nn.ConvTranspose2d(channels, 1, 4, 2, 1)

    def forward(self, x):
        return self.back(self.inner(x))


@pytest.fixture
def own():
    """A network in the registry, as a plug-in puts it there."""
    MODULES.register("own net")(lambda width=1.0: Net(max(1, round(4 * width))))
    MODULES.register("fixed net")(Net)
    MODULES.register("no net")(lambda: 3)
    MODULES.register("needy net")(lambda size: Net(size))
    yield
    for name in ("own net", "fixed net", "no net", "needy net"):
        MODULES._forget(name)


def resolved(name, options):
    return signature.resolved(ARCHITECTURES[name], options)


def build(name, shape, **options):
    return bundle.build(name, resolved(name, options), shape, 0)


class TestModule:
    def test_a_reconstruction_is_scored_by_its_mean_square_to_what_the_network_sees(self, own):
        detector = build("module", (1, 8, 8), of="own net", score={"reconstruction": "output"}).detector
        x = IMAGES.float() / 255
        with torch.no_grad():
            expected = (detector.network(x) - x).square().mean((1, 2, 3))
        assert score(detector, IMAGES).tolist() == pytest.approx(expected.tolist(), rel=1e-5)

    def test_a_tap_has_the_output_of_the_inner_module_and_leaves_the_network_as_it_was(self, own):
        detector = build(
            "module", (1, 8, 8), of="own net", score={"reconstruction": "output"}, taps={"features": "inner"}
        ).detector
        x = detector.prepare(IMAGES)
        with torch.no_grad():
            outputs = detector(x)
            assert torch.equal(outputs["features"], detector.network.inner(x))
        assert set(outputs) == {"output", "reconstruction", "features"}
        assert not any(part._forward_hooks for part in detector.modules())

    def test_a_tap_does_not_take_the_name_of_an_output(self, own):
        detector = build(
            "module", (1, 8, 8), of="own net", score={"reconstruction": "output"}, taps={"output": "inner"}
        ).detector
        match = r"taps: an output .* named 'output' already: .* \{NAME: inner\} \(allowed: any but output\)"
        with pytest.raises(InputError, match=match):
            detector.score(IMAGES)

    def test_a_distance_is_the_mean_square_between_two_outputs_under_the_names_of_latents(self):
        class Two(nn.Module):
            def forward(self, x):
                return {"a": x, "b": 2 * x}

        detector = Wrapped(Two(), score=Distance(("a", "b")), preparation=Preparation(scale="raw"))
        assert score(detector, ROWS).tolist() == pytest.approx(ROWS.square().mean(1).tolist(), rel=1e-5)
        assert set(detector(ROWS)) == {"a", "b", "latent", "latent_of_reconstruction"}

    def test_a_network_that_changes_its_input_is_compared_with_what_came(self):
        class Inplace(nn.Module):
            def forward(self, x):
                return x.sub_(0.5)

        detector = Wrapped(Inplace(), score=Reconstruction("output"), preparation=Preparation(scale="raw"))
        before = ROWS.clone()
        assert score(detector, ROWS).tolist() == pytest.approx([0.25] * len(ROWS), rel=1e-5)
        assert torch.equal(ROWS, before)

    def test_the_outputs_of_a_tuple_are_numbered(self):
        class Pairwise(nn.Module):
            def forward(self, x):
                return x, [3], x.sum(1, keepdim=True)

        detector = Wrapped(Pairwise(), score="output.2", preparation=Preparation(scale="raw"))
        assert score(detector, ROWS).tolist() == pytest.approx(ROWS.sum(1).tolist(), rel=1e-5, abs=1e-6)

    @pytest.mark.parametrize("ending", [".safetensors", ".pt"])
    def test_weights_come_from_the_file_and_a_bundle_needs_it_no_more(self, own, tmp_path, ending):
        import safetensors.torch

        torch.manual_seed(9)
        mine, file = Net(), tmp_path / f"mine{ending}"
        if ending == ".pt":
            torch.save(mine.state_dict(), file)
        else:
            safetensors.torch.save_file(mine.state_dict(), file)
        options = {"of": "own net", "checkpoint": str(file), "score": {"reconstruction": "output"}}
        detector = build("module", (1, 8, 8), **options).detector
        detector.adapt([])
        assert torch.equal(detector.network.back.weight, mine.back.weight)
        path = tmp_path / "it.safetensors"
        bundle.save(path, Manifest("module", resolved("module", options), (1, 8, 8)), build_pair(detector))
        file.unlink()
        assert score(bundle.load(path).detector, IMAGES).tolist() == score(detector, IMAGES).tolist()

    def test_weights_of_another_network_are_named(self, own, tmp_path):
        state = {
            ("iner" + key[5:] if key.startswith("inner") else key): value for key, value in Net().state_dict().items()
        }
        torch.save({**state, "back.bias": torch.zeros(7)}, tmp_path / "mine.pt")
        detector = build("module", (1, 8, 8), of="own net", checkpoint=str(tmp_path / "mine.pt")).detector
        match = (
            r"2 missing, the first inner\.0\.weight; did you mean 'iner\.0\.weight'\?; 2 unexpected, .* another shape"
        )
        with pytest.raises(InputError, match=match):
            detector.adapt([])

    def test_a_checkpoint_in_a_checkpoint_is_said(self, own, tmp_path):
        inner = {f"model.{name}": one for name, one in Net().state_dict().items()}
        given = {"epoch": 3, "optimizer": {"state": {}}, "state_dict": inner}
        torch.save(given, tmp_path / "mine.pt")
        detector = build("module", (1, 8, 8), of="own net", checkpoint=str(tmp_path / "mine.pt")).detector
        with pytest.raises(InputError, match="there are mappings under state_dict, optimizer; one by itself:") as said:
            detector.adapt([])
        # What is advised, done, twice.
        for file in ("other.pt", "last.pt"):
            line = re.search(r"torch\.save\(.*, OTHER\)", str(said.value)).group()
            exec(line, {"torch": torch, "OTHER": tmp_path / file})
            detector = build("module", (1, 8, 8), of="own net", checkpoint=str(tmp_path / file)).detector
            if file == "other.pt":
                with pytest.raises(InputError, match=r"before each name is 'model\.', as a DataParallel") as said:
                    detector.adapt([])
        detector.adapt([])

    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_pickle_that_would_run_code_is_refused_with_how_to_convert_it(self, own, tmp_path, zipped):
        torch.save(Net(), tmp_path / "mine.pt", _use_new_zipfile_serialization=zipped)
        detector = build("module", (1, 8, 8), of="own net", checkpoint=str(tmp_path / "mine.pt")).detector
        with pytest.raises(
            InputError, match=r"could run code: .* torch\.save\(model\.state_dict\(\), FILE\)"
        ) as caught:
            detector.adapt([])
        assert "weights_only" not in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x0a\x12\x07pytorch"])
    def test_what_is_no_checkpoint_is_told_from_one_that_is_unsafe(self, own, tmp_path, content):
        (tmp_path / "mine.pt").write_bytes(content)
        detector = build("module", (1, 8, 8), of="own net", checkpoint=str(tmp_path / "mine.pt")).detector
        with pytest.raises(InputError, match=r"^checkpoint: .*mine\.pt: not a file of tensors, or a damaged one"):
            detector.adapt([])

    @pytest.mark.parametrize(
        ("state", "said"),
        [
            ({1: torch.ones(1)}, "no state dict: 1 is no name of a tensor"),
            ({f"module.{name}": one for name, one in Net().state_dict().items()}, "'module.', as a DataParallel"),
        ],
    )
    def test_names_that_are_not_the_networks_are_said_before_anything_is_trained(self, own, tmp_path, state, said):
        torch.save(state, tmp_path / "mine.pt")
        with torch.device("meta"):
            detector = build("module", (1, 8, 8), of="own net", checkpoint=str(tmp_path / "mine.pt")).detector
        with pytest.raises(InputError, match=said):
            detector.check_files()

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"of": "own nets"}, "unknown module 'own nets'; did you mean 'own net'"),
            ({"of": "own net", "taps": ["iner"]}, "unknown inner module 'iner'; did you mean 'inner'"),
            ({"of": "fixed net", "width": 0.5}, "takes no width"),
            ({"of": "no net"}, "a function that returned int"),
            ({"of": "needy net"}, "of: the function of module 'needy net' needs size"),
        ],
    )
    def test_what_is_wrong_is_said(self, own, options, said):
        with pytest.raises(InputError, match=said):
            build("module", (1, 8, 8), **options)

    def test_a_forgotten_checkpoint_is_told(self, own):
        sections = {
            "name": "r",
            "data": {"name": "digits", "normal_class": 0},
            "teacher": {"adapter": {"name": "module", "of": "own net", "score": {"reconstruction": "output"}}},
            "student": {"name": "conv_ae"},
            "strategy": {"name": "response"},
        }
        given, _ = resolve_written(recipes.parse(sections, "r"), "r")
        (said,) = plan(given, "", load_data(given.data), None).notes
        assert said.startswith("the teacher has no checkpoint")

    def test_an_output_that_is_not_there_is_said_with_those_that_are(self, own):
        detector = build("module", (1, 8, 8), of="own net", score="outputs").detector
        with pytest.raises(InputError, match="unknown output 'outputs'; did you mean 'output'"):
            detector.score(IMAGES)

    @pytest.mark.parametrize("given", [0, -1, 1.5, True, {"distance": [0, 1]}, {"reconstruction": 0}])
    def test_a_number_is_no_outputs_name(self, own, given):
        sections = {
            "data": {"name": "digits", "normal_class": 0},
            "teacher": {"adapter": {"name": "module", "of": "own net", "score": given}},
            "student": {"name": "conv_ae"},
            "strategy": {"name": "response"},
        }
        match = r"^r: teacher\.adapter\.score: .* is not an output's name: output, or output\.0, .* of a tuple$"
        with pytest.raises(InputError, match=match):
            resolve_written(recipes.parse({"name": "r", **sections}, "r"), "r")

    def test_an_image_is_no_score(self, own):
        detector = build("module", (1, 8, 8), of="own net").detector
        with pytest.raises(InputError, match=r"output 'output' is \[6, 1, 8, 8\], not one number"):
            detector.score(IMAGES)

    def test_a_width_goes_to_the_function_and_its_cost_is_counted(self, own):
        narrow, full = (build("module", (1, 8, 8), of="own net", width=w).detector for w in (0.5, 1.0))
        assert sum(map(torch.numel, narrow.parameters())) < sum(map(torch.numel, full.parameters()))


def build_pair(detector):
    from kdcompress.types import Pair

    return Pair(detector)


class TestPreparation:
    def test_scales(self):
        x = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
        assert Preparation("unit")(x).flatten().tolist() == pytest.approx([0, 0.2, 1])
        assert Preparation("symmetric")(x).flatten().tolist() == pytest.approx([-1, -0.6, 1])
        assert Preparation("raw")(x).flatten().tolist() == [0, 51, 255]
        red = Preparation("imagenet", channels=3)(x)[0, 0].flatten().tolist()
        assert red == pytest.approx([(value - 0.485) / 0.229 for value in (0, 0.2, 1)], rel=1e-5)

    def test_channels_and_size(self):
        assert Preparation(channels=3, size=16)(IMAGES).shape == (6, 3, 16, 16)
        colour = IMAGES.expand(-1, 3, -1, -1)
        torch.testing.assert_close(Preparation(channels=1)(colour), IMAGES / 255)

    def test_rows_stay_and_cannot_be_resized(self):
        assert torch.equal(Preparation()(ROWS), ROWS)
        with pytest.raises(InputError, match="are for images"):
            Preparation(size=8)(ROWS)


class TestEstimator:
    @pytest.mark.parametrize(
        ("of", "options"), [("IsolationForest", {}), ("LocalOutlierFactor", {"n_neighbors": 7}), ("OneClassSVM", {})]
    )
    def test_it_scores_as_scikit_learn_does_with_the_sign_turned(self, of, options):
        from kdcompress.architectures.estimator import made

        pair = build("estimator", (5,), of=of, options=options, kept=60)
        pair.detector.adapt([ROWS])
        pair.detector.calibrate([pair.detector.prepare(ROWS)])
        x = pair.detector.prepare(ROWS).numpy()
        expected = -made(of, options, 0).fit(x).score_samples(x)
        assert score(pair.detector, ROWS).tolist() == pytest.approx(expected.tolist(), rel=1e-5)

    def test_a_bundle_and_a_copy_fit_themselves_again(self, tmp_path):
        options = {"of": "LocalOutlierFactor", "kept": 60}
        pair = build("estimator", (5,), **options)
        pair.detector.adapt([ROWS])
        pair.detector.calibrate([pair.detector.prepare(ROWS)])
        bundle.save(tmp_path / "it.safetensors", Manifest("estimator", resolved("estimator", options), (5,)), pair)
        expected = score(pair.detector, ROWS).tolist()
        assert score(bundle.load(tmp_path / "it.safetensors").detector, ROWS).tolist() == expected
        assert score(copy.deepcopy(pair.detector), ROWS).tolist() == expected

    @pytest.mark.parametrize(
        ("of", "options"),
        [("LocalOutlierFactor", {"metric": "mahalanobis"}), ("GaussianMixture", {"n_components": 500})],
    )
    def test_options_that_cannot_be_fitted_with_are_said(self, of, options):
        pair = build("estimator", (5,), of=of, options=options, kept=60)
        pair.detector.adapt([ROWS])
        pair.detector.calibrate([pair.detector.prepare(ROWS)])
        with pytest.raises(InputError, match=f"options: {of} cannot be fitted to 60 normals"):
            pair.detector.score(ROWS)

    def test_it_is_planned_without_memory_and_profiled_with_what_cannot_be_counted(self):
        found = _meta("estimator", {"of": "OneClassSVM"}, torch.empty(2, 5, device="meta"))
        assert found.detector.score(torch.empty(2, 5, device="meta")).shape == (2,)
        measured = profile(build("estimator", (5,), of="OneClassSVM", kept=60).detector, ROWS[:1])
        assert measured.macs == 0
        assert any("foreign" in name for count in measured.counters.values() for name in count.uncounted)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"of": "IsolationForrest"}, "did you mean 'IsolationForest'"),
            ({"of": "OneClassSVM", "options": {"mu": 0.1}}, "unknown option of OneClassSVM 'mu'; did you mean 'nu'"),
            (
                {"of": "LocalOutlierFactor", "options": {"n_neighbors": -3}},
                "options: LocalOutlierFactor refuses .*n_neighbors",
            ),
            ({"of": "IsolationForest", "options": {"n_estimators": "many"}}, "'n_estimators' .* Got 'many' instead"),
            ({"of": "LocalOutlierFactor", "options": {"novelty": False}}, "cannot score new samples"),
            ({"of": "pyod.os"}, "PyOD"),
            ({"of": "sklearn.svm.SVC"}, "unknown estimator"),
        ],
    )
    def test_what_is_wrong_is_said(self, options, said):
        with pytest.raises(InputError, match=said):
            build("estimator", (5,), **options)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    torch.manual_seed(3)
    network, folder = Net().eval(), tmp_path_factory.mktemp("onnx")
    shapes = {"x": {0: torch.export.Dim("n")}}
    for name, outside in (("one", False), ("two", True)):
        torch.onnx.export(
            Net(64).eval() if outside else network,
            (torch.rand(2, 1, 8, 8),),
            str(folder / f"{name}.onnx"),
            input_names=["image"],
            output_names=["back"],
            dynamic_shapes=shapes,
            dynamo=True,
            external_data=outside,
            verbose=False,
        )
    return network, folder


@pytest.fixture(scope="module")
def unfixed(tmp_path_factory):
    """A network whose files take images of any size, and of any number."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    torch.manual_seed(3)
    network, folder = nn.Conv2d(1, 1, 3, padding=1).eval(), tmp_path_factory.mktemp("unfixed")
    given = (torch.rand(2, 1, 16, 16),)
    shapes = ({0: torch.export.Dim("n"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")},)
    torch.onnx.export(
        network,
        given,
        str(folder / "any.onnx"),
        output_names=["output"],
        dynamic_shapes=shapes,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    torch.export.save(torch.export.export(network, given, dynamic_shapes=shapes), folder / "any.pt2")
    return network, folder


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
class TestShapes:
    def test_results_whose_sides_are_not_fixed_have_those_that_the_data_give_them(self, unfixed, kind):
        network, folder = unfixed
        options = resolved(kind, {"file": str(folder / f"any.{kind}"), "score": {"reconstruction": "output"}})
        raw = torch.empty(2, 1, 8, 8, dtype=torch.uint8, device="meta")
        assert _meta(kind, options, raw).detector(raw.float())["output"].shape == (2, 1, 8, 8)
        detector = bundle.build(kind, options, (1, 8, 8), 0).detector
        detector.adapt([])
        x = IMAGES.float()
        with torch.no_grad():
            expected = (network(x) - x).square().mean((1, 2, 3)).tolist()
        assert score(detector, IMAGES).tolist() == pytest.approx(expected, rel=1e-4)
        assert score(copy.deepcopy(detector), IMAGES).tolist() == pytest.approx(expected, rel=1e-4)

    def test_data_that_a_file_does_not_take_are_said_in_planning(self, unfixed, exported, file, kind):
        for path, shape, said in (
            (exported[1] / "one.onnx" if kind == "onnx" else file[1], (3, 16, 16), "size: 8, channels: 1"),
            (unfixed[1] / f"any.{kind}", (3, 16, 16), "channels: 1"),
        ):
            options = resolved(kind, {"file": str(path), "score": {"reconstruction": "output"}})
            raw = torch.empty(2, *shape, dtype=torch.uint8, device="meta")
            match = rf"{path.name}: takes samples of shape \(1, .* data have \(3, 16, 16\) .*preparation: {{{said}}}"
            with pytest.raises(InputError, match=match):
                _meta(kind, options, raw).detector.score(raw)

    def test_rows_are_no_images(self, unfixed, kind):
        detector = build(kind, (5,), file=str(unfixed[1] / f"any.{kind}")).detector
        with pytest.raises(
            InputError, match=r"of shape \(1, any, any\), and the data have \(5,\) after their preparation$"
        ):
            detector.score(ROWS)


class TestOnnx:
    def test_it_scores_as_the_network_that_was_exported(self, exported):
        network, folder = exported
        options = {
            "file": str(folder / "one.onnx"),
            "score": {"reconstruction": "back"},
            "preparation": {"scale": "unit"},
        }
        detector = build("onnx", (1, 8, 8), **options).detector
        x = IMAGES.float() / 255
        with torch.no_grad():
            expected = (network(x) - x).square().mean((1, 2, 3))
        assert score(detector, IMAGES).tolist() == pytest.approx(expected.tolist(), rel=1e-4)

    def test_a_bundle_has_the_whole_file(self, exported, tmp_path):
        import shutil

        file = tmp_path / "mine.onnx"
        shutil.copy(exported[1] / "one.onnx", file)
        options = resolved("onnx", {"file": str(file), "score": {"reconstruction": "back"}})
        pair = bundle.build("onnx", options, (1, 8, 8), 0)
        pair.detector.adapt([])
        bundle.save(tmp_path / "it.safetensors", Manifest("onnx", options, (1, 8, 8)), pair)
        expected = score(pair.detector, IMAGES).tolist()
        file.unlink()
        assert score(bundle.load(tmp_path / "it.safetensors").detector, IMAGES).tolist() == expected

    def test_it_is_planned_without_memory(self, exported):
        options = resolved("onnx", {"file": str(exported[1] / "one.onnx"), "score": {"reconstruction": "back"}})
        one = torch.empty(2, 1, 8, 8, dtype=torch.uint8, device="meta")
        assert _meta("onnx", options, one).detector.score(one).shape == (2,)

    def test_what_is_wrong_with_a_file_is_said(self, exported, tmp_path, monkeypatch):
        (tmp_path / "no.onnx").write_bytes(b"nothing")
        for file, said in (
            ("no.onnx", "onnxruntime cannot load it"),
            (exported[1] / "two.onnx", "external_data=False"),
        ):
            detector = build("onnx", (1, 8, 8), file=str(tmp_path / file)).detector
            # Also where the weights lie in the current folder: a bundle and a digest know the graph alone.
            monkeypatch.chdir(exported[1])
            with pytest.raises(InputError, match=said):
                detector.score(IMAGES)
        with pytest.raises(ValueError, match="no such file"):
            resolved("onnx", {"file": str(tmp_path / "on.onnx")})
        wrong = build("onnx", (1, 8, 8), file=str(exported[1] / "one.onnx"), score="bak").detector
        with pytest.raises(InputError, match="unknown output 'bak'; did you mean 'back'"):
            wrong.score(IMAGES)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    torch.manual_seed(3)
    network, path = Net().eval(), tmp_path_factory.mktemp("pt2") / "net.pt2"
    program = torch.export.export(network, (torch.rand(2, 1, 8, 8),), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, path)
    fixed = torch.export.export(network, (torch.rand(4, 1, 8, 8),))
    torch.export.save(fixed, path.with_name("fixed.pt2"))
    return network, path


class TestPt2:
    @pytest.mark.parametrize("name", ["net.pt2", "fixed.pt2"])
    def test_it_scores_as_the_network_that_was_exported_also_from_a_bundle(self, file, name, tmp_path):
        network, path = file
        plain = {"file": str(path.with_name(name)), "score": {"reconstruction": "output"}}
        options = resolved("pt2", {**plain, "preparation": {"scale": "unit"}})
        pair = bundle.build("pt2", options, (1, 8, 8), 0)
        pair.detector.adapt([])
        x = IMAGES.float() / 255
        with torch.no_grad():
            expected = (network(x) - x).square().mean((1, 2, 3)).tolist()
        assert score(pair.detector, IMAGES).tolist() == pytest.approx(expected, rel=1e-4)
        bundle.save(tmp_path / "it.safetensors", Manifest("pt2", options, (1, 8, 8)), pair)
        loaded = bundle.load(tmp_path / "it.safetensors")
        assert loaded.manifest.options["file"].keys() == {"sha256", "bytes"}
        assert score(loaded.detector, IMAGES).tolist() == pytest.approx(expected, rel=1e-4)

    def test_it_is_planned_without_memory(self, file):
        options = resolved("pt2", {"file": str(file[1]), "score": {"reconstruction": "output"}})
        one = torch.empty(2, 1, 8, 8, dtype=torch.uint8, device="meta")
        assert _meta("pt2", options, one).detector.score(one).shape == (2,)

    def test_it_can_be_profiled_before_it_ever_scored(self, file):
        pair = build("pt2", (1, 8, 8), file=str(file[1]), score={"reconstruction": "output"})
        pair.detector.adapt([])
        measured = profile(pair.detector, IMAGES[:1])
        assert any("foreign" in name for count in measured.counters.values() for name in count.uncounted)

    def test_its_module_is_made_once_also_for_copies_and_is_no_part_of_the_bundle(self, file, monkeypatch):
        made, module = [], torch.export.ExportedProgram.module
        monkeypatch.setattr(
            torch.export.ExportedProgram,
            "module",
            lambda *given, **options: made.append(1) or module(*given, **options),
        )
        pair = build("pt2", (1, 8, 8), file=str(file[1]), score={"reconstruction": "output"})
        pair.detector.adapt([])
        expected = score(pair.detector, IMAGES).tolist()
        for twin in (pair.detector, copy.deepcopy(pair.detector), copy.deepcopy(pair.detector).to("cpu")):
            assert score(twin, IMAGES).tolist() == expected
        assert len(made) == 1
        assert set(pair.detector.state_dict()) == {"content"}
        assert not list(pair.detector.parameters())

    def test_what_is_wrong_with_a_file_is_said(self, file, tmp_path):
        (tmp_path / "no.pt2").write_bytes(b"nothing")
        with pytest.raises(InputError, match=r"no\.pt2: not a file of torch\.export"):
            build("pt2", (1, 8, 8), file=str(tmp_path / "no.pt2")).detector.score(IMAGES)
        with pytest.raises(InputError, match="unknown output 'score'"):
            build("pt2", (1, 8, 8), file=str(file[1])).detector.score(IMAGES)

    def test_one_that_could_run_code_is_refused(self, file, tmp_path):
        import zipfile

        with zipfile.ZipFile(file[1]) as archive, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as bad:
            for info in archive.infolist():
                data = archive.read(info)
                if info.filename.endswith("models/model.json"):
                    data = data.replace(b"torch.ops.aten.conv2d.default", b"torch.hub.load", 1)
                bad.writestr(info.filename, data)
        with pytest.raises(InputError, match="refused: it calls 'torch.hub.load'"):
            build("pt2", (1, 8, 8), file=str(tmp_path / "bad.pt2")).detector.score(IMAGES)


def test_a_foreign_result_of_another_length_is_refused():
    from kdcompress.architectures.foreign import foreign, registered

    number = registered(lambda x: [np.zeros(3)], lambda: [()])
    with pytest.raises(ScoreError, match=r"gave \(3,\) for 5 samples"):
        foreign(torch.zeros(5, 2), number)


@pytest.mark.parametrize("kind", ["onnx", "estimator"])
def test_a_bundle_of_what_computes_outside_of_torch_teaches_as_the_adapter_does(kind, request, tmp_path):
    if kind == "onnx":
        file = request.getfixturevalue("exported")[1] / "one.onnx"
        adapter = {"name": "onnx", "file": str(file), "score": {"reconstruction": "back"}}
        samples = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    else:
        adapter, samples = {"name": "estimator", "of": "IsolationForest", "options": {"n_estimators": 10}}, ROWS
    given = {
        "data": kd.samples(samples.numpy(), np.r_[np.zeros(50, int), np.ones(10, int)]),
        "student": {"name": "score_net", "params": 3000},
        "strategy": {"name": "response", "epochs": 1, "batch_size": 16},
        "out": tmp_path,
    }
    first = kd.distill(teacher={"adapter": adapter}, **given)
    (made,) = tmp_path.glob("*/*/teacher.safetensors")
    other = kd.distill(teacher={"bundle": str(made)}, **given)
    assert other.teacher.auroc == first.teacher.auroc
    assert other.student.auroc == first.student.auroc
