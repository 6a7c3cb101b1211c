"""The tables of a report as plain text cells, so that markdown and HTML say the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kdcompress.reporting import numbers, provenance
from kdcompress.reporting.exported import exported
from kdcompress.reporting.provenance import Table
from kdcompress.reporting.record import RunRecord, arms, counts_of, label
from kdcompress.results import Arm, FalseAlarms, Result


def tables(record: RunRecord) -> tuple[Table, ...]:
    """Return every table that has something to say about the run, the most important first."""
    result = record.result
    found = (
        comparison(result),
        _compression(result),
        exported(record.deployment),
        _threshold(result),
        _fidelity(result),
        _stages(result),
        _target(result),
        _counters("MACs of the student by operator", result.counters),
        _counters("MACs of the teacher by operator", result.teacher_counters),
        provenance.set_up(result),
        provenance.protocol(result),
        provenance.seconds(result),
        provenance.environment(record.environment),
    )
    return tuple(table for table in found if table is not None and table.rows)


def comparison(result: Result) -> Table:
    """Set the arms side by side: how well they detect and what they cost."""
    found = arms(result)
    batches = sorted({key for arm in found.values() for key in arm.latency_ms}, key=_batch)
    cells: list[tuple[str, Callable[[Arm], str]]] = [
        ("AUROC", lambda arm: numbers.percent(arm.auroc)),
        ("95 % interval", lambda arm: numbers.interval(arm.auroc_ci95)),
        ("Average precision", lambda arm: numbers.percent(arm.average_precision)),
        ("FPR at 95 % TPR", lambda arm: numbers.percent(arm.fpr_at_95tpr)),
        ("Distinct scores", lambda arm: numbers.whole(arm.distinct_scores)),
        ("Parameters", lambda arm: numbers.count(arm.params)),
        ("MACs", lambda arm: numbers.count(arm.macs)),
        ("File size", lambda arm: numbers.size(arm.bytes)),
        *((f"Latency, {key.replace('_', ' ')}", _latency(key)) for key in batches),
        ("Peak memory", lambda arm: numbers.size(arm.peak_memory_bytes)),
    ]
    rows = tuple((name, *(cell(arm) for arm in found.values())) for name, cell in cells)
    note = f"Intervals: {result.protocol.interval}. FLOPs are twice the MACs."
    return Table("Detection and cost", ("", *(label(result, name) for name in found)), rows, note)


def _batch(key: str) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, key))
    return (int(digits) if digits else 0, key)


def _latency(key: str) -> Callable[[Arm], str]:
    return lambda arm: numbers.milliseconds(arm.latency_ms.get(key))


def _compression(result: Result) -> Table | None:
    ratios = result.compression
    if ratios is None:
        return None
    rows = (
        ("MACs", numbers.ratio(ratios.macs)),
        ("Parameters", numbers.ratio(ratios.params)),
        ("File size", numbers.ratio(ratios.bytes)),
        ("Latency, batch 1", numbers.ratio(ratios.latency_batch_1)),
        ("Latency, batch 64", numbers.ratio(ratios.latency_batch_64)),
    )
    return Table("Compression", ("", "teacher : student"), rows)


def _threshold(result: Result) -> Table:
    found = arms(result)
    rows = (
        ("Threshold", *(numbers.decimal(arm.threshold) for arm in found.values())),
        ("FPR, wanted", *(numbers.percent(result.protocol.wanted_false_positive_rate) for _ in found)),
        ("FPR to expect", *(_expected(arm.false_alarms) for arm in found.values())),
        ("FPR on test normals", *(numbers.percent(arm.fpr_at_threshold) for arm in found.values())),
        ("TPR on test anomalies", *(numbers.percent(arm.tpr_at_threshold) for arm in found.values())),
    )
    note = "Each arm has its own threshold, chosen on held-out normals. FPR: share of normals that it flags."
    held = result.student.false_alarms
    if held is not None:
        note += (
            f" To expect: of new normals, with the 95 % interval, by the {held.normals:,} that were held out; so many "
            f"support no smaller rate than {numbers.percent(held.smallest_rate)}."
        )
    return Table("Threshold", ("", *(label(result, name) for name in found)), rows, note)


def _expected(found: FalseAlarms | None) -> str:
    return numbers.DASH if found is None else f"{numbers.percent(found.rate)} ({numbers.interval(found.rate_ci95)})"


def _fidelity(result: Result) -> Table | None:
    if result.fidelity is None:
        return None
    rows = (
        ("Rank correlation of the scores (Spearman)", numbers.decimal(result.fidelity.spearman)),
        ("Same decision, each at its own threshold", numbers.percent(result.fidelity.decision_agreement)),
        ("AUROC, student minus teacher", numbers.points(result.student_minus_teacher)),
        ("95 % interval", numbers.signed_interval(result.student_minus_teacher_ci95)),
    )
    return Table("Fidelity to the teacher", ("", "student"), rows)


def _stages(result: Result) -> Table:
    names = {stage.name: None for arm in arms(result).values() for stage in arm.stages}
    staged = {name: {s.name: s.auroc for s in arm.stages} for name, arm in arms(result).items() if arm.stages}
    rows = tuple((name, *(numbers.percent(scores.get(name)) for scores in staged.values())) for name in names)
    return Table("AUROC at the end of each stage", ("stage", *(label(result, arm) for arm in staged)), rows)


def _target(result: Result) -> Table | None:
    if result.target is None:
        return None
    target = result.target
    write = _TARGETS.get(target.metric, numbers.decimal)
    row = (target.metric, write(target.asked), write(target.reached), numbers.decimal(target.width))
    return Table("Target of the student", ("metric", "asked", "reached", "width"), (row,))


_TARGETS: Mapping[str, Callable[[float | None], str]] = {
    "macs": numbers.count,
    "params": numbers.count,
    "bytes": numbers.size,
    "latency_ms": numbers.milliseconds,
    "macs_ratio": numbers.ratio,
    "params_ratio": numbers.ratio,
}


def _counters(title: str, counters: Mapping[str, Any]) -> Table | None:
    """Operators down, counters across; what a counter cannot count stands below the table."""
    counts, shared = counts_of(counters), counters.get("uncounted")
    if not counts:
        return None
    operators = {name: None for count in counts.values() for name in count.get("operators") or {}}
    rows = [(name, *((count.get("operators") or {}).get(name) for count in counts.values())) for name in operators]
    rows.append(("MACs in all", *(count.get("macs") for count in counts.values())))
    rows.append(("other operations", *(count.get("other_ops") for count in counts.values())))
    cells = tuple((str(name), *map(numbers.whole, values)) for name, *values in rows)
    gaps = {f"by {name}": count.get("uncounted") for name, count in counts.items()}
    gaps["by one counter or more"] = None if any(gaps.values()) else shared
    note = " ".join(f"Not counted {whom}: {_calls(missed)}." for whom, missed in gaps.items() if missed)
    return Table(title, ("operator", *counts), cells, note)


def _calls(operators: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} × {calls}" for name, calls in operators.items())
