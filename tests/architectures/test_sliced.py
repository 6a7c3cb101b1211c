"""A user's network as its own student: shapes from the width alone, weights from the teacher."""

import json

import pytest
import torch
import yaml

from kdcompress import bundle, recipe, signature, training
from kdcompress.__main__ import main
from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.modules import MODULES
from kdcompress.bundle import Manifest
from kdcompress.errors import InputError, KdcompressError
from kdcompress.evaluation import score
from kdcompress.pipeline import run
from kdcompress.planning import _macs, _meta
from kdcompress.resolve import resolve
from kdcompress.start import check
from kdcompress.wrapping import wrap
from tests.architectures.small_nets import Residual, Twice
from tests.plugin_files import clean

__all__ = ["clean"]

pytest.importorskip("torch_pruning")

SHAPE = (1, 8, 8)
RAW = torch.randint(0, 256, (12, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SCORES = {"twice": {"distance": ["latent", "again"]}, "residual": {"reconstruction": "output"}}


class Same(Residual):
    """Like the other, with an output of the input's size."""

    def __init__(self):
        super().__init__()
        self.up = torch.nn.ConvTranspose2d(8, 1, 3, padding=1)


@pytest.fixture(autouse=True)
def own():
    made = {"twice": Twice, "residual": Same, "wide": lambda width=1.0: torch.nn.Linear(3, round(4 * width))}
    for name, make in made.items():
        MODULES.register(name)(make)
    yield
    for name in made:
        MODULES._forget(name)


def build(name, of, seed=0, **options):
    found = signature.resolved(ARCHITECTURES[name], {"of": of, "score": SCORES[of], **options})
    return bundle.build(name, found, SHAPE, seed).detector.eval()


def shapes(detector):
    return {name: value.shape for name, value in detector.state_dict().items()}


@pytest.mark.parametrize("of", SCORES)
def test_of_full_width_it_scores_as_its_teacher_does(of):
    teacher, student = build("module", of), build("sliced", of, seed=1, width=1.0)
    assert score(student, RAW).tolist() != score(teacher, RAW).tolist()
    student.inherit(teacher)
    assert score(student, RAW).tolist() == score(teacher, RAW).tolist()


@pytest.mark.parametrize("of", SCORES)
def test_its_weights_are_parts_of_its_teachers_and_those_of_a_random_start_are_not(of):
    teacher = build("module", of)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    slices, random = (build("sliced", of, seed=1, width=0.5, start=start) for start in ("sliced", "random"))
    assert shapes(slices) == shapes(random)
    for student in (slices, random):
        student.inherit(teacher)
    for name, value in slices.state_dict().items():
        assert torch.isin(value, before[name]).all(), name
    weights = [name for name, value in random.named_parameters() if value.ndim == 4]
    assert not any(torch.isin(random.state_dict()[name], before[name]).any() for name in weights)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_a_random_start_is_that_of_layers_of_its_own_size():
    largest = build("sliced", "residual", width=0.125, start="random").network.b[2].weight.detach().abs().max()
    # torch draws from plus or minus one over the root of what a channel reads: 9 here, and 72 in the whole network.
    assert 72**-0.5 < float(largest) <= 9**-0.5


def test_a_bundle_is_rebuilt_from_its_options_alone(tmp_path):
    student = build("sliced", "twice", width=0.4)
    student.inherit(build("module", "twice", seed=3))
    options = signature.resolved(ARCHITECTURES["sliced"], {"of": "twice", "score": SCORES["twice"], "width": 0.4})
    bundle.save(tmp_path / "it.safetensors", Manifest("sliced", options, SHAPE), bundle.Pair(student))
    again = bundle.load(tmp_path / "it.safetensors").detector
    assert score(again, RAW).tolist() == score(student, RAW).tolist()


def test_a_tap_keeps_its_shape():
    free = build("sliced", "twice", width=0.5)
    held = build("sliced", "twice", width=0.5, taps={"features": "decoder.0"})
    assert free.network.decoder[0].out_channels == held.network.encoder[0].out_channels == 4
    assert held.network.decoder[0].out_channels == 8


def test_where_taps_hold_everything_that_is_said():
    with pytest.raises(InputError, match=r"nothing to narrow: .* \(output, features, reconstruction\)"):
        build("sliced", "residual", width=0.5, taps={"features": "b"})


def test_shapes_on_the_meta_device_are_those_of_memory():
    options = {"of": "twice", "score": SCORES["twice"], "width": 0.3}
    planned = _meta("sliced", options, RAW.to("meta")).detector
    assert shapes(planned) == shapes(build("sliced", "twice", width=0.3))


def test_a_wrapped_module_can_be_the_teacher():
    teacher = wrap(Same(), score=SCORES["residual"], input_shape=SHAPE)
    ARCHITECTURES._forget(teacher.name)
    student = build("sliced", "residual", width=1.0)
    student.inherit(teacher.detector)
    assert score(student, RAW).tolist() == pytest.approx(score(teacher.detector, RAW).tolist())


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (lambda: None, "there is no teacher; or: random"),
        (lambda: bundle.build("conv_ae", {}, SHAPE, 0).detector, "this one's is no module"),
        (lambda: build("module", "residual"), "and this one's network.a.bias is .*, not there"),
    ],
)
def test_a_teacher_of_another_kind_is_refused(teacher, said):
    with pytest.raises(InputError, match=said):
        build("sliced", "twice", width=0.5).inherit(teacher())


PLAIN = {
    "name": "own",
    "data": {"name": "synthetic", "train": 60, "test": 40, "height": 8, "width": 8},
    "teacher": {"adapter": {"name": "module", "of": "residual", "score": SCORES["residual"]}},
    "student": {"name": "sliced", "macs_ratio": 5},
    "strategy": {"name": "response", "epochs": 1},
    "engine": {"precision": "fp32", "channels_last": False, "folded": False, "threads": 1},
}


def written(**sections):
    return recipe.parse({**PLAIN, **sections}, "here")


def test_the_student_has_what_describes_the_teachers_network():
    adapter = {"name": "module", "of": "wide", "width": 0.5, "score": "output", "preparation": {"scale": "raw"}}
    student = resolve(written(teacher={"adapter": adapter}), "here").student.options
    assert (student["of"], student["full"], student["score"]) == ("wide", 0.5, "output")
    assert student["preparation"]["scale"] == "raw"
    assert student["start"] == "sliced"
    assert "checkpoint" not in student


def test_the_widest_that_meets_the_ratio_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    found = run(written(), tmp_path)
    options = found.result.student_architecture.options
    raw = RAW.to("meta")
    full = _macs(_meta("module", resolve(written(), "here").teacher.architecture.options, raw), raw)
    spent = [_macs(_meta("sliced", {**options, "width": k / 8}, raw), raw) for k in range(1, 9)]
    best = max(k for k, cost in enumerate(spent, 1) if full / cost >= 5)
    assert 1 < best < 8
    student = bundle.load(found.rundir.bundle("student")).detector
    assert student.network.a.out_channels == best


def test_student_and_control_start_from_the_teachers_slices(tmp_path, monkeypatch):
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    first = []
    fit = training.fit

    def watched(stages, pair, *rest, **named):
        first.append({name: value.clone() for name, value in pair.detector.state_dict().items()})
        return fit(stages, pair, *rest, **named)

    monkeypatch.setattr("kdcompress.training.fit", watched)
    found = run(written(), tmp_path)
    _, student, control = first
    teacher = bundle.load(found.rundir.bundle("teacher")).detector.state_dict()
    assert all(torch.equal(value, control[name]) for name, value in student.items())
    assert all(torch.isin(value, teacher[name]).all() for name, value in student.items())


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"teacher": {"architecture": {"name": "conv_ae"}}, "student": {"name": "sliced", "of": "residual"}},
            "no module",
        ),
        (
            {"teacher": None, "student": {"name": "sliced", "of": "residual"}, "strategy": {"name": "scratch"}},
            "no teacher",
        ),
        ({"student": {"name": "sliced", "macs_ratio": 10_000}}, "10000 cannot be reached"),
        ({"student": {"name": "sliced", "start": "slices"}}, "did you mean 'sliced'"),
        (
            {"teacher": {"architecture": {"name": "conv_ae"}}, "student": {"name": "sliced"}},
            r"student.of: missing: .*kd.MODULES.register.*a smaller 'conv_ae' is student: {name: conv_ae}",
        ),
        (
            {"teacher": {"adapter": {"name": "estimator", "of": "OneClassSVM"}}, "student": {"name": "sliced"}},
            "student.of: missing: .*estimator holds no network",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_trained(sections, said):
    student = {"score": SCORES["residual"], **sections["student"]}
    with pytest.raises(KdcompressError, match=said):
        check(written(**{**sections, "student": student}), "here")


def test_of_a_wrapped_teacher_it_is_said_what_to_give_and_that_works(tmp_path, monkeypatch):
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    torch.manual_seed(7)  # what was wrapped under one name is registered once
    teacher = wrap(Same(), score=SCORES["residual"], input_shape=SHAPE)
    own = {"teacher": {"architecture": {"name": teacher.name}, "strategy": {"name": "fitted"}}}
    try:
        with pytest.raises(KdcompressError, match="student.of: missing: .*kd.wrap gives its module none, .* register"):
            check(written(**own), "here")
        student = {"name": "sliced", "of": "residual", "score": SCORES["residual"], "macs_ratio": 5}
        found = run(written(**own, student=student), tmp_path)
        assert found.result.compression.macs >= 5
    finally:
        ARCHITECTURES._forget(teacher.name)


@pytest.mark.usefixtures("clean")
def test_the_network_of_the_examples_is_its_own_student(tmp_path, capsys, monkeypatch):
    from tests.test_examples import EXAMPLES

    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    plain = yaml.safe_load((EXAMPLES / "own_network.yaml").read_text())
    plain["student"] = {"name": "sliced", "macs_ratio": 20, "taps": []}
    plain["strategy"]["epochs"] = 1
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(plain))
    plugin = str(EXAMPLES / "own_network.py")
    for start in ("sliced", "random"):
        command = ["distill", str(tmp_path / "mine.yaml"), "--plugin", plugin, "--out", str(tmp_path), "--json"]
        with pytest.raises(SystemExit, match="0"):
            main([*command, "--set", f"student.start={start}"])
        result = json.loads(capsys.readouterr().out)
        assert 20 <= result["compression"]["macs"] < 30
        assert result["student_architecture"]["options"]["of"] == "skipping"
        assert result["student"]["params"] == result["control"]["params"]
