"""The closing tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from kdcompress.deployment import Deployment, FileProfile
from kdcompress.reporting import numbers
from kdcompress.reporting.exported import exported
from kdcompress.reporting.record import alone, arms, label
from kdcompress.reporting.verdict import cautions, verdict
from kdcompress.results import Evaluation, Profile, Result

if TYPE_CHECKING:
    from kdcompress.exporting.parity import Parity


def _console() -> Console:
    return Console(highlight=False)


def show(result: Result, path: Path) -> None:
    """Print the verdict, a table of the detectors, and where the report is."""
    console = _console()
    said = verdict(result)
    console.print(f"\n[bold]{said.lead}[/bold]: {said.reason} {said.detail}".rstrip(), soft_wrap=True)
    # Eighty columns hold all of it: percent and milliseconds stand in the heading, sizes in the report.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "AUROC %", "95 % interval", "MACs", "params", "ms, 1", "ms, 64"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for name, arm in arms(result).items():
        table.add_row(
            label(result, name),
            _bare(numbers.percent(arm.auroc)),
            _bare(numbers.interval(arm.auroc_ci95)),
            numbers.count(arm.macs),
            numbers.count(arm.params),
            _bare(numbers.milliseconds(arm.latency_ms["batch_1"])),
            _bare(numbers.milliseconds(arm.latency_ms["batch_64"])),
        )
    console.print(table)
    if result.compression is not None and not alone(result):
        c = result.compression
        console.print(
            f"compression  MACs {numbers.ratio(c.macs)}, params {numbers.ratio(c.params)}, "
            f"latency {numbers.ratio(c.latency_batch_1)} at batch 1, {numbers.ratio(c.latency_batch_64)} at batch 64",
            soft_wrap=True,
        )
    for caution in cautions(result):
        console.print(f"[yellow]note[/yellow] {caution}", soft_wrap=True)
    console.print(f"report       {path / 'report.html'}", soft_wrap=True)


def _bare(text: str) -> str:
    return text.removesuffix(" %").removesuffix(" ms")


def show_profile(cost: Profile, input_shape: tuple[int, ...]) -> None:
    """Print what a detector costs."""
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_row("input", " x ".join(map(str, input_shape)))
    table.add_row("MACs", f"{cost.macs:,} ({', '.join(f'{n} {c.macs:,}' for n, c in cost.counters.items())})")
    table.add_row("FLOPs = 2 x MACs", f"{2 * cost.macs:,}")
    table.add_row("params", f"{cost.params:,}")
    table.add_row("bytes", f"{cost.bytes:,}")
    table.add_row("latency, batch 1", f"{numbers.milliseconds(cost.latency_ms['batch_1'])}")
    table.add_row("latency, batch 64", f"{numbers.milliseconds(cost.latency_ms['batch_64'])}")
    table.add_row("peak memory, batch 1", f"{cost.peak_memory_bytes:,} bytes")
    for operator, macs in cost.counters["fvcore"].operators.items():
        table.add_row(f"  {operator}", f"{macs:,} MACs")
    uncounted = cost.counters["fvcore"].uncounted
    table.add_row("uncounted", ", ".join(f"{name} x {times}" for name, times in uncounted.items()) or "nothing")
    _console().print(table)


def show_file_profile(cost: FileProfile, against: FileProfile | None = None) -> None:
    """Print what an exported file costs, and beside it another, with how many times as much that is."""
    table = Table(box=box.SIMPLE, show_header=against is not None)
    for title in ("", "file", "against", "ratio") if against is not None else ("", ""):
        table.add_column(title, justify="left" if title == "" else "right")
    sides = [cost] if against is None else [cost, against]
    table.add_row("input", *(" x ".join(map(str, one.input_shape)) for one in sides))
    for name, value, shown in _file_costs(cost):
        row = [name, shown]
        if against is not None:
            other, text = next((one[1:] for one in _file_costs(against) if one[0] == name), (None, numbers.DASH))
            ratio = other / value if value and other else None
            # More samples a second are better: the ratio says how many times better the file is.
            row += [text, numbers.ratio(1 / ratio if ratio and name.startswith("samples") else ratio)]
        table.add_row(*row)
    _console().print(table)


def _file_costs(cost: FileProfile) -> list[tuple[str, float, str]]:
    rows = [("file", float(cost.bytes), f"{cost.bytes:,} bytes")]
    for name, latency in cost.latency_ms.items():
        p50, p95 = numbers.milliseconds(latency.p50), numbers.milliseconds(latency.p95)
        label = f"latency, {name.replace('_', ' ')}, {cost.threads} thread"
        rows.append((label, latency.p50, f"{p50} median, {p95} for 95 %"))
    words = {"one_thread": "1 thread", "all_threads": f"{cost.all_threads} threads"}
    rows += [
        (f"samples a second, batch 64, {words[name]}", rate, f"{rate:,.0f}")
        for name, rate in cost.samples_per_second.items()
    ]
    if cost.peak_memory_bytes is not None:
        rows.append(("peak memory, batch 1", float(cost.peak_memory_bytes), f"{cost.peak_memory_bytes:,} bytes"))
    return rows


def show_deployment(found: Deployment, path: Path) -> None:
    """Print what the exported files of a run cost, and where its report is."""
    shown = exported(found)
    assert shown is not None, "there are files"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in shown.header:
        table.add_column(name, justify="right" if name else "left")
    for row in shown.rows:
        table.add_row(*row)
    console = _console()
    console.print(table)
    console.print(shown.note, soft_wrap=True)
    console.print(f"report       {path / 'report.html'}", soft_wrap=True)


def show_evaluation(evaluation: Evaluation, data: dict[str, object]) -> None:
    """Print how well a detector detects."""
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_row("data", ", ".join(f"{key} {value}" for key, value in data.items()))
    table.add_row("AUROC", f"{numbers.percent(evaluation.auroc)} ({numbers.interval(evaluation.auroc_ci95)})")
    table.add_row("average precision", numbers.percent(evaluation.average_precision))
    table.add_row("FPR at 95 % TPR", numbers.percent(evaluation.fpr_at_95tpr))
    table.add_row("threshold", f"{evaluation.threshold:.6g}")
    if (held := evaluation.false_alarms) is not None:
        shown = (
            f"{numbers.percent(held.rate)} ({numbers.interval(held.rate_ci95)}), by {held.normals:,} held-out normals"
        )
        table.add_row("FPR to expect", shown)
    table.add_row("FPR at the threshold", numbers.percent(evaluation.fpr_at_threshold))
    table.add_row("TPR at the threshold", numbers.percent(evaluation.tpr_at_threshold))
    table.add_row("distinct scores", f"{evaluation.distinct_scores:,}")
    _console().print(table)


def show_parity(parity: Parity, path: Path, size: int) -> None:
    """Print how close an exported file is to its detector."""
    table = Table(box=box.SIMPLE, show_header=False)
    failed = "FAILED" if parity.first_difference is None else f"FAILED, first at '{parity.first_difference}'"
    table.add_row("gate", "passed" if parity.passed else failed)
    table.add_row("compared on", parity.source)
    table.add_row("score difference", f"{parity.largest:.3g} at most, {parity.mean:.3g} in the mean")
    if parity.limits is None:
        table.add_row("allowed", f"{parity.tolerance:.3g}")
    table.add_row(
        "rank correlation", "none: scores are all the same" if parity.spearman is None else f"{parity.spearman:.6f}"
    )
    if parity.auroc is not None:
        exported = numbers.percent(parity.auroc_exported)
        table.add_row("AUROC", f"{numbers.percent(parity.auroc)} by torch, {exported} by the file")
    if parity.flipped is not None:
        table.add_row("decisions flipped", f"{parity.flipped:,} of {parity.inputs:,}")
    for one in parity.broken:
        table.add_row("not kept", one)
    table.add_row("file", f"{path} ({numbers.size(size)})")
    _console().print(table)
