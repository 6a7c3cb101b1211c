"""The tables of a report as plain text cells, so that markdown and HTML say the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kdcompress.reporting import numbers
from kdcompress.reporting.numbers import DASH
from kdcompress.reporting.record import RunRecord, arms, label
from kdcompress.results import Arm, Result


@dataclass(frozen=True)
class Table:
    """A titled table; the first cell of a row names it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables(record: RunRecord) -> tuple[Table, ...]:
    """Return every table that has something to say about the run, the most important first."""
    result = record.result
    found = (
        comparison(result),
        _compression(result),
        _threshold(result),
        _fidelity(result),
        _stages(result),
        _target(result),
        _counters("MACs of the student by operator", result.counters),
        _counters("MACs of the teacher by operator", result.teacher_counters),
        _set_up(result),
        _protocol(result),
        _seconds(result),
        _environment(record.environment),
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
        ("Normals flagged, wanted", *(numbers.percent(result.protocol.wanted_false_positive_rate) for _ in found)),
        ("Normals flagged, on test", *(numbers.percent(arm.fpr_at_threshold) for arm in found.values())),
        ("Anomalies flagged, on test", *(numbers.percent(arm.tpr_at_threshold) for arm in found.values())),
    )
    note = "Each arm has its own threshold, chosen on held-out normals."
    return Table("Threshold", ("", *(label(result, name) for name in found)), rows, note)


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
    """Operators down, counters across; what a counter adds beyond MACs or cannot count stands below its total."""
    counts = {name: _plain(count) for name, count in counters.items()}
    shared = counts.pop("uncounted", {})
    if not counts:
        return None
    operators = {name: None for count in counts.values() for name in count.get("operators") or {}}
    rows = [(name, *((count.get("operators") or {}).get(name) for count in counts.values())) for name in operators]
    rows.append(("MACs in all", *(count.get("macs") for count in counts.values())))
    rows.append(("other operations", *(count.get("other_ops") for count in counts.values())))
    cells = [(str(name), *map(numbers.whole, values)) for name, *values in rows]
    cells.append(("not counted", *(_uncounted(count.get("uncounted")) for count in counts.values())))
    note = f"Counted by nobody: {_uncounted(shared)}." if shared else ""
    return Table(title, ("operator", *counts), tuple(cells), note)


def _plain(count: Any) -> dict[str, Any]:
    return dataclasses.asdict(count) if dataclasses.is_dataclass(count) and not isinstance(count, type) else count


def _uncounted(operators: Mapping[str, int] | None) -> str:
    if operators is None:
        return DASH
    return ", ".join(f"{name} × {calls}" for name, calls in operators.items()) or "nothing"


def _set_up(result: Result) -> Table:
    data = result.data
    normal = DASH if data.normal_class is None else str(data.normal_class)
    shape = " × ".join(map(str, data.input_shape)) or DASH
    test = f"{numbers.whole(data.test_normal)} normal, {numbers.whole(data.test_anomaly)} anomalous"
    rows = (
        ("Data", data.name),
        ("Normal class", normal),
        ("Input", shape),
        ("Training, validation", f"{numbers.whole(data.train)}, {numbers.whole(data.validation)} (normals only)"),
        ("Test", test),
        ("Teacher", _named(result.teacher_architecture)),
        ("Student", _named(result.student_architecture)),
        ("Strategy", _named(result.strategy)),
        ("Seed", str(result.seed)),
        ("Recipe", result.recipe),
        ("Digest", result.digest),
        ("kdcompress", result.version or DASH),
    )
    return Table("Set-up", ("", "value"), rows)


def _named(thing: Any) -> str:
    if thing is None:
        return DASH
    options = ", ".join(f"{key} {_value(value)}" for key, value in thing.options.items())
    return f"{thing.name} ({options})" if options else str(thing.name)


def _value(value: Any) -> str:
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return numbers.decimal(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or DASH
    return str(value)


def _protocol(result: Result) -> Table:
    protocol = result.protocol
    rows = (
        ("Weights that are scored", f"{protocol.selection} epoch" if protocol.selection == "last" else protocol.selection),
        ("Labels used in training", _value(protocol.labels_used_in_training)),
        ("Scored in eval mode", _value(protocol.eval_mode)),
        ("Intervals cover", protocol.interval),
        ("Control", "the same network, without a teacher, on the same budget" if result.control else "none"),
    )
    return Table("Protocol", ("", "value"), rows)


def _seconds(result: Result) -> Table:
    spent = result.seconds
    rows = (
        ("Teacher", numbers.seconds(spent.teacher)),
        *((name, numbers.seconds(value)) for name, value in spent.stages.items()),
        ("In all", numbers.seconds(spent.total)),
    )
    return Table("Time", ("", "wall clock"), rows)


def _environment(environment: Mapping[str, Any]) -> Table:
    return Table("Environment", ("", "value"), tuple(_flat(environment)))


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        rows += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, _value(value))]
    return rows
