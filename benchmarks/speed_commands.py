"""Rows of `speed.py`: how soon commands answer."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Row, row

from kdcompress import pipeline
from kdcompress import recipe as recipes

TINY = {
    "name": "tiny",
    "data": {"name": "digits", "normal_class": 8},
    "teacher": {
        "architecture": {"name": "ede_gan", "base": 8, "latent": 8},
        "strategy": {"name": "scratch", "epochs": 2},
    },
    "student": {"name": "ede_gan", "width": 0.5},
    "strategy": {
        "name": "progressive",
        "steps": [{"teacher": "frozen", "gan": True, "epochs": 20}, {"teacher": "joint", "gan": True, "epochs": 3}],
    },
    "engine": {"precision": "fp32", "channels_last": False, "folded": False},
}
"""A recipe whose run has every file that a report reads: three arms, two steps, samples, as many epochs as usual."""


def startup_rows() -> list[Row]:
    """Seconds until a command has answered."""
    with tempfile.TemporaryDirectory() as folder:
        run = pipeline.run(recipes.parse(TINY), Path(folder), device="cpu").rundir.path
        commands = ((["--help"], 0.3), (["list"], 0.3), (["report", str(run)], 1.5))
        return [row(f"kdcompress {command[0]}, s", answered(command), f"<= {limit}") for command, limit in commands]


def answered(command: list[str]) -> float:
    """Return the median seconds of five calls of a command, each in a process of its own."""
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "kdcompress", *command], check=True, capture_output=True)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)
