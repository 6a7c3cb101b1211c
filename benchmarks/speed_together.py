"""Rows of `speed.py`: ten students as one over as many processes, side by side, as there are threads.

That is what a suite chooses between: `together`, or a process of one thread for each cell.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from measure import EPOCHS, STUDENT, Row, engine, fastest, images, medians, pair, planned, row, together

from kdcompress.strategies.frozen import frozen

COUNT = 10


def together_rows() -> list[Row]:
    """Ten students as one with all threads, over processes of one thread each."""
    rows = []
    for batch_size in (16, 64):
        count = 10 * batch_size
        raw = images(count)
        stages = planned(frozen, raw, True, batch_size=batch_size)
        ten = medians({"ten": together(stages, COUNT, pair(16, 9), raw)})["ten"] / COUNT
        jobs = torch.get_num_threads()
        command = [sys.executable, str(Path(__file__)), str(batch_size)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(jobs)]
        alone = [float(json.loads(one.communicate()[0])) for one in running]
        one = statistics.median(alone) / jobs
        note = f"a student's step: {100 * ten:.1f} ms as one of ten, {100 * one:.1f} ms in {jobs} processes"
        rows.append(row(f"ten students at once over {jobs} processes, batch {batch_size}", one / ten, ">= 1", note))
    return rows


def main(arguments: Sequence[str]) -> None:
    """Train one student with one thread and print the median seconds of an epoch."""
    torch.set_num_threads(1)
    batch_size = int(arguments[0])
    raw = images(10 * batch_size)
    stages = planned(frozen, raw, True, batch_size=batch_size)
    plan = fastest(pair(STUDENT), batch_size)
    # Enough epochs that all processes are at it at the same time for most of them.
    taken = [second for _ in range(4) for second in engine(stages, pair(STUDENT), pair(16, 9), raw, plan)]
    print(json.dumps(statistics.median(taken[EPOCHS + 1 :])))


if __name__ == "__main__":
    main(sys.argv[1:])
