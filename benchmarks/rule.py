"""How much the rule of `kdcompress search` is worth: what it would have chosen among the cells of a suite.

python benchmarks/rule.py SUITE_FOLDER --out FILE.json

SUITE_FOLDER is a suite that was run, with its runs. For each problem, the cells are the trials: the rank correlation of
the rule with AUROC, and the AUROC of the cell that the rule prefers, next to the mean of all and the best one.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from kdcompress.pipeline import Run
from kdcompress.rundir import RunDir, write_atomic
from kdcompress.scale.rule import judged
from kdcompress.suitedir import SuiteDir


def trials(suitedir: SuiteDir) -> dict[str, list[tuple[float, float]]]:
    """Return what each student is worth by the rule and its AUROC, by problem."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for result in suitedir.results(suitedir.manifest()).values():
        rundir = RunDir.existing(suitedir.runs / result.recipe / result.digest)
        selected = judged(Run(rundir, result)).selection
        if selected is not None and selected.student is not None and result.student.auroc is not None:
            found[f"{result.data.name} {result.data.normal_class}"].append((selected.student, result.student.auroc))
    return found


def worth(pairs: list[tuple[float, float]]) -> dict[str, float | int | None]:
    """Return what the rule is worth on one problem."""
    values, aurocs = np.array(pairs).T
    differ = np.ptp(values) > 0 and np.ptp(aurocs) > 0
    return {
        "trials": len(pairs),
        "correlation": float(spearmanr(values, aurocs).statistic) if differ else None,
        "chosen": float(aurocs[values.argmax()]),
        "mean": float(aurocs.mean()),
        "best": float(aurocs.max()),
    }


def main() -> None:
    """Write what the rule is worth, by problem and in the mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    of_each = {name: worth(pairs) for name, pairs in trials(SuiteDir(given.suite)).items()}
    means = {
        key: float(np.mean([known for one in of_each.values() if (known := one[key]) is not None]))
        for key in ("correlation", "chosen", "mean", "best")
    }
    text = json.dumps({"suite": given.suite.name, "means": means, "problems": of_each}, indent=1)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(given.out, (text + "\n").encode())
    print(json.dumps(means, indent=1))


if __name__ == "__main__":
    main()
