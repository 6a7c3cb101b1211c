"""kd.wrap: what a program has in its hands teaches."""

import numpy as np
import pytest
import torch
from torch import nn

import kdcompress as kd
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


def test_what_was_wrapped_is_not_touched():
    mine = net().train()
    kd.wrap(mine, score={"reconstruction": "output"}, input_shape=(1, 8, 8))
    assert mine.training
    assert all(weight.requires_grad for weight in mine.parameters())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((3, {}), "expected a torch module or a function"),
        ((net(), {"score": {"reconstruct": "output"}}), "one of distance, reconstruction"),
        ((net(), {"score": {"distance": 3}}), "score: distance: expected the names of two outputs, not 3"),
        (
            (net(), {"score": {"distance": "output"}}),
            "score: distance: expected the names of two outputs, not 'output'",
        ),
        ((net(), {"score": {"distance": ["output"]}}), "distance: expected the names of two outputs"),
        ((net(), {"score": Distance(("output",))}), "distance: expected the names of two outputs"),
        ((net(), {"score": {"reconstruction": 3}}), "score: reconstruction: expected the name of an output, not 3"),
        ((net(), {"taps": 3}), "taps: expected dotted names of inner modules, .* not 3"),
        ((net(), {"taps": "inner"}), r"taps: expected dotted names .*\['encoder'\].* not 'inner'"),
        ((net(), {"taps": {"latent": 3}}), "taps: expected dotted names .* not {'latent': 3}"),
        ((net(), {"taps": [3]}), "taps: expected dotted names"),
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
