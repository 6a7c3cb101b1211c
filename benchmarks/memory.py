"""What a training takes from memory, and whether its steps wait for data, with data of ten times the memory given.

    python benchmarks/memory.py

Beside it the same training with all in memory, each in a process of its own. Peak memory is what the process took
beyond a run of a twentieth of the data; Linux only. What a step waits is measured around the iterator that the loop
takes batches from: in memory that is the copying of a batch, from files what the reading thread has not done meanwhile.
Take the shares on an idle machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import speed_memory
import torch

from kdcompress.engine import stage_run

GIVEN = speed_memory.NEEDED // 10


@dataclass
class Spent:
    """Seconds of the last epoch: waiting for its batches, and in all."""

    waiting: float = 0.0
    whole: float = 0.0


def timed(batches: Iterator[Any], spent: Spent) -> Iterator[Any]:
    """Return the batches, and keep what taking them costs."""
    began = time.perf_counter()
    spent.waiting = 0.0
    while True:
        asked = time.perf_counter()
        batch = next(batches, None)
        spent.waiting += time.perf_counter() - asked
        if batch is None:
            break
        yield batch
    spent.whole = time.perf_counter() - began


def train(threads: int, left: int) -> None:
    """Train as `speed_memory` does, which prints memory and speed; print the share of the time spent waiting, too."""
    spent, ahead = Spent(), stage_run.ahead

    def watched(fetch: Any, batches: Sequence[Any], *, threaded: bool) -> Iterator[Any]:  # noqa: ANN401
        return timed(ahead(fetch, batches, threaded=threaded), spent)

    stage_run.ahead = watched
    speed_memory.main(threads, left)
    print(json.dumps({"waiting": spent.waiting / spent.whole}))


def measured(left: int) -> dict[str, float]:
    """Return what a training with so many bytes takes: ``bytes``, ``images_per_second``, and the share ``waiting``."""
    command = [sys.executable, str(Path(__file__)), str(torch.get_num_threads()), str(left)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: value for line in lines for name, value in json.loads(line).items()}


def main() -> None:
    """Print a table."""
    print(f"inputs and cached outputs: {speed_memory.NEEDED:,} bytes")
    print(f"{'memory given':>18} {'peak memory':>18} {'waiting for data':>18}")
    for left in (speed_memory.NEEDED, GIVEN):
        found = measured(left)
        print(f"{left:>12,} bytes {found['bytes']:>12,} bytes {found['waiting']:>18.1%}", flush=True)


if __name__ == "__main__":
    train(*map(int, sys.argv[1:])) if sys.argv[1:] else main()
