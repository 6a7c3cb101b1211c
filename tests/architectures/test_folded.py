import copy

import pytest
import torch
from torch import nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.folded import FoldedConv2d, FoldedConvTranspose2d, folded
from kdcompress.signature import required
from kdcompress.types import Pair


def run(layer, x):
    """Return output and all gradients for one random direction."""
    x = x.clone().requires_grad_()
    y = layer(x)
    torch.manual_seed(1)
    return y, *torch.autograd.grad((y * torch.randn_like(y)).sum(), [x, *layer.parameters()])


def agree(layer, x):
    """In float64 only the order of summation differs."""
    layer = layer.double()
    twin = folded(nn.Sequential(layer))
    assert type(twin[0]) is not type(layer)
    for expected, found in zip(run(layer, x), run(twin, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 10), (9, 9), (2, 3)])
def test_a_folded_convolution_is_the_plain_one(size, groups, bias):
    layer = nn.Conv2d(4, 6, 4, 2, 1, groups=groups, bias=bias)
    agree(layer, torch.randn(3, 4, *size, dtype=torch.float64))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("odd", [0, (1, 0), 1])
def test_a_folded_transposed_convolution_is_the_plain_one(odd, groups, bias):
    layer = nn.ConvTranspose2d(4, 6, 4, 2, 1, output_padding=odd, groups=groups, bias=bias)
    agree(layer, torch.randn(3, 4, 3, 5, dtype=torch.float64))


@pytest.mark.parametrize("groups", [1, 2])
def test_over_the_whole_map_it_is_a_linear_map(groups):
    agree(nn.Conv2d(4, 6, (3, 2), groups=groups), torch.randn(3, 4, 3, 2, dtype=torch.float64))
    agree(nn.ConvTranspose2d(4, 6, (3, 2), groups=groups), torch.randn(3, 4, 1, 1, dtype=torch.float64))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, 1, 1),
        nn.Conv2d(4, 6, 4, 2, 1, dilation=2),
        nn.Conv2d(4, 6, 4, 2, 1, padding_mode="reflect"),
        nn.Conv2d(4, 6, 4, 2, 0),
        nn.Conv2d(4, 6, 4, 2, 1, groups=2),
        nn.ConvTranspose2d(4, 6, 3, 2, 1),
    ],
)
def test_other_convolutions_stay_as_they_are(layer):
    agree(layer, torch.randn(3, 4, 11, 11, dtype=torch.float64))


@pytest.mark.parametrize("name", sorted(one for one in ARCHITECTURES.builtins() if not required(ARCHITECTURES[one])))
@pytest.mark.parametrize("size", [(1, 8, 8), (3, 17, 17)])
def test_every_family_has_a_twin(name, size):
    torch.manual_seed(0)
    pair = ARCHITECTURES[name](size, width=0.1)
    twin = Pair(folded(pair.detector), folded(pair.critic) if pair.critic is not None else None)
    raw = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    x = pair.detector.prepare(raw)
    pair.detector.eval()
    twin.detector.eval()
    for key, value in pair.detector(x).items():
        torch.testing.assert_close(twin.detector(x)[key], value, rtol=1e-4, atol=1e-5)


def test_a_twin_shares_weights_and_statistics():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 4, 2, 1), nn.BatchNorm2d(2))
    before = copy.deepcopy(net.state_dict())
    twin = folded(net)
    optimizer = torch.optim.Adam(twin.parameters())
    twin(torch.randn(4, 1, 6, 6)).square().sum().backward()
    optimizer.step()
    assert all(one is other for one, other in zip(net.parameters(), twin.parameters(), strict=True))
    assert all(not torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert type(net[0]) is nn.Conv2d
    assert type(twin[0]) is FoldedConv2d


def test_a_twin_of_a_transposed_one_keeps_its_kind_s_options():
    twin = folded(nn.Sequential(nn.ConvTranspose2d(1, 2, 4, 2, 1, output_padding=1, bias=False)))
    assert isinstance(twin[0], FoldedConvTranspose2d)
    assert twin[0].output_padding == (1, 1)
    assert twin[0].bias is None
