from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kdcompress.errors import InputError
from kdcompress.profiling.counters import tensor_bytes
from kdcompress.profiling.memory import peak_memory_bytes


def linear_pair() -> nn.Sequential:
    return nn.Sequential(nn.Linear(100, 300), nn.Linear(300, 50))


@pytest.mark.parametrize("n", [1, 7])
def test_two_linear_layers(n):
    weights = 100 * 300 + 300 + 300 * 50 + 50
    assert peak_memory_bytes(linear_pair(), torch.randn(n, 100)) == 4 * (weights + n * (100 + 300 + 50))


def test_peak_is_the_largest_moment_and_not_the_sum_of_all():
    layers = [nn.Linear(10, 10, bias=False) for _ in range(20)]
    # A list in a chain frees each activation before the one after the next is made: input, one being read, one written.
    assert peak_memory_bytes(nn.Sequential(*layers), torch.randn(8, 10)) == 4 * (20 * 100 + 3 * 8 * 10)


def test_tensors_that_are_kept_count_until_the_end():
    class Keep(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            kept = [x + number for number in range(5)]
            return torch.stack(kept)

    assert peak_memory_bytes(Keep(), torch.randn(3, 4)) == 4 * 12 * (1 + 5 + 5)


def test_views_and_writing_in_place_take_nothing():
    net = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (2, 6)), nn.ReLU(inplace=True))
    assert peak_memory_bytes(net, torch.randn(3, 12)) == 4 * 36


def test_raw_bytes_count_as_bytes():
    class Prepare(nn.Module):
        def forward(self, raw: Tensor) -> Tensor:
            return raw.float()

    assert peak_memory_bytes(Prepare(), torch.zeros(2, 3, 4, 4, dtype=torch.uint8)) == 96 + 4 * 96


def test_input_that_no_operator_reads_counts():
    assert peak_memory_bytes(nn.Identity(), torch.randn(2, 5)) == 4 * 10


def test_tensor_that_is_neither_parameter_nor_buffer_counts():
    class Centre(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centre = torch.zeros(1000)

        def forward(self, x: Tensor) -> Tensor:
            return x.sum() + self.centre.sum()

    assert peak_memory_bytes(Centre(), torch.randn(1, 10)) == 4 * (10 + 1000 + 3)


def test_same_value_again_and_again():
    net, raw = linear_pair(), torch.randn(5, 100)
    assert len({peak_memory_bytes(net, raw) for _ in range(3)}) == 1


def test_module_is_left_as_it_was():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    peak_memory_bytes(net, torch.randn(5, 4))
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert net.training


def test_empty_batch_is_refused():
    with pytest.raises(InputError, match=r"N of 1 or more; got \[0, 4\]"):
        peak_memory_bytes(nn.Linear(4, 4), torch.randn(0, 4))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_peak_is_the_closed_form_up_to_the_rounding_of_the_allocator():
    net = linear_pair()
    raw = torch.randn(64, 100, device="cuda")
    exact = tensor_bytes(net) + 4 * 64 * (100 + 300 + 50)
    found = peak_memory_bytes(net, raw)
    assert exact <= found <= exact + 3 * 512
    assert peak_memory_bytes(net, raw) == found
