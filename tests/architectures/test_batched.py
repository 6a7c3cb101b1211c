import copy

import pytest
import torch
from torch import nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.batched import batch, unbatch
from kdcompress.errors import InputError
from kdcompress.types import Detector, Pair

RAW = torch.rand(4, 6)


class Net(Detector):
    """A detector around any layers, with a forward pass that may do more."""

    def __init__(self, *layers, after=lambda value: value):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.after = after

    def prepare(self, raw):
        return raw.float()

    def forward(self, x):
        return {"reconstruction": self.after(self.layers(x))}


class Mine(nn.Module):
    def forward(self, x):
        return x


class Wide(nn.Linear):
    pass


class Weighted(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.inner = nn.Linear(6, 6)

    def forward(self, x):
        return self.scale * self.inner(x)


def same_outputs(pairs, x):
    joint = batch(pairs, x)
    for training in (True, False):
        for pair in (*pairs, joint):
            for part in pair.parts().values():
                part.train(training)
        own = [pair.detector(pair.detector.prepare(x)) for pair in copy.deepcopy(pairs)]
        found = copy.deepcopy(joint).detector(joint.detector.prepare(x))
        for name, value in found.items():
            torch.testing.assert_close(value, torch.stack([one[name] for one in own], 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["conv_ae", "ede_gan"])
@pytest.mark.parametrize("norm", ["instance", "batch", "group", "none"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 17)])
def test_the_built_in_families_have_a_batched_form(name, norm, shape):
    pairs = [ARCHITECTURES[name](shape, base=4, latent=5, norm=norm) for _ in range(3)]
    same_outputs(pairs, torch.randint(0, 256, (4, *shape), dtype=torch.uint8))


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [nn.Linear(6, 8), nn.Unflatten(1, (2, 4)), nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.Flatten()],
        lambda: [
            nn.Unflatten(1, (1, 6)),
            nn.ConvTranspose1d(1, 4, 2, bias=False),
            nn.InstanceNorm1d(4),
            nn.MaxPool1d(2),
        ],
        lambda: [nn.Unflatten(1, (2, 1, 3)), nn.Conv2d(2, 4, (1, 3), groups=2), nn.ReLU(), nn.ConvTranspose2d(4, 2, 3)],
        lambda: [nn.Unflatten(1, (6, 1, 1)), nn.ConvTranspose2d(6, 4, (2, 3), groups=2), nn.AvgPool2d(2)],
        lambda: [nn.Unflatten(1, (1, 1, 2, 3)), nn.Conv3d(1, 2, 1), nn.GroupNorm(1, 2, affine=False)],
        lambda: [nn.Linear(6, 4, bias=False), nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Softplus())],
    ],
)
def test_layers_of_many_kinds(layers):
    same_outputs([Pair(Net(*layers())) for _ in range(3)], RAW)


def test_a_layer_used_twice_stays_one():
    def pair():
        shared = nn.Linear(6, 6)
        return Pair(Net(shared, nn.Tanh(), shared))

    pairs = [pair() for _ in range(3)]
    assert len(list(batch(pairs, RAW).detector.parameters())) == 2
    same_outputs(pairs, RAW)


def test_weights_and_statistics_come_back():
    pairs = [ARCHITECTURES["ede_gan"]((1, 8, 8), base=4, latent=5, norm="batch") for _ in range(3)]
    others = [ARCHITECTURES["ede_gan"]((1, 8, 8), base=4, latent=5, norm="batch") for _ in range(3)]
    for pair in pairs:
        pair.detector(torch.randn(4, 1, 8, 8))  # moves the statistics
    unbatch(batch(pairs, torch.zeros(2, 1, 8, 8, dtype=torch.uint8)), others)
    for pair, other in zip(pairs, others, strict=True):
        for name, part in pair.parts().items():
            for key, value in part.state_dict().items():
                assert torch.equal(value, other.parts()[name].state_dict()[key]), key


def test_the_pairs_stay_as_they_were():
    pairs = [Pair(Net(nn.Linear(6, 4), nn.BatchNorm1d(4))) for _ in range(2)]
    before = copy.deepcopy([pair.detector.state_dict() for pair in pairs])
    state = torch.get_rng_state()
    joint = batch(pairs, RAW)
    joint.detector.inner.layers[0].weight.data.zero_()
    assert torch.equal(state, torch.get_rng_state())
    for pair, values in zip(pairs, before, strict=True):
        assert all(torch.equal(value, values[key]) for key, value in pair.detector.state_dict().items())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Net(nn.Linear(6, 4), Mine()), r"Net has no batched form: layer layers.1 \(Mine\)"),
        (lambda: Net(nn.Linear(6, 4), nn.LayerNorm(4)), r"layer layers.1 \(LayerNorm\)"),
        (lambda: Net(Wide(6, 4)), r"layer layers.0 \(Wide\)"),
        (lambda: Net(Weighted()), r"layer layers.0 \(Weighted\)"),
        (lambda: Net(nn.utils.parametrizations.weight_norm(nn.Linear(6, 4))), r"layer layers.0 \(ParametrizedLinear\)"),
        (lambda: Net(nn.Linear(6, 4), nn.Dropout(0.1)), r"layer layers.1 \(Dropout\)"),
        (lambda: Net(nn.Linear(6, 4), after=lambda v: v - v.mean(1, True)), r"mixes the students \(reconstruction\)"),
        (lambda: Net(nn.Linear(6, 4), after=lambda v: v.flip(1)), "mixes the students"),
        (lambda: Net(nn.Linear(6, 4), after=lambda v: v.softmax(1)), "mixes the students"),
        (lambda: Net(nn.Linear(6, 4), after=lambda v: v[:, 0]), "Net has no batched form"),
        (lambda: Net(nn.Linear(6, 4), after=lambda v: v + torch.randn_like(v)), "mixes the students"),
        (lambda: Net(nn.Linear(6, 4), after=lambda v: v * torch.ones(4)), "its forward pass fails on several"),
        (lambda: Net(nn.Unflatten(1, (2, 3)), nn.Linear(3, 2)), r"fails on several: a linear layer .* \[N, K \* Z\]"),
    ],
)
def test_what_has_no_batched_form_says_so(make, said):
    with pytest.raises(InputError, match=said):
        batch([Pair(make()) for _ in range(3)], RAW)


def test_even_equal_students_are_told_apart_in_the_check():
    """Students of equal weights and data would hide that a forward pass exchanges them."""
    one = Pair(Net(nn.Linear(6, 4), after=lambda v: v.roll(4, 1)))
    with pytest.raises(InputError, match="no batched form"):
        batch([one, copy.deepcopy(one)], RAW)


def test_students_must_have_one_shape_and_be_equally_far():
    with pytest.raises(InputError, match="same layers, in the same sizes"):
        batch([Pair(Net(nn.LeakyReLU(0.1))), Pair(Net(nn.LeakyReLU(0.2)))], RAW)
    far = [Pair(Net(nn.Linear(6, 4), nn.BatchNorm1d(4))) for _ in range(2)]
    far[0].detector(RAW)
    with pytest.raises(InputError, match=r"layers.1: num_batches_tracked differs .* equally far"):
        batch(far, RAW)
