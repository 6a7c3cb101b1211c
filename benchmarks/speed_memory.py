"""Rows of `speed.py`: what a process takes, and how fast it trains, with data of ten times the memory given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch
from measure import STUDENT, Forget, Row, images, pair, place, planned, row

from kdcompress.engine.events import EpochDone
from kdcompress.engine.fit import fit
from kdcompress.engine.plan import Plan
from kdcompress.engine.store import Memory
from kdcompress.strategies.frozen import frozen

COUNT = 20 * 1024
NEEDED = COUNT * 4 * (3 * 32 * 32 + 2 * 128)
"""Bytes: float32 inputs of both sides, and the teacher's reconstructions and latents."""


def memory_rows() -> list[Row]:
    """Peak memory and speed from files over those in memory, each way in a process of its own."""
    given = NEEDED // 10
    command = [sys.executable, str(Path(__file__)), str(torch.get_num_threads())]
    inside, filed = (
        json.loads(subprocess.run([*command, str(left)], check=True, capture_output=True, text=True).stdout)
        for left in (NEEDED, given)
    )
    sizes = [f"{bytes_ / 1e6:.0f} MB" for bytes_ in (filed["bytes"], given, inside["bytes"])]
    note = f"{sizes[0]} with {sizes[1]} given; all in memory {sizes[2]}"
    speed = filed["images_per_second"] / inside["images_per_second"]
    rates = f"{filed['images_per_second']:.0f} images/s from files, {inside['images_per_second']:.0f} in memory"
    return [
        row("peak memory over the memory given, data of ten times it", filed["bytes"] / given, "<= 2", note),
        row("training from files over training in memory", speed, ">= 0.9", rates),
    ]


def peak() -> int:
    """Return the most memory that this process has held, in bytes; Linux only."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def main(threads: int, left: int) -> None:
    """Train two epochs within a budget; print how much memory grew beyond that of a small run, and the speed."""
    torch.set_num_threads(threads)
    raw = images(COUNT)
    stages = planned(frozen, raw, True)

    def train(count: int, memory: Memory) -> float:
        events = fit(
            stages,
            pair(STUDENT),
            pair(STUDENT, 9),
            raw[:count],
            device=place(),
            plan_for=lambda _: Plan(folded=True),
            seed=0,
            slot=Forget(),
            memory=memory,
        )
        rates = (event.row["images_per_second"] for event in events if isinstance(event, EpochDone))
        next(rates)
        return float(next(rates))

    train(1024, Memory(0))
    before = peak()
    rate = train(COUNT, Memory(left))
    print(json.dumps({"bytes": peak() - before, "images_per_second": rate}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
