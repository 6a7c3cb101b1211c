from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from kdcompress.errors import InputError
from kdcompress.profiling.latency import latency_ms

SEEN: list[tuple[torch.Size, torch.dtype, bool, bool]] = []


class Recorder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, raw: Tensor) -> Tensor:
        SEEN.append((raw.shape, self.weight.dtype, self.training, torch.is_inference_mode_enabled()))
        return raw.float().flatten(1).sum(1) * self.weight


@pytest.fixture(autouse=True)
def _nothing_seen():
    SEEN.clear()


def test_latency_is_positive_and_finite():
    value = latency_ms(nn.Linear(8, 8), torch.randn(1, 8), 4, device="cpu", seconds=0.01)
    assert isinstance(value, float)
    assert math.isfinite(value)
    assert value > 0


def test_module_runs_as_it_is_deployed():
    module = Recorder().train()
    latency_ms(module, torch.zeros(1, 2, 3, 3, dtype=torch.uint8), 64, device="cpu", seconds=0.01)
    assert set(SEEN) == {(torch.Size([64, 2, 3, 3]), torch.float32, False, True)}
    assert module.training
    assert module.weight.dtype == torch.float64


def test_passes_are_bounded_in_number_and_not_fewer_than_asked_for():
    latency_ms(Recorder(), torch.zeros(1, 2), 1, device="cpu", seconds=0.0, at_least=5)
    assert len(SEEN) == 1 + 5
    SEEN.clear()
    latency_ms(Recorder(), torch.zeros(1, 2), 1, device="cpu", seconds=100.0, at_most=7)
    assert len(SEEN) == 7 + 7


def test_result_is_the_median_of_the_measurement_in_milliseconds(monkeypatch):
    ticks = {"now": 0.0, "passes": 0}
    durations = [50.0, 1.0, 2.0, 3.0, 4.0, 100.0]  # the first pass warms up

    class Slow(nn.Module):
        def forward(self, raw: Tensor) -> Tensor:
            ticks["now"] += durations[ticks["passes"]]
            ticks["passes"] += 1
            return raw

        def __deepcopy__(self, memo):
            return self

    monkeypatch.setattr("kdcompress.profiling.latency.time.perf_counter", lambda: ticks["now"])
    assert latency_ms(Slow(), torch.zeros(1, 2), 1, device="cpu", seconds=0.0) == pytest.approx(3000.0)


def test_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="device 'nonsense' cannot be used here"):
        latency_ms(nn.Linear(2, 2), torch.zeros(1, 2), 1, device="nonsense")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_latency_on_cuda():
    assert latency_ms(nn.Linear(8, 8), torch.randn(1, 8), 64, device="cuda", seconds=0.05) > 0
