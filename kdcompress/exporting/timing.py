"""How long an exported file takes, on one thread."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kdcompress.exporting.exported import Array, Exported, load

BATCH_SIZES = (1, 64)

_SECONDS, _AT_LEAST, _AT_MOST = 1.0, 20, 2000


@dataclass(frozen=True)
class Latency:
    """Times in milliseconds of one batch, from an array in memory to its scores."""

    p50: float
    p95: float


@dataclass(frozen=True)
class FileProfile:
    """What an exported file costs.

    Attributes:
        bytes: of the file.
        input_shape: of one sample.
        threads: that it was timed with.
        latency_ms: ``batch_1`` and ``batch_64``.
    """

    bytes: int
    input_shape: tuple[int, ...]
    threads: int
    latency_ms: dict[str, Latency]


def profile(path: Path) -> FileProfile:
    """Time an exported file on one thread; the first passes, which warm caches, do not count.

    Raises:
        BundleError: where the file cannot be used.
    """
    exported = load(path, threads=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = {f"batch_{size}": _latency(exported, size) for size in BATCH_SIZES}
    finally:
        torch.set_num_threads(threads)
    return FileProfile(path.stat().st_size, exported.metadata.input.shape, 1, found)


def _latency(exported: Exported, size: int) -> Latency:
    raw = np.zeros((size, *exported.metadata.input.shape), exported.metadata.input.dtype)
    _timings(exported, raw, _SECONDS / 4, 1)
    taken = _timings(exported, raw, _SECONDS, _AT_LEAST)
    half, most = np.percentile(taken, [50, 95])
    return Latency(1000 * float(half), 1000 * float(most))


def _timings(exported: Exported, raw: Array, seconds: float, at_least: int) -> list[float]:
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < at_least or (time.perf_counter() < end and len(taken) < _AT_MOST):
        start = time.perf_counter()
        exported.run(raw)
        taken.append(time.perf_counter() - start)
    return taken
