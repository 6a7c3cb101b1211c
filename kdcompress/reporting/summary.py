"""What the results of a suite say together: means, spreads and intervals over classes and seeds (no torch)."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kdcompress.reporting.record import ARMS, arms
from kdcompress.reporting.words import Row, labels
from kdcompress.results import Interval, NormalClass, Result
from kdcompress.suitedir import Entry, Manifest

SCHEMA = 1


@dataclass(frozen=True)
class Spread:
    """Mean, standard deviation (n - 1), number and 95 % interval of the mean (Student's t) of one figure.

    Deviation and interval are None where there is one value only.
    """

    mean: float
    sd: float | None
    n: int
    ci95: Interval | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Summarise values; None where there are none."""
        if not values:
            return None
        mean = statistics.fmean(values)
        if len(values) == 1:
            return cls(mean, None, 1, None)
        # A report of one run needs no scipy, which takes long to load.
        from scipy.special import stdtrit

        sd = statistics.stdev(values)
        reach = float(stdtrit(len(values) - 1, 0.975)) * sd / math.sqrt(len(values))
        return cls(mean, sd, len(values), (mean - reach, mean + reach))


FIGURES: dict[str, Callable[[Result], float | None]] = {
    **{name: lambda result, name=name: _auroc(result, name) for name in ARMS},  # type: ignore[misc]
    "kd_gain": lambda result: result.kd_gain,
    "student_minus_teacher": lambda result: result.student_minus_teacher,
    "spearman": lambda result: result.fidelity.spearman if result.fidelity else None,
    "decision_agreement": lambda result: result.fidelity.decision_agreement if result.fidelity else None,
    "selection_student": lambda result: result.selection.student if result.selection else None,
    "selection_control": lambda result: result.selection.control if result.selection else None,
}
"""The figures that are summarised: AUROC of each arm, the differences paired by cell, and how far the student's scores
and decisions are its teacher's; of a search, what the two networks are worth by its rule. All are fractions but for
Spearman's correlation and a rule that is one, in [-1, 1]."""


def _auroc(result: Result, name: str) -> float | None:
    arm = arms(result).get(name)
    return arm.auroc if arm is not None else None


def spreads(results: Sequence[Result]) -> dict[str, Spread]:
    """Return the spread of every figure that any of the results has."""
    found = {key: [v for v in map(figure, results) if v is not None] for key, figure in FIGURES.items()}
    return {key: spread for key, values in found.items() if (spread := Spread.of(values)) is not None}


@dataclass(frozen=True)
class Group:
    """The cells that differ in class and seed only, those that are done: what their results say together."""

    label: str
    values: Mapping[str, Any]
    data: str
    names: tuple[str, ...]
    results: tuple[Result, ...]
    cells: int
    tuning_classes: tuple[NormalClass, ...]

    @property
    def spreads(self) -> dict[str, Spread]:
        """Every figure over all cells that are done."""
        return spreads(self.results)

    @property
    def untuned(self) -> dict[str, Spread] | None:
        """Every figure without the classes whose test labels chose settings; None where there are no such classes."""
        if not self.tuning_classes:
            return None
        return spreads([one for one in self.results if one.data.normal_class not in self.tuning_classes])

    @property
    def classes(self) -> tuple[NormalClass, ...]:
        """The normal classes of the cells that are done."""
        found = {one.data.normal_class for one in self.results if one.data.normal_class is not None}
        return tuple(sorted(found, key=lambda one: (isinstance(one, str), one)))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the cells that are done."""
        return tuple(sorted({one.seed for one in self.results}))

    def of_class(self, normal_class: NormalClass) -> dict[str, Spread]:
        """Every figure over the seeds of one class."""
        return spreads([one for one in self.results if one.data.normal_class == normal_class])

    def median(self, figure: Callable[[Result], float | None]) -> float | None:
        """Return the median of any other figure."""
        values = [value for value in map(figure, self.results) if value is not None]
        return statistics.median(values) if values else None


def groups(manifest: Manifest, results: Mapping[str, Result]) -> list[Group]:
    """Return the groups that have at least one result, in the suite's order, apart by data set."""
    cells: dict[str, list[Entry]] = {}
    for entry in manifest.cells:
        cells.setdefault(json.dumps(entry.group, sort_keys=True), []).append(entry)
    found = []
    for entries in cells.values():
        done = {entry.name: results[entry.name] for entry in entries if entry.name in results}
        for data in dict.fromkeys(one.data.name for one in done.values()):
            own = {name: one for name, one in done.items() if one.data.name == data}
            tuned = tuple(manifest.tuned_on.get(data, ()))
            found.append(Group("", entries[0].group, data, tuple(own), tuple(own.values()), len(entries), tuned))
    rows = [Row(group.results[0].recipe, group.data, group.values) for group in found]
    said = labels(rows, [entry.group for entry in manifest.cells])
    return [replace(group, label=label) for group, label in zip(found, said, strict=True)]


def named(found: Sequence[Group]) -> list[str]:
    """Return the groups' labels as they stand outside of a data set's own table: with that, where it is not clear."""
    several = len({group.data for group in found}) > 1
    count = Counter(group.label for group in found)
    return [
        f"{one.label}, {one.data}" if several and (count[one.label] > 1 or one.data not in one.label) else one.label
        for one in found
    ]


def best_control(group: Group, found: Sequence[Group]) -> tuple[str, Spread] | None:
    """Return the best network trained alone that is no larger than a group's student, and the student's gain over it.

    Those are the controls of all groups on the same data set, and students without a teacher; they have to have all of
    the group's classes and seeds. The best is the one with the highest mean AUROC on them: test labels choose it, in
    favour of the control. None where no network was trained alone.
    """
    students = {_place(one): one.student.auroc for one in group.results}
    largest = max(one.student.macs for one in group.results)
    gains: dict[str, list[float]] = {}
    for other in found:
        alone = [(one, one.control if one.teacher is not None else one.student) for one in other.results]
        aurocs = {_place(one): arm.auroc for one, arm in alone if arm is not None and arm.macs <= largest}
        pairs = [(auroc, aurocs.get(place)) for place, auroc in students.items()]
        known = [mine - theirs for mine, theirs in pairs if mine is not None and theirs is not None]
        if other.data == group.data and len(known) == len(students):
            gains[other.label] = known
    if not gains:
        return None
    label = min(gains, key=lambda one: statistics.fmean(gains[one]))
    spread = Spread.of(gains[label])
    assert spread is not None, "a group has at least one result"
    return label, spread


def _place(result: Result) -> tuple[NormalClass | None, int]:
    return result.data.normal_class, result.seed


def summary(manifest: Manifest, results: Mapping[str, Result], failed: Mapping[str, str]) -> dict[str, Any]:
    """Return ``summary.json``: everything but ``timing`` is the same whenever and wherever the suite is repeated.

    AUROC and differences are fractions, sizes bytes, times seconds unless the key ends in ``_ms``. Intervals are
    Student's t over the cells of a group, that is over classes and seeds.
    """
    found = groups(manifest, results)
    return {
        "schema": SCHEMA,
        "suite": manifest.name,
        "cells": {
            "all": len(manifest.cells),
            "done": len(results),
            "failed": {name: why for name, why in failed.items() if name not in results},
        },
        "groups": [_group(one, best_control(one, found)) for one in found],
    }


def _group(group: Group, best: tuple[str, Spread] | None) -> dict[str, Any]:
    untuned = group.untuned
    return {
        "label": group.label,
        "values": dict(group.values),
        "data": group.data,
        "classes": group.classes,
        "seeds": group.seeds,
        "cells": group.cells,
        **_plain(group.spreads),
        "gain_over_best_control": {"control": best[0], **vars(best[1])} if best is not None else None,
        "without_tuning_classes": _plain(untuned) if untuned is not None else None,
        "per_class": {str(one): _plain(group.of_class(one)) for one in group.classes},
        "sizes": {key: group.median(figure) for key, figure in SIZES.items()},
        "verdicts": {v: sum(one.verdict == v for one in group.results) for v in _verdicts(group)},
        "timing": {key: group.median(figure) for key, figure in TIMES.items()},
    }


def _verdicts(group: Group) -> list[str]:
    return sorted({one.verdict for one in group.results if one.verdict is not None})


def _plain(found: Mapping[str, Spread]) -> dict[str, Any]:
    return {key: vars(spread) for key, spread in found.items()}


SIZES: dict[str, Callable[[Result], float | None]] = {
    "teacher_macs": lambda result: result.teacher.macs if result.teacher else None,
    "teacher_params": lambda result: result.teacher.params if result.teacher else None,
    "teacher_bytes": lambda result: result.teacher.bytes if result.teacher else None,
    "student_macs": lambda result: result.student.macs,
    "student_params": lambda result: result.student.params,
    "student_bytes": lambda result: result.student.bytes,
    "macs_ratio": lambda result: result.compression.macs if result.compression else None,
    "params_ratio": lambda result: result.compression.params if result.compression else None,
    "bytes_ratio": lambda result: result.compression.bytes if result.compression else None,
}
TIMES: dict[str, Callable[[Result], float | None]] = {
    "teacher_batch_1_ms": lambda result: result.teacher.latency_ms.get("batch_1") if result.teacher else None,
    "teacher_batch_64_ms": lambda result: result.teacher.latency_ms.get("batch_64") if result.teacher else None,
    "student_batch_1_ms": lambda result: result.student.latency_ms.get("batch_1"),
    "student_batch_64_ms": lambda result: result.student.latency_ms.get("batch_64"),
    "latency_batch_1_ratio": lambda result: result.compression.latency_batch_1 if result.compression else None,
    "latency_batch_64_ratio": lambda result: result.compression.latency_batch_64 if result.compression else None,
    "cell_seconds": lambda result: result.seconds.total,
}
