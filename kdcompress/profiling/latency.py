"""How long scoring takes."""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor, nn

from kdcompress.profiling.subject import batch, subject


def latency_ms(
    module: nn.Module,
    raw_sample: Tensor,
    batch_size: int,
    *,
    device: torch.device | str = "cpu",
    seconds: float = 0.4,
    at_least: int = 5,
    at_most: int = 200,
) -> float:
    """Return the median time in milliseconds of one forward pass over a batch of one repeated raw sample [1, ...].

    In it: everything between raw data on the device and the score on the device, preprocessing and Python's own
    overhead included, in float32, eval and inference mode, with the process's number of threads. Not in it: reading
    data, copies to and from the device, and the first passes (a quarter as long as the measurement, at least one
    pass), which choose kernels and warm caches. ``seconds`` bounds the measurement unless ``at_least`` passes take
    longer.

    Raises ``InputError`` where ``raw_sample`` is not one input or the device is not there.
    """
    measured = subject(module, device)
    raw = batch(raw_sample, batch_size, device)
    with torch.inference_mode():
        _timings(measured, raw, seconds / 4, 1, at_most)
        return 1000 * statistics.median(_timings(measured, raw, seconds, at_least, at_most))


def _timings(module: nn.Module, raw: Tensor, seconds: float, at_least: int, at_most: int) -> list[float]:
    timings: list[float] = []
    end = time.perf_counter() + seconds
    while len(timings) < at_least or (time.perf_counter() < end and len(timings) < at_most):
        _wait(raw.device)
        start = time.perf_counter()
        module(raw)
        _wait(raw.device)
        timings.append(time.perf_counter() - start)
    return timings


def _wait(device: torch.device) -> None:
    """Wait until the device has done what was asked of it: CUDA runs behind Python."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
