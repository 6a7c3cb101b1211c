"""What every registered counter must do."""

import pytest
import torch
from torch import nn

from kdcompress.profiling import COUNTERS
from kdcompress.results import Count

REGISTRY = COUNTERS

# One input [1, ...], and the multiply-accumulates of its layer in closed form.
LAYERS = {
    "linear": (nn.Linear(7, 5), (1, 7), 7 * 5),
    "convolution": (nn.Conv2d(3, 8, 3, stride=2, padding=1), (1, 3, 9, 9), 8 * 5 * 5 * 3 * 3 * 3),
    "grouped": (nn.Conv2d(4, 8, 3, groups=2, bias=False), (1, 4, 6, 6), 8 * 4 * 4 * 2 * 3 * 3),
    # By the size of its input, not of its output.
    "transposed": (nn.ConvTranspose2d(6, 4, 4, 2, 1), (1, 6, 5, 5), 5 * 5 * 6 * 4 * 4 * 4),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_it_counts_multiply_accumulates_as_defined(name, layer):
    module, shape, macs = LAYERS[layer]
    count = COUNTERS[name](module, torch.randn(shape))
    assert isinstance(count, Count)
    assert count.macs == macs
    assert isinstance(count.macs, int)


def test_neither_bias_nor_norm_nor_activation_is_a_mac(name):
    plain = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False))
    dressed = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(0.2))
    raw = torch.randn(1, 1, 8, 8)
    assert COUNTERS[name](dressed, raw).macs == COUNTERS[name](plain, raw).macs == 4 * 6 * 6 * 9


def test_the_operators_add_up(name):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))
    count = COUNTERS[name](net, torch.randn(1, 1, 8, 8))
    assert sum(count.operators.values()) == count.macs


def test_the_module_is_left_as_it_was(name):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    net[2].eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    COUNTERS[name](net, torch.randn(1, 1, 8, 8))
    assert [part.training for part in net] == [True, True, False]
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not [part for part in net.modules() if part._forward_hooks or part._forward_pre_hooks]
