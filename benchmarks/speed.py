"""How fast the engine trains and scores, as ratios measured in one run.

    python benchmarks/speed.py [--json] [--device cpu|cuda] [--rows NAME ...] [--anomalib PYTHON]

The first reference is `reference_loop.py` in float32 and contiguous memory; the tuned one is the same loop in
channels-last, and in bfloat16 where that is faster. The engine computes as it would in a run: what it measures to be
fastest. Epochs of all ways are interleaved, the first does not count, medians are compared; whole runs are timed once.
Time it on an idle machine. A row whose data or environment are not there is skipped, and says how to get them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import speed_engine as training
import torch
from measure import Row, place, use
from speed_anomalib import anomalib_rows
from speed_commands import startup_rows
from speed_memory import memory_rows
from speed_together import together_rows
from speed_whole import whole_rows

from kdcompress.environment import describe
from kdcompress.errors import InputError

ROWS: dict[str, Callable[[], list[Row]]] = {
    "startup": startup_rows,
    "scoring": training.scoring_rows,
    "frozen": training.frozen_rows,
    "batched": training.batched_rows,
    "together": together_rows,
    "teacher": training.teacher_rows,
    "joint": training.joint_rows,
    "scaling": training.scaling_rows,
    "memory": memory_rows,
    "whole": whole_rows,
    "anomalib": partial(anomalib_rows, None),
}


CPU_ONLY = {"startup", "together", "memory", "anomalib"}


def machine() -> dict[str, Any]:
    """Return what was computed on."""
    found = describe(place(), torch.get_num_threads())
    kept = ("device_name", "processor", "cpu_capability", "cpus", "threads", "python")
    return {**{key: found[key] for key in kept}, "torch": found["libraries"]["torch"]}


def verdict(one: Row) -> str:
    """Say whether a row is what was wanted."""
    return {True: "", False: "not reached", None: "not measured"}[one["reached"]]


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), help="by default all that the device has")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--anomalib",
        metavar="PYTHON",
        default=os.environ.get("KDCOMPRESS_ANOMALIB"),
        help="interpreter of an environment with anomalib; by default $KDCOMPRESS_ANOMALIB",
    )
    options = parser.parse_args()
    try:
        use(options.device)
    except InputError as error:
        parser.error(str(error))
    measures = ROWS | {"anomalib": partial(anomalib_rows, options.anomalib)}
    rows: list[Row] = []
    for name in options.rows or [name for name in ROWS if options.device == "cpu" or name not in CPU_ONLY]:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        found = measures[name]()
        rows += found
        for one in found:
            print(f"  {one['name']}: {one['value']} ({one['wanted']}) {one['note']}", file=sys.stderr, flush=True)
    if options.json:
        json.dump({"machine": machine(), "rows": rows}, sys.stdout, indent=1)
        print()
        return
    for one in rows:
        value = "" if one["value"] is None else f"{one['value']:.2f}"
        print(f"{one['name']:<58} {value:>8}  {one['wanted']:<8} {verdict(one)}")
        print(f"    {one['note']}" if one["note"] else "", end="\n" if one["note"] else "")


if __name__ == "__main__":
    main()
