"""What an exported file costs: time on one thread and on all, and memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from kdcompress.deployment import FileProfile, Latency
from kdcompress.exporting import FORMATS
from kdcompress.exporting.exported import Array, Exported, load

BATCH_SIZES = (1, 64)

_SECONDS, _AT_LEAST, _AT_MOST = 1.0, 20, 2000


def profile(path: Path) -> FileProfile:
    """Time an exported file; the first passes, which warm caches, do not count.

    Raises:
        BundleError: where the file cannot be used.
    """
    every = torch.get_num_threads()
    exported = load(path, threads=1)
    with _threads(1):
        taken = {size: _timings_of(exported, size) for size in BATCH_SIZES}
    rates = {"one_thread": BATCH_SIZES[1] / float(np.mean(taken[BATCH_SIZES[1]]))}
    wide = load(path, threads=every)
    with _threads(every):
        rates["all_threads"] = BATCH_SIZES[1] / float(np.mean(_timings_of(wide, BATCH_SIZES[1])))
    latency = {f"batch_{size}": _latency(times) for size, times in taken.items()}
    return FileProfile(
        path.stat().st_size, exported.metadata.input.shape, 1, latency, rates, every, peak_memory_bytes(path, exported)
    )


def peak_memory_bytes(path: Path, exported: Exported) -> int | None:
    """Return by how much a process of its own grows, at most, for an ONNX file and one sample; None if not known."""
    if path.suffix.lower() != FORMATS["onnx"]:
        return None
    given = exported.metadata.input
    script = Path(__file__).with_name("peak.py")
    command = [sys.executable, str(script), str(path), ",".join(map(str, given.shape)), given.dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else None


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _latency(taken: list[float]) -> Latency:
    half, most = np.percentile(taken, [50, 95])
    return Latency(1000 * float(half), 1000 * float(most))


def _timings_of(exported: Exported, size: int) -> list[float]:
    raw = np.zeros((size, *exported.metadata.input.shape), exported.metadata.input.dtype)
    _timings(exported, raw, _SECONDS / 4, 1)
    return _timings(exported, raw, _SECONDS, _AT_LEAST)


def _timings(exported: Exported, raw: Array, seconds: float, at_least: int) -> list[float]:
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < at_least or (time.perf_counter() < end and len(taken) < _AT_MOST):
        start = time.perf_counter()
        exported.run(raw)
        taken.append(time.perf_counter() - start)
    return taken
