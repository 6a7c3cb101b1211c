import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from kdcompress.architectures import ARCHITECTURES
from kdcompress.bundle import Bundle, Manifest, build
from kdcompress.errors import BundleError, InputError, KdcompressError
from kdcompress.exporting import export as module
from kdcompress.exporting.export import ParityError, export
from kdcompress.exporting.exported import load
from kdcompress.signature import required
from kdcompress.types import Detector, Pair
from tests.exporting.detectors import SMALL, inputs, small

FAST = ("mlp_ae", "nearest_neighbours", "isolation_forest", "conv_ae resized")
EACH = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in SMALL]


@pytest.mark.parametrize("to", ["onnx", "pt2"])
@pytest.mark.parametrize("name", EACH)
def test_every_family_exports_and_passes_the_gate(tmp_path, name, to):
    one = small(name)
    path = tmp_path / f"x.{to}"
    found = export(one, path, to, inputs(one))
    assert found.passed
    assert found.inputs == 1000
    assert found.largest <= found.tolerance
    assert found.spearman > 0.999999
    assert found.flipped_beyond == 0
    assert found.first_difference is None
    assert list(tmp_path.iterdir()) == [path], "one file, and nothing beside it"
    assert load(path).metadata.threshold == one.manifest.threshold


def test_every_architecture_is_among_them():
    families = {name for name in ARCHITECTURES.builtins() if not required(ARCHITECTURES[name])}
    assert families <= {name.split()[0] for name in SMALL}


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_what_computes_outside_of_torch_is_refused(tmp_path, to):
    options = {"of": "OneClassSVM", "kept": 20}
    pair = build("estimator", options, (7,), 0)
    one = Bundle(Manifest("estimator", options, (7,)), pair)
    with pytest.raises(InputError, match="computes outside of torch"):
        export(one, tmp_path / f"x.{to}", to, inputs(one))
    assert not list(tmp_path.iterdir())


def test_names_and_shapes_are_those_of_the_contract(files):
    proto = onnx.load(files["onnx"])
    onnx.checker.check_model(proto, full_check=True)
    (given,) = proto.graph.input
    assert given.name == "input"
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert given.type.tensor_type.shape.dim[0].dim_param, "any number of samples"
    assert [one.name for one in proto.graph.output] == ["score", "reconstruction", "anomaly_map"]
    assert proto.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_no_paths_of_this_machine_are_in_it(files, to):
    """Both formats are stored without compression."""
    assert str(Path(module.__file__).parent.parent).encode() not in files[to].read_bytes()


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_any_number_of_samples_goes_in(files, conv_ae, to):
    raw = inputs(conv_ae, 70).raw
    exported = load(files[to])
    wanted = conv_ae.detector.score(raw).numpy()
    for count in (1, 2, 3, 70):
        found = exported.run(raw[:count].numpy())["score"]
        assert found.shape == (count,)
        assert found.dtype == np.float32
        assert found == pytest.approx(wanted[:count], rel=1e-5)


def test_the_map_is_the_squared_error_of_the_reconstruction(files, conv_ae):
    raw = inputs(conv_ae, 5).raw
    detector = conv_ae.detector
    with torch.no_grad():
        x = detector.prepare(raw)
        reconstruction = detector(x)["reconstruction"]
    found = load(files["onnx"]).run(raw.numpy())
    assert found["reconstruction"] == pytest.approx(reconstruction.numpy(), abs=1e-5)
    assert found["anomaly_map"].shape == (5, 1, 12, 10)
    assert found["anomaly_map"].mean((1, 2, 3)) == pytest.approx(found["score"], rel=1e-4), "its mean is the score"


@pytest.mark.parametrize("name", ["map_net", "patch_memory", "stfpm"])
def test_a_map_of_its_own_is_exported_as_it_is(tmp_path, name):
    one = small(name)
    raw = inputs(one, 3).raw
    export(one, tmp_path / "m.onnx", "onnx", inputs(one), ("anomaly_map",))
    with torch.no_grad():
        wanted = one.detector(one.detector.prepare(raw))["anomaly_map"]
    found = load(tmp_path / "m.onnx").run(raw.numpy())["anomaly_map"]
    assert found == pytest.approx(wanted.numpy(), rel=1e-3, abs=1e-4 * float(wanted.abs().max()))


def test_what_is_not_asked_for_is_not_computed(tmp_path, files, conv_ae):
    export(conv_ae, tmp_path / "b.onnx", "onnx", inputs(conv_ae))
    small_graph, large_graph = onnx.load(tmp_path / "b.onnx").graph, onnx.load(files["onnx"]).graph
    assert [one.name for one in small_graph.output] == ["score"]
    assert len(small_graph.node) < len(large_graph.node)


def test_outputs_that_a_detector_has_not_are_refused(tmp_path, conv_ae):
    with pytest.raises(InputError, match=r"no 'anomaly_mop'.*did you mean 'anomaly_map'"):
        export(conv_ae, tmp_path / "x.onnx", "onnx", inputs(conv_ae), ("anomaly_mop",))
    forest = small("isolation_forest")
    with pytest.raises(InputError, match=r"no 'reconstruction'.*allowed: anomaly_map"):
        export(small("map_net"), tmp_path / "x.onnx", "onnx", inputs(small("map_net")), ("reconstruction",))
    with pytest.raises(InputError, match=r"no 'reconstruction'.*allowed: none"):
        export(forest, tmp_path / "x.onnx", "onnx", inputs(forest), ("reconstruction",))


@pytest.mark.parametrize(("name", "shape"), [("mlp_ae", r"\[7\]"), ("conv1d_ae", r"\[2, 32\]")])
def test_a_map_is_of_images_alone(tmp_path, name, shape):
    one = small(name)
    with pytest.raises(InputError, match=rf"'anomaly_map' is of images.*samples of shape {shape} \(allowed: recon"):
        export(one, tmp_path / "x.onnx", "onnx", inputs(one), ("anomaly_map",))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_the_file_says_what_it_is(files, conv_ae, to):
    said = load(files[to]).metadata
    assert (said.architecture, said.recipe, said.digest, said.bundle) == ("conv_ae", "r", "d", "s")
    assert (said.input.kind, said.input.shape, said.input.dtype) == ("image", (1, 12, 10), "uint8")
    assert said.threshold == conv_ae.manifest.threshold
    assert said.labels == {"0": "normal", "1": "anomaly"}
    assert len(said.self_test.scores) == 8
    assert {"prepared", "latent", "reconstruction"} <= set(said.inner)


class LateScore(Detector):
    """Whose score is computed beside its outputs."""

    def __init__(self, factor=3.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(factor))

    def prepare(self, raw):
        return raw

    def forward(self, x):
        return {"wrong": x}

    def score(self, raw):
        with torch.no_grad():
            return (self.weight * torch.as_tensor(raw)).square().sum(1)


class FixedBatch(LateScore):
    """A graph of which holds for one number of samples only."""

    def score(self, raw):
        return raw.reshape(len(raw), -1).sum(1) * self.weight if len(raw) == 2 else raw.sum(1)


def of(detector, shape=(4,)):
    return Bundle(dataclasses.replace(small("mlp_ae").manifest, input_shape=shape), Pair(detector))


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_a_score_of_its_own_is_what_is_exported(tmp_path, to):
    one = of(LateScore())
    assert export(one, tmp_path / f"x.{to}", to, inputs(one)).passed


def test_what_cannot_be_traced_says_so(tmp_path):
    one = of(FixedBatch())
    with pytest.raises(KdcompressError, match=r"FixedBatch cannot be exported by torch"):
        export(one, tmp_path / "x.onnx", "onnx", inputs(one))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_a_file_that_fails_leaves_nothing_and_what_was_there_stays(tmp_path, monkeypatch, conv_ae, to):
    """The file is made of a detector with another weight than the one that it is compared with."""
    honest = module.made

    def broken(bundle, *arguments):
        other = small("conv_ae")
        with torch.no_grad():
            other.detector.decoder[1].weight.mul_(1.01)
        return honest(other, *arguments)

    monkeypatch.setattr(module, "made", broken)
    path = tmp_path / f"x.{to}"
    with pytest.raises(ParityError, match=r"does not compute what the bundle does.*differs is 'reconstruction'"):
        export(conv_ae, path, to, inputs(conv_ae))
    assert not list(tmp_path.iterdir())
    path.write_bytes(b"before")
    with pytest.raises(ParityError, match="does not compute"):
        export(conv_ae, path, to, inputs(conv_ae))
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"before"]


def test_exporting_leaves_the_bundle_as_it_was(tmp_path):
    one = small("mlp_ae")
    one.detector.train()
    before = {key: value.clone() for key, value in one.detector.state_dict().items()}
    export(one, tmp_path / "x.pt2", "pt2", inputs(one))
    assert one.detector.training
    assert all(torch.equal(value, before[key]) for key, value in one.detector.state_dict().items())


@pytest.mark.parametrize("to", ["onnx", "pt2"])
@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_an_altered_byte_is_found(tmp_path, files, to, place):
    data = bytearray(files[to].read_bytes())
    data[int(place * len(data))] ^= 1
    path = tmp_path / f"x.{to}"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"altered|damaged|refused"):
        load(path)


@pytest.mark.parametrize("to", ["onnx", "pt2"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.98])
def test_a_file_that_was_cut_off_is_told(tmp_path, files, to, share):
    data = files[to].read_bytes()
    path = tmp_path / f"x.{to}"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(BundleError, match=rf"{path}: (not a|altered|an ONNX file, but)"):
        load(path)


def test_a_file_of_a_newer_format_is_told(tmp_path, files):
    from kdcompress.exporting import onnx as ours

    proto = onnx.load(files["onnx"])
    said = ours.read_metadata(proto, files["onnx"])
    path = tmp_path / "x.onnx"
    path.write_bytes(ours.sealed(proto, dataclasses.replace(said, format=2)))
    with pytest.raises(BundleError, match=r"newer kdcompress \(format 2, known here: 1\)"):
        load(path)


def test_weights_outside_the_file_are_refused(tmp_path, files):
    proto = onnx.load(files["onnx"])
    onnx.save(proto, tmp_path / "x.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(BundleError, match="lie in another file"):
        load(tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("name", "said"), [("x.onx", r"did you mean '\.onnx'"), ("no.onnx", "no such file"), ("no.pt2", "no such file")]
)
def test_what_is_no_exported_file_is_told(tmp_path, name, said):
    with pytest.raises(InputError, match=said):
        load(tmp_path / name)


@pytest.mark.parametrize(("data", "said"), [(b"", "it is empty"), (b"\x08\x0a", "no graph is in it")])
def test_a_file_without_a_graph_is_no_onnx_file(tmp_path, data, said):
    (tmp_path / "x.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=f"not an ONNX file, or a damaged one: {said}"):
        load(tmp_path / "x.onnx")


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_endings_may_be_in_upper_case(tmp_path, files, to):
    path = tmp_path / f"X.{to.upper()}"
    path.write_bytes(files[to].read_bytes())
    assert load(path).metadata == load(files[to]).metadata


def test_the_metadata_are_json_under_one_key(files):
    entries = {one.key: one.value for one in onnx.load(files["onnx"]).metadata_props}
    assert set(entries) == {"kdcompress", "kdcompress.sha256"}
    assert json.loads(entries["kdcompress"])["format"] == 1
