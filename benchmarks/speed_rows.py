"""How many rows a second teachers and students of tables score, one thread, from the runs of a suite on disk.

kdcompress benchmark benchmarks/adbench.yaml --out OUT
python benchmarks/speed_rows.py OUT/adbench --seed 0 --out benchmarks/results/speed/rows.json

Each detector scores 8,192 rows of its test set (repeated where there are fewer) in batches of 1,024, as the evaluation
does; the median of five times counts. Nothing else should compute meanwhile.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from pathlib import Path

import torch

from kdcompress import bundle
from kdcompress.evaluation import score
from kdcompress.recipe import Ref
from kdcompress.results import from_json
from kdcompress.start import load_data

ROWS, BATCH, TIMES = 8192, 1024, 5


def rows_per_second(path: Path, raw: torch.Tensor) -> float:
    """Return how many rows a second a bundle scores."""
    detector = bundle.load(path).detector
    score(detector, raw[:BATCH], batch_size=BATCH)
    taken = []
    for _ in range(TIMES):
        start = time.perf_counter()
        score(detector, raw, batch_size=BATCH)
        taken.append(time.perf_counter() - start)
    return len(raw) / statistics.median(taken)


def main() -> None:
    """Measure every finished run of a seed and write one entry for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suite", type=Path, help="folder of a suite with its runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for file in sorted(given.suite.glob("runs/*/*/result.json")):
        result = from_json(json.loads(file.read_text()))
        if result.teacher is None or result.seed != given.seed:
            continue
        manifest = bundle.read_manifest(file.parent / "student.safetensors")
        test = load_data(Ref(**manifest.data)).test
        raw = test.repeat(-(-ROWS // len(test)), *[1] * (test.ndim - 1))[:ROWS]
        teacher, student = (rows_per_second(file.parent / f"{arm}.safetensors", raw) for arm in ("teacher", "student"))
        where = {"recipe": result.recipe, "data": result.data.normal_class}
        found.append({**where, "teacher": teacher, "student": student, "ratio": student / teacher})
        print(f"{result.recipe} {result.data.normal_class}: {student / teacher:.1f}", flush=True)
    means = {
        recipe: math.exp(statistics.fmean(math.log(one["ratio"]) for one in found if one["recipe"] == recipe))
        for recipe in dict.fromkeys(one["recipe"] for one in found)
    }
    machine = {"device": torch.backends.cpu.get_cpu_capability(), "threads": 1, "torch": torch.__version__}
    text = json.dumps({"rows": ROWS, "batch": BATCH, **machine, "geometric_mean_ratio": means, "runs": found}, indent=1)
    given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
