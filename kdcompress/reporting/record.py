"""What a report is made of: the files of one run, read into plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kdcompress.deployment import Deployment
from kdcompress.results import Arm, Count, Result

ARMS = ("teacher", "teacher_after", "control", "student")
"""The detectors of a comparison in the order in which every table and plot shows them."""


@dataclass(frozen=True, eq=False)
class RunRecord:
    """One run: its result, the rows of its history, its scores by arm, its environment and its resolved recipe.

    ``samples`` are the images that it shows; a run of other data, or an older one, has none. ``deployment`` is
    there where its exported files were measured.
    """

    result: Result
    history: tuple[dict[str, Any], ...]
    scores: Mapping[str, np.ndarray]
    environment: Mapping[str, Any]
    recipe: str
    samples: Mapping[str, np.ndarray] = field(default_factory=dict)
    deployment: Deployment | None = None


def arms(result: Result) -> dict[str, Arm]:
    """Return the detectors that the run has, in the order of `ARMS`."""
    found = {name: getattr(result, name) for name in ARMS}
    return {name: arm for name, arm in found.items() if arm is not None}


def alone(result: Result) -> bool:
    """Say whether the run trained one detector and compared it with nothing."""
    return result.teacher is None and result.control is None


def label(result: Result, arm: str) -> str:
    """Name an arm for a reader; a detector that is alone is nobody's student."""
    if arm == "student" and alone(result):
        return "detector"
    return arm.replace("_", " ")


def counts_of(counters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what each counter says, without the entry of what none could count.

    A result that was just made holds `Count`; one that was read from a file holds its JSON form.
    """
    return {
        name: dataclasses.asdict(count) if isinstance(count, Count) else dict(count)
        for name, count in counters.items()
        if name != "uncounted"
    }
