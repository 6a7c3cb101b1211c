"""kd.wrap: what a program has in its hands teaches."""

import functools
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from torch import nn

import kdcompress as kd
from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.scoring import Distance
from kdcompress.errors import InputError
from kdcompress.evaluation import score

STUDENT = {"name": "score_net", "base": 4, "depth": 1}
RESPONSE = {"name": "response", "epochs": 1, "batch_size": 32}
DIGITS = {"name": "digits", "normal_class": 8}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(64, 3)
        self.outer = nn.Linear(3, 64)

    def forward(self, x):
        return self.outer(self.inner(x.flatten(1))).view_as(x)


def net():
    torch.manual_seed(0)
    return Net()


def test_a_module_teaches_as_it_is(tmp_path):
    mine = net()
    teacher = kd.wrap(mine, score={"reconstruction": "output"}, taps=["inner"], input_shape=(1, 8, 8))
    result = kd.distill(data=DIGITS, teacher=teacher, student=STUDENT, strategy=RESPONSE, out=tmp_path)
    assert result.teacher.params == sum(map(torch.numel, mine.parameters()))
    raw = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    (file,) = tmp_path.glob("run/*/teacher.safetensors")
    x = raw / 255
    with torch.no_grad():
        expected = (mine(x) - x).square().mean((1, 2, 3))
    assert score(kd.load(file), raw).tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_function_of_arrays_teaches(tmp_path):
    def brightness(images):
        return images.reshape(len(images), -1).mean(1)

    teacher = kd.wrap(brightness, input_shape=(1, 8, 8))
    result = kd.distill(data=DIGITS, teacher=teacher, student=STUDENT, strategy=RESPONSE, out=tmp_path)
    assert 0 <= result.teacher.auroc <= 1
    assert result.fidelity.spearman is not None


def test_a_function_can_be_turned_round():
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    teacher = kd.wrap(lambda x: x.sum(1), score=np.negative, input_shape=(3,))
    assert score(teacher.detector, rows).tolist() == pytest.approx((-rows.sum(1)).tolist(), rel=1e-5)


def test_the_same_thing_has_the_same_name_and_another_one_another():
    first, again = (kd.wrap(net(), score={"reconstruction": "output"}, input_shape=(1, 8, 8)) for _ in range(2))
    assert first.name == again.name
    other = net()
    with torch.no_grad():
        other.outer.bias.add_(1e-3)
    changed = kd.wrap(other, score={"reconstruction": "output"}, input_shape=(1, 8, 8))
    tapped = kd.wrap(net(), score={"reconstruction": "output"}, taps=["inner"], input_shape=(1, 8, 8))
    assert len({first.name, changed.name, tapped.name}) == 3


def above(bound):
    """Return a function that scores samples far from 0 alone: made-up ones tell no two of them apart."""
    return lambda rows: np.maximum(rows.sum(1) - bound, 0)


def plainly_above(rows, bound):
    return np.maximum(rows.sum(1) - bound, 0)


class Above:
    def __init__(self, bound):
        self.bound = bound

    def scores(self, rows):
        return np.maximum(rows.sum(1) - self.bound, 0)


def fitted(shift):
    from sklearn.svm import OneClassSVM

    return OneClassSVM().fit(np.random.default_rng(0).normal(size=(50, 3)) + shift)


def parametrised(shift):
    torch.manual_seed(0)
    network = nn.utils.parametrizations.weight_norm(nn.Linear(3, 1))
    with torch.no_grad():
        network.bias.sub_(shift)
    return nn.Sequential(network, nn.ReLU())


ONE_LINE = (lambda rows: np.maximum(rows.sum(1) - 50, 0)), (lambda rows: np.maximum(rows.sum(1) - 60, 0))


@pytest.mark.parametrize(
    "make",
    [
        above,
        lambda bound: functools.partial(plainly_above, bound=bound),
        lambda bound: lambda rows, bound=bound: plainly_above(rows, bound),
        lambda bound: Above(bound).scores,
        lambda bound: fitted(bound).decision_function,
        lambda bound: ONE_LINE[bound == 60],
        parametrised,
    ],
    ids=["closure", "partial", "default", "method", "estimator", "one line", "parametrised"],
)
def test_a_name_follows_from_the_state_behind_a_detector(make):
    first, again, other = (kd.wrap(make(bound), input_shape=(3,)).name for bound in (50, 50, 60))
    assert first == again
    assert first != other


def test_a_name_follows_from_the_globals_that_a_function_reads(monkeypatch):
    monkeypatch.setitem(globals(), "BOUND", 50)
    first = kd.wrap(reads_a_global, input_shape=(3,)).name
    assert kd.wrap(reads_a_global, input_shape=(3,)).name == first
    monkeypatch.setitem(globals(), "BOUND", 60)
    assert kd.wrap(reads_a_global, input_shape=(3,)).name != first


BOUND = 0


def reads_a_global(rows):
    return [max(row.sum() - BOUND, 0) for row in rows]


def test_a_detector_made_the_same_way_in_another_process_has_the_same_name(tmp_path):
    (tmp_path / "script.py").write_text(
        "import helpers, numpy, torch, kdcompress as kd\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        torch.manual_seed(0)\n"
        "        self.inner = torch.nn.Linear(3, 1)\n"
        "    def forward(self, x):\n"
        "        return self.inner(x)\n"
        "f = lambda rows: numpy.maximum(rows.sum(1) - helpers.bound(), 0) * (helpers.KINDS in {'sum', 'mean'})\n"
        "print(kd.wrap(Net(), input_shape=(3,)).name, kd.wrap(f, input_shape=(3,)).name)\n"
    )
    names = []
    for seed, bound in (("1", "50"), ("2", "50"), ("3", "60")):
        (tmp_path / "helpers.py").write_text(f"BOUND = {bound}\nKINDS = 'sum'\n\ndef bound():\n    return BOUND\n")
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, tmp_path / "script.py"], env=environment, capture_output=True, text=True, check=True
        )
        names.append(done.stdout.split())
    assert names[0] == names[1]
    assert names[0][0] == names[2][0]
    assert names[0][1] != names[2][1]


def test_what_cannot_be_dumped_is_taken_for_no_other():
    mine = Above(50)
    mine.lock = threading.Lock()
    first, again = (kd.wrap(mine.scores, input_shape=(3,)) for _ in range(2))
    assert first.name != again.name


def test_of_two_of_one_name_the_last_one_teaches():
    first = Above(50)
    name = kd.wrap(first.scores, input_shape=(3,)).name
    first.bound = 60
    assert kd.wrap(Above(50).scores, input_shape=(3,)).name == name
    rows = torch.full((1, 3), 20.0)
    assert score(ARCHITECTURES[name]((3,)).detector, rows).tolist() == [10]


def test_what_was_wrapped_is_not_touched():
    mine = net().train()
    kd.wrap(mine, score={"reconstruction": "output"}, input_shape=(1, 8, 8))
    assert mine.training
    assert all(weight.requires_grad for weight in mine.parameters())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((3, {}), "expected a torch module or a function"),
        ((fitted(50), {}), r"not OneClassSVM: kd\.wrap\(detector\.decision_function, score=numpy\.negative, "),
        ((net(), {"score": {"reconstruct": "output"}}), "one of distance, reconstruction"),
        ((net(), {"score": {"distance": 3}}), "score: distance: expected the names of two outputs, not 3"),
        (
            (net(), {"score": {"distance": "output"}}),
            "score: distance: expected the names of two outputs, not 'output'",
        ),
        ((net(), {"score": {"distance": ["output"]}}), "distance: expected the names of two outputs"),
        ((net(), {"score": Distance(("output",))}), "distance: expected the names of two outputs"),
        ((net(), {"score": {"reconstruction": 3}}), "score: reconstruction: expected the name of an output, not 3"),
        ((net(), {"score": 0}), r"wrap: score: expected .*output's name: output, or output\.0, .*, not 0"),
        ((net(), {"score": "0"}), r"unknown output '0' \(allowed: output\)"),
        ((net(), {"score": -1}), "of a tuple, not -1"),
        ((net(), {"taps": 3}), "taps: expected dotted names of inner modules, .* not 3"),
        ((net(), {"taps": "inner"}), r"taps: expected dotted names .*\['encoder'\].* not 'inner'"),
        ((net(), {"taps": {"latent": 3}}), "taps: expected dotted names .* not {'latent': 3}"),
        ((net(), {"taps": [3]}), "taps: expected dotted names"),
        ((net(), {"preprocess": {"scale": "unit"}}), "preprocess: expected a function of raw samples.* not {'scale'"),
        ((net(), {"score": "out"}), "unknown output 'out'; did you mean 'output'"),
        ((net(), {"score": {"reconstruction": "output"}, "taps": ["iner"]}), "did you mean 'inner'"),
        ((lambda images: images[0, 0, 0, 99], {}), "wrap: it failed on made-up samples"),
        ((np.sum, {"score": "output"}), "a function that makes scores"),
        ((np.mean, {"taps": ["a"]}), "has no taps"),
    ],
)
def test_what_cannot_be_wrapped_is_said(given, said):
    thing, options = given
    with pytest.raises(InputError, match=said):
        kd.wrap(thing, input_shape=(1, 8, 8), **options)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_module_that_cannot_be_copied_is_said_with_what_makes_it_one_that_can():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.utils.weight_norm(nn.Linear(3, 3))

        def forward(self, x):
            return self.layer(x)

    mine = Normed()
    mine(torch.ones(1, 3))
    with pytest.raises(InputError, match=r"wrap: Normed cannot be copied, .* call it once under torch.no_grad\(\)"):
        kd.wrap(mine, score={"reconstruction": "output"}, input_shape=(3,))
    with torch.no_grad():
        mine(torch.ones(1, 3))
    kd.wrap(mine, score={"reconstruction": "output"}, input_shape=(3,))


def test_an_input_shape_that_is_none_is_said():
    with pytest.raises(InputError, match="input_shape: expected the sides of a sample"):
        kd.wrap(net(), input_shape=64)


def test_data_of_another_shape_are_refused(tmp_path):
    teacher = kd.wrap(net(), score={"reconstruction": "output"}, input_shape=(1, 16, 4))
    with pytest.raises(InputError, match=r"wrapped for samples of shape \(1, 16, 4\), not \(1, 8, 8\)"):
        kd.distill(data=DIGITS, teacher=teacher, student=STUDENT, strategy=RESPONSE, out=tmp_path)


class Looks(nn.Module):
    """A network that looks at values and makes tensors of its own: it does not run without data."""

    def __init__(self, how):
        super().__init__()
        self.how, self.layer, self.memory = how, nn.Linear(64, 8), nn.LSTM(8, 4, batch_first=True)

    def forward(self, x):
        if self.how == "if" and x.max() > 1:
            x = x / 255
        if self.how == "grid":
            x = x * torch.linspace(-1, 1, 8)
        if self.how == "numpy":
            x = torch.from_numpy(x.numpy().clip(0, 0.5))
        if self.how == "item":
            x = x / float(self.layer.weight.abs().max())
        if self.how == "state":
            start = torch.zeros(1, len(x), 4)
            return self.memory(x[:, 0], (start, start))[0].square().mean((1, 2))
        return self.layer(x.flatten(1)).square().mean(1)


@pytest.mark.parametrize("how", ["if", "grid", "numpy", "item", "state"])
def test_a_network_that_does_not_run_without_data_teaches(how, tmp_path, monkeypatch):
    for table in ("_items", "_descriptions"):
        monkeypatch.setattr(kd.MODULES, table, dict(getattr(kd.MODULES, table)))
    kd.MODULES.register(f"looks-{how}")(lambda: Looks(how))
    images = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    common = {
        "student": {"name": "score_net", "macs_ratio": 1.0, "base": 4},
        "strategy": {"name": "response", "epochs": 1},
        "data": kd.samples(images),
        "out": tmp_path,
    }
    torch.manual_seed(0)
    passed = kd.distill(teacher=kd.wrap(Looks(how), score="output", input_shape=(1, 8, 8)), **common)
    named = kd.distill(teacher={"adapter": {"name": "module", "of": f"looks-{how}"}}, name="named", **common)
    for result in (passed, named):
        # A matrix of 64 by 8, or the memory's four gates over eight steps.
        assert result.teacher.macs == (64 * 8 if how != "state" else 8 * 4 * 4 * (8 + 4))
        assert result.compression.macs >= 1


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (net(), r"not \w+: kd\.wrap\(module, score=\.\.\., input_shape"),
        (fitted(50), r"not OneClassSVM: kd\.wrap\(detector\.decision_function, score=numpy\.negative"),
        (plainly_above, r"not function: kd\.wrap\(function, input_shape"),
        ("teacher.safetensors", "not str: {'bundle': FILE} for a bundle"),
        (3, r"not int: kd\.wrap\(module or function"),
    ],
)
def test_a_teacher_that_is_not_wrapped_is_told_how(teacher, said, tmp_path):
    with pytest.raises(InputError, match=f"teacher: expected a mapping, or a detector that is wrapped, {said}"):
        kd.distill(data=DIGITS, teacher=teacher, student=STUDENT, strategy=RESPONSE, out=tmp_path)
