"""Students and teachers of finished runs as files: exported, gated, quantised, and with --timed, timed.

kdcompress benchmark benchmarks/SUITE.yaml --out OUT
python benchmarks/device.py OUT/SUITE/runs/*/* --out benchmarks/results/device
python benchmarks/device.py OUT/SUITE/runs/*/* --out benchmarks/results/device --timed

Each run with a teacher and all its bundles gets a file RECIPE-CLASS_seed-N.json there; report.md is made of all that
are there. The student's files are compared with it on the whole test set and the held-out normals, the teacher's on
what the export command compares. With --timed the first run of each recipe is timed too, teacher and student side by
side: nothing else should compute meanwhile. The data have to be on the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdcompress import bundle
from kdcompress.exporting.exported import load
from kdcompress.exporting.inputs import Inputs, of_data
from kdcompress.exporting.measured import Side, measured
from kdcompress.recipe import Ref
from kdcompress.results import Result, from_json
from kdcompress.start import load_data

STARTS = 5
RUNTIME = Path(__file__).parent.parent / "runtime"
START = (
    "import sys, numpy as np; from kdcompress_runtime import Detector; d = Detector.load(sys.argv[1]); "
    "d.score(np.zeros((1, *map(int, sys.argv[2].split(','))), sys.argv[3]))"
)
Row = dict[str, Any]


def finished(folder: Path) -> Result | None:
    """Return what a run found, if it has a student and a teacher on disk."""
    file = folder / "result.json"
    if not file.is_file() or not all((folder / f"{arm}.safetensors").is_file() for arm in ("student", "teacher")):
        return None
    found = from_json(json.loads(file.read_text()))
    return found if found.teacher is not None else None


def measure(folder: Path, files: Path, *, timed: bool) -> Row:
    """Export both sides of a run to ``files``, and return what the gate measured and what the files cost."""
    student, teacher = (bundle.load(folder / f"{arm}.safetensors") for arm in ("student", "teacher"))
    data = load_data(Ref(**student.manifest.data))
    given = Inputs(torch.cat([data.test, data.validation]), data.labels, "the whole test set", data.validation)
    sides = Side(student, given), Side(teacher, of_data(data, "its data"))
    return dataclasses.asdict(measured(files, *sides, timed=timed))


def start_seconds(path: Path) -> float:
    """Return the median seconds from starting Python to the first score of a file, by the runtime alone."""
    given = load(path).metadata.input
    command = [sys.executable, "-c", START, str(path), ",".join(map(str, given.shape)), str(np.dtype(given.dtype))]
    taken = []
    for _ in range(STARTS):
        begun = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(RUNTIME)})
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def memory(side: Row) -> str:
    """Return the peak memory of one sample."""
    return "–" if side["peak_memory_bytes"] is None else f"{side['peak_memory_bytes'] / 1e6:.1f} MB"


def report(folder: Path) -> str:
    """Return the tables of all runs that were measured."""
    rows = [json.loads(file.read_text()) for file in sorted(folder.glob("*_seed-*.json"))]
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    first = [
        "| recipe | n | MACs ratio | AUROC | INT8: points lost, mean (most) | file | INT8 | teacher's file | "
        "largest difference, of what is allowed | teacher's |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    second = [
        "| recipe | latency, batch 1 | teacher's | ratio | INT8 | samples/s, batch 64 | teacher's | ratio | "
        "all threads | memory | teacher's | start to first score |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for recipe in recipes:
        of = [row for row in rows if row["recipe"] == recipe]
        sides = {name: [row["files"][name] for row in of] for name in ("student", "int8", "teacher")}
        said = {name: [side["agreement"] for side in given] for name, given in sides.items()}
        lost = [100 * (one["auroc"] - one["auroc_exported"]) for one in said["int8"]]
        off = [max(one["largest"] / one["tolerance"] for one in said[name]) for name in ("student", "teacher")]
        sizes = [max(side["bytes"] for side in given) / 1000 for given in sides.values()]
        auroc = 100 * statistics.fmean(one["auroc"] for one in said["student"])
        first.append(
            f"| {recipe} | {len(of)} | {min(row['macs_ratio'] for row in of):.1f} : 1 | {auroc:.2f} % | "
            f"{statistics.fmean(lost):+.2f} ({max(lost):+.2f}) | {sizes[0]:,.0f} kB | {sizes[1]:,.0f} kB | "
            f"{sizes[2]:,.0f} kB | {off[0]:.2f} | {off[1]:.2f} |"
        )
        for row in (row for row in of if "start_seconds" in row):
            small, large, eight = (row["files"][name]["cost"] for name in ("student", "teacher", "int8"))
            one, other = (side["latency_ms"]["batch_1"]["p50"] for side in (small, large))
            rate, large_rate = (side["samples_per_second"]["one_thread"] for side in (small, large))
            second.append(
                f"| {recipe} | {one:.3f} ms | {other:.3f} ms | {other / one:.1f}x | "
                f"{eight['latency_ms']['batch_1']['p50']:.3f} ms | {rate:,.0f} | {large_rate:,.0f} | "
                f"{rate / large_rate:.1f}x | {small['samples_per_second']['all_threads']:,.0f} | "
                f"{memory(small)} | {memory(large)} | {row['start_seconds']:.2f} s |"
            )
    return "\n".join(["# Exported, gated and timed", "", "## Files", "", *first, "", "## Speed", "", *second, ""])


def main() -> None:
    """Measure the runs that are given and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="*", help="folders of runs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--timed", action="store_true", help="time the first run of each recipe too")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    for folder in given.runs:
        if (result := finished(folder)) is None:
            continue
        name = f"{result.recipe}-{result.data.normal_class}_seed-{result.seed}.json"
        file = given.out / name
        row = json.loads(file.read_text()) if file.is_file() else {}
        time_it = given.timed and result.recipe not in seen
        seen.add(result.recipe)
        if row.get("digest") == result.digest and not time_it:
            continue
        with tempfile.TemporaryDirectory() as files:
            row = {"recipe": result.recipe, "digest": result.digest, "seed": result.seed}
            row |= {"class": result.data.normal_class, "macs_ratio": result.teacher.macs / result.student.macs}
            row["files"] = measure(folder, Path(files), timed=time_it)
            if time_it:
                row["start_seconds"] = start_seconds(Path(files) / "student.onnx")
        file.write_text(json.dumps(row, indent=1) + "\n")
        print(f"{name}: {row['files']['student']['bytes']:,} bytes", flush=True)
    (given.out / "report.md").write_text(report(given.out))


if __name__ == "__main__":
    main()
