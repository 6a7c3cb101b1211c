import pytest
import torch

from kdcompress.errors import InputError
from kdcompress.profiling.counters import macs
from kdcompress.students.slicing import sliced
from tests.architectures import small_nets as nets

pytest.importorskip("torch_pruning")

X = torch.rand(2, 1, 8, 8)


def test_a_budget_is_met_by_the_widest_that_does():
    network = nets.Residual().eval()
    # By hand, of k channels: two 3 x 3 convolutions over 8 x 8, and 16 weights at each of its places to go up.
    costs = [64 * (9 * k + 9 * k * k + 16 * k) for k in range(1, 9)]
    assert macs(network, X[:1]) == costs[-1]
    for k, cost in enumerate(costs, 1):
        assert macs(sliced(network, X, macs=cost), X[:1]) == cost
        assert sliced(network, X, macs=cost).a.out_channels == k
    assert macs(sliced(network, X, macs=costs[4] - 1), X[:1]) == costs[3]


def test_a_budget_below_the_narrowest_is_refused():
    with pytest.raises(InputError, match="allowed: at least 2176, the narrowest student"):
        sliced(nets.Residual().eval(), X, macs=2000)


@pytest.mark.parametrize("sizes", [{}, {"width": 0.5, "macs": 100}, {"width": 0}, {"width": 1.5}])
def test_one_size_is_given(sizes):
    with pytest.raises(InputError, match="give one of width"):
        sliced(nets.Residual(), X, **sizes)
