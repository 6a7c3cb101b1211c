"""Several runs side by side: flat rows for CSV, and a comparison for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kdcompress.reporting import numbers
from kdcompress.reporting.canvas import COLOURS, INK, MARKERS, MUTED, Plot, axes, draw, legend
from kdcompress.reporting.html import page
from kdcompress.reporting.markdown import grid, text
from kdcompress.reporting.numbers import DASH
from kdcompress.reporting.plots import auroc_axis, macs_axis, uncounted
from kdcompress.reporting.record import RunRecord, arms
from kdcompress.results import HELPS, HURTS, Arm, Interval, Result

ASIDE = {"control": 0.93, "student": 1.07}
NEAR = (10.0, 7.5)
"""How close students are, in points across and up, for their numbers to overlap."""

HEADER = (
    "#",
    "run",
    "seed",
    "verdict",
    "gain (95 % interval)",
    "student",
    "control",
    "teacher",
    "MACs",
    "compression",
)


def rows(results: Sequence[Result]) -> list[dict[str, object]]:
    """Return one flat row for each arm of each run, fractions and bytes as in ``result.json``; unknown is None."""
    return [_row(result, name, arm) for result in results for name, arm in arms(result).items()]


def _row(result: Result, name: str, arm: Arm) -> dict[str, object]:
    return {
        "recipe": result.recipe,
        "digest": result.digest,
        "seed": result.seed,
        "data": result.data.name,
        "normal_class": result.data.normal_class,
        "strategy": result.strategy.name,
        "verdict": result.verdict,
        "arm": name,
        "auroc": arm.auroc,
        **_bounds("auroc", arm.auroc_ci95),
        "average_precision": arm.average_precision,
        "fpr_at_95tpr": arm.fpr_at_95tpr,
        "threshold": arm.threshold,
        "fpr_at_threshold": arm.fpr_at_threshold,
        "tpr_at_threshold": arm.tpr_at_threshold,
        "distinct_scores": arm.distinct_scores,
        "params": arm.params,
        "macs": arm.macs,
        "bytes": arm.bytes,
        **{f"latency_ms_{key}": value for key, value in arm.latency_ms.items()},
        "peak_memory_bytes": arm.peak_memory_bytes,
        **_worth(result, name),
        **_student_only(result, name),
    }


def _worth(result: Result, name: str) -> dict[str, object]:
    """What a search chooses by, which trials alone have: a column of the rule's name."""
    found = result.selection
    return {found.rule: getattr(found, name, None)} if found is not None else {}


def _student_only(result: Result, name: str) -> dict[str, object]:
    """What is said of the pair stands in the student's row alone, so that no mean counts it three times."""
    mine = result if name == "student" else None
    fidelity = mine.fidelity if mine else None
    return {
        "macs_ratio": mine.compression.macs if mine and mine.compression else None,
        "kd_gain": mine.kd_gain if mine else None,
        **_bounds("kd_gain", mine.kd_gain_ci95 if mine else None),
        "student_minus_teacher": mine.student_minus_teacher if mine else None,
        **_bounds("student_minus_teacher", mine.student_minus_teacher_ci95 if mine else None),
        "spearman": fidelity.spearman if fidelity else None,
        "decision_agreement": fidelity.decision_agreement if fidelity else None,
        "seconds": mine.seconds.total if mine else None,
    }


def _bounds(name: str, interval: Interval | None) -> dict[str, object]:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Write rows as CSV with every column that any row has; unknown is an empty field."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def comparison_markdown(records: Sequence[RunRecord]) -> str:
    """Write one table of all runs, after a sentence that counts their verdicts."""
    results = [record.result for record in records]
    return f"**{_headline(results)}**\n\n{text(_scope(results))}\n\n{grid(HEADER, _cells(results))}\n"


def comparison_html(records: Sequence[RunRecord]) -> str:
    """Render all runs as one page: the count of verdicts, one plot, one table."""
    results = [record.result for record in records]
    content = {"headline": _headline(results), "scope": _scope(results), "header": HEADER}
    return page("comparison.html.j2", rows=_cells(results), plots=(scatter(results),), **content)


def _headline(results: Sequence[Result]) -> str:
    judged = [result.verdict for result in results if result.verdict is not None]
    if not judged:
        runs = "1 run" if len(results) == 1 else f"{len(results)} runs"
        return f"{runs} without a verdict on distillation"
    helped, hurt = judged.count(HELPS), judged.count(HURTS)
    return f"Distillation helps in {helped} of {len(judged)} runs, hurts in {hurt}"


def _scope(results: Sequence[Result]) -> str:
    scopes = sorted({result.protocol.interval for result in results})
    covered = " or ".join(scopes)
    return f"Each verdict is of its own run; its interval covers {covered}. Gains over the control are in points."


def _cells(results: Sequence[Result]) -> list[tuple[str, ...]]:
    return [_line(place, result) for place, result in enumerate(results, 1)]


def _line(place: int, result: Result) -> tuple[str, ...]:
    ratios = result.compression
    return (
        str(place),
        _name(result),
        str(result.seed),
        result.verdict or DASH,
        _gain(result),
        *(numbers.percent(arm.auroc if arm else None) for arm in (result.student, result.control, result.teacher)),
        numbers.count(result.student.macs),
        numbers.ratio(ratios.macs if ratios else None),
    )


def _gain(result: Result) -> str:
    if result.kd_gain is None:
        return DASH
    return f"{numbers.signed(result.kd_gain)} ({numbers.signed_interval(result.kd_gain_ci95)})"


def _name(result: Result) -> str:
    normal = "" if result.data.normal_class is None else f" {result.data.normal_class}"
    return f"{result.recipe}, {result.data.name}{normal}"


def scatter(results: Sequence[Result]) -> Plot:
    """AUROC against MACs of every arm of every run; a line joins a run's student and teacher."""
    caption = "A number is the row of the table, a line joins a student and its teacher. Left is cheaper, up is better."
    plot = Plot("comparison", "Compression against AUROC of all runs", caption)
    found = [(name, arm) for one in results for name, arm in arms(one).items() if arm.auroc is not None]
    if not found:
        return Plot(plot.name, plot.title, "Not drawn: no run has an AUROC.")
    left_out = {name: sum(one == name and not arm.macs for one, arm in found) for name in dict.fromkeys(dict(found))}
    caption += uncounted([f"{name} ({count})" for name, count in left_out.items() if count])
    if not any(arm.macs for _, arm in found):
        return Plot(plot.name, plot.title, f"Not drawn.{uncounted(['all arms'])}")
    plot = Plot(plot.name, plot.title, caption)
    return draw(plot, 270, lambda figure: _paint(figure, results))


def _paint(figure: Figure, results: Sequence[Result]) -> None:
    panel = axes(figure, 28, 202)
    for result in results:
        _paint_run(panel, result)
    found = [arm for result in results for arm in arms(result).values() if arm.auroc is not None and arm.macs]
    costs = [arm.macs for arm in found]
    span = max(max(costs) / min(costs), 10.0)
    macs_axis(panel, min(costs) * span**-0.14, max(costs) * span**0.14)
    auroc_axis(panel, found)
    names = ("teacher", "control", "student")
    _numbered(panel, results)
    handles = [Line2D([], [], linestyle="", marker=MARKERS[name], color=COLOURS[name]) for name in names]
    legend(figure, handles, names)


def _spots(result: Result) -> dict[str, tuple[int, float]]:
    """Return where arms stand: MACs and AUROC in per cent."""
    return {
        name: (arm.macs, 100 * arm.auroc)
        for name, arm in arms(result).items()
        if arm.auroc is not None and arm.macs and name != "teacher_after"
    }


def _paint_run(panel: Axes, result: Result) -> None:
    spots = _spots(result)
    if {"teacher", "student"} <= spots.keys():
        (x1, y1), (x2, y2) = spots["teacher"], spots["student"]
        panel.plot([x1, x2], [y1, y2], color=MUTED, linewidth=0.6, alpha=0.5)
    for name, (x, y) in spots.items():
        # Student and control cost the same: a little apart, or one hides the other.
        panel.plot([x * ASIDE.get(name, 1.0)], [y], MARKERS[name], color=COLOURS[name], markersize=5.5, alpha=0.85)


def _numbered(panel: Axes, results: Sequence[Result]) -> None:
    """Write the rows' numbers beside the students; those that nearly coincide share one label."""
    spots = {place: _spots(result).get("student") for place, result in enumerate(results, 1)}
    found = {place: spot for place, spot in spots.items() if spot is not None}
    # The figure has 72 dots an inch, so that these are points.
    points = {place: tuple(panel.transData.transform(spot)) for place, spot in found.items()}
    for places in together(points):
        text, spot = ranges(places), found[places[0]]
        panel.annotate(text, spot, (6, 0), textcoords="offset points", va="center", fontsize=7.5, color=INK)


def together(points: Mapping[int, tuple[float, ...]]) -> list[list[int]]:
    """Group points whose labels would overlap: each is close to the first of its group, and firsts are apart."""
    groups: list[list[int]] = []
    for place, (x, y) in points.items():
        near = (g for g in groups if abs(points[g[0]][0] - x) < NEAR[0] and abs(points[g[0]][1] - y) < NEAR[1])
        group = next(near, None)
        if group is None:
            groups.append([place])
        else:
            group.append(place)
    return groups


def ranges(places: Sequence[int]) -> str:
    """Write ascending numbers: [1, 2, 3, 5, 6] -> ``1–3, 5, 6``."""
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
