"""The table of a run's exported files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kdcompress.deployment import Agreement, Deployment, File, FileProfile
from kdcompress.reporting import numbers
from kdcompress.reporting.provenance import Table

_SIDES = {"teacher": "teacher", "student": "student", "int8": "student, int8"}


def exported(found: Deployment | None) -> Table | None:
    """Set a run's files side by side: what they cost, and how close they are to their bundles."""
    if found is None:
        return None
    files = {name: file for name in _SIDES if (file := getattr(found, name)) is not None}
    costs = [("File size", lambda file: numbers.size(file.bytes)), *_costs(found.student.cost)]
    closeness = [
        ("AUROC of the file", lambda file: numbers.percent(file.agreement.auroc_exported)),
        ("AUROC of the bundle on the same", lambda file: numbers.percent(file.agreement.auroc)),
        ("Rank correlation with the bundle", lambda file: numbers.decimal(file.agreement.spearman)),
        ("Decisions flipped", lambda file: _flipped(file.agreement)),
        ("Passes the gate", lambda file: "yes" if file.agreement.passed else "no"),
    ]
    rows = tuple((name, *(cell(file) for file in files.values())) for name, cell in (*costs, *closeness))
    return Table("As exported files", ("", *(_SIDES[name] for name in files)), rows, _note(found, files))


def _note(found: Deployment, files: Mapping[str, File]) -> str:
    sources = {name: file.agreement.source for name, file in files.items()}
    compared = sources["student"]
    if len(set(sources.values())) > 1:
        compared = "; ".join(f"{source} ({_SIDES[name]})" for name, source in sources.items())
    said = ["ONNX Runtime on the CPU, one thread unless said otherwise; fewer MACs need not be faster."]
    said.append(f"Compared on {compared}.")
    if (processor := found.machine.get("processor")) is not None:
        said.append(f"Timed on {processor}.")
    said += [_faster(found), *(f"{one}." for one in found.notes)]
    return " ".join(filter(None, said))


def _costs(student: FileProfile | None) -> list[tuple[str, Callable[[File], str]]]:
    if student is None:
        return []
    rows: list[tuple[str, Callable[[File], str]]] = []
    for batch in student.latency_ms:
        words = f"Latency, {batch.replace('_', ' ')}"
        rows += [(f"{words}, median", _latency(batch, "p50")), (f"{words}, 95 % below", _latency(batch, "p95"))]
    rows.append(("Samples a second, batch 64, one thread", _rate("one_thread")))
    if student.all_threads > 1:
        rows.append((f"Samples a second, batch 64, {student.all_threads} threads", _rate("all_threads")))
    return [*rows, ("Peak memory", lambda file: numbers.size(file.cost.peak_memory_bytes if file.cost else None))]


def _latency(batch: str, which: str) -> Callable[[File], str]:
    return lambda file: numbers.milliseconds(getattr(file.cost.latency_ms[batch], which) if file.cost else None)


def _rate(threads: str) -> Callable[[File], str]:
    return lambda file: numbers.whole(round(file.cost.samples_per_second[threads]) if file.cost else None)


def _flipped(agreement: Agreement) -> str:
    return numbers.DASH if agreement.flipped is None else f"{agreement.flipped:,} of {agreement.inputs:,}"


def _faster(found: Deployment) -> str:
    """Say how many times faster the student's file is than the teacher's."""
    if found.teacher is None or found.teacher.cost is None or found.student.cost is None:
        return ""
    large, small = found.teacher.cost, found.student.cost
    one = large.latency_ms["batch_1"].p50 / small.latency_ms["batch_1"].p50
    many = small.samples_per_second["one_thread"] / large.samples_per_second["one_thread"]
    return (
        f"The student's file is {numbers.times(one)} times as fast as its teacher's for one sample, "
        f"{numbers.times(many)} times in batches of 64."
    )
