"""Row of `speed.py`: teacher training over anomalib's GANomaly, which runs in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import reference_loop as reference
import torch
from measure import TEACHER, Row, engine, fastest, images, medians, pair, planned, row, skipped, spelled

from kdcompress.profiling.counters import macs
from kdcompress.strategies.scratch import scratch
from kdcompress.types import Scorer

SCRIPT = Path(__file__).with_name("anomalib_ganomaly.py")
# Both sides have the same torch; which torchvision goes with it, this environment knows.
LIBRARIES = " ".join(f"{name}=={version(name).partition('+')[0]}" for name in ("torch", "torchvision"))
ENVIRONMENT = f"python -m venv ENV && ENV/bin/pip install {LIBRARIES} anomalib"


def anomalib_rows(python: str | None) -> list[Row]:
    """Teacher training over anomalib's, if an interpreter is named that has it."""
    name, wanted = "teacher training, over anomalib's GANomaly", ">= 2.2"
    if not python:
        return [skipped(name, wanted, f"make an environment for it, {ENVIRONMENT}, and give --anomalib ENV/bin/python")]
    raw = images(5 * reference.BATCH)
    plan = fastest(pair(TEACHER))
    ours = macs(Scorer(pair(TEACHER).detector), raw[:1])
    command = [python, str(SCRIPT), "--images", str(len(raw)), "--threads", str(torch.get_num_threads())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        facts = answer(process.stdout)
        found = medians(
            {
                "engine": engine(planned(scratch, raw, False), pair(TEACHER), None, raw, plan),
                "anomalib": theirs(process.stdin, process.stdout),
            }
        )
        process.stdin.close()
    speeds = [f"{len(raw) / found[way]:.0f} images/s" for way in ("engine", "anomalib")]
    note = (
        f"engine {speeds[0]} ({spelled(plan)}), anomalib {facts['anomalib']} {speeds[1]} (torch {facts['torch']}); "
        f"generators of {ours / 1e6:.1f} and {facts['macs'] / 1e6:.1f} M MACs"
    )
    return [row(name, found["anomalib"] / found["engine"], wanted, note)]


def theirs(asked: IO[str], told: IO[str]) -> Iterator[float]:
    """Have the other environment train epochs, and yield the seconds of each."""
    while True:
        asked.write("\n")
        asked.flush()
        yield answer(told)["seconds"]


def answer(told: IO[str]) -> dict[str, Any]:
    """Return the next line that the other environment prints.

    Raises:
        SystemExit: where it ended; what it said of that is on stderr.
    """
    line = told.readline()
    if not line:
        raise SystemExit(f"{SCRIPT.name} ended; its environment is made by: {ENVIRONMENT}")
    found: dict[str, Any] = json.loads(line)
    return found
