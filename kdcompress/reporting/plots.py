"""The plots of one run: what was paid and what was kept, how well scores separate, and how training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from kdcompress.reporting import curves, numbers
from kdcompress.reporting.canvas import COLOURS, DASHES, INK, MARKERS, MUTED, Plot, axes, draw, legend
from kdcompress.reporting.record import ARMS, RunRecord, arms, label
from kdcompress.results import Arm, Result

LEFT_OF_MARKER = ("teacher", "control")
"""Arms whose name stands left of their marker: the other arm of the same cost has its name on the right."""


def compression(result: Result) -> Plot:
    """AUROC against MACs, one marker with its 95 % interval for each arm whose MACs are counted."""
    caption = "Up is better, left is cheaper. Bars: 95 % interval over test samples."
    plot = Plot("compression", "Compression against AUROC", caption)
    found = {name: arm for name, arm in arms(result).items() if arm.auroc is not None}
    if not found:
        return Plot(plot.name, plot.title, "Not drawn: without anomalies in the test set there is no AUROC.")
    placed = {name: arm for name, arm in found.items() if arm.macs}
    caption += uncounted([label(result, name) for name in found if name not in placed])
    if not placed:
        return Plot(plot.name, plot.title, f"Not drawn.{uncounted(['all arms'])}")
    plot = Plot(plot.name, plot.title, caption)
    return draw(plot, 242, lambda figure: _paint_compression(axes(figure, 10, 200), result, placed))


def uncounted(names: Sequence[str]) -> str:
    """Say what stands nowhere on an axis of MACs: what is computed outside of torch, or is no multiplication."""
    between = "; " if any("," in name for name in names) else ", "
    return f" Left out, for no MACs are counted: {between.join(names)}." if names else ""


def _paint_compression(panel: Axes, result: Result, found: Mapping[str, Arm]) -> None:
    costs = [arm.macs for arm in found.values()]
    span = max(max(costs) / min(costs), 10.0)
    for name, arm in found.items():
        # Student and control cost the same: side by side, or their intervals hide each other.
        aside = span ** (-0.025 if name in LEFT_OF_MARKER else 0.025)
        _mark(panel, name, label(result, name), arm, aside if costs.count(arm.macs) > 1 else 1.0)
    macs_axis(panel, min(costs) * span**-0.4, max(costs) * span**0.4)
    auroc_axis(panel, list(found.values()))


def _mark(panel: Axes, name: str, text: str, arm: Arm, aside: float) -> None:
    assert arm.auroc is not None
    x, y, colour = arm.macs * aside, 100 * arm.auroc, COLOURS[name]
    if arm.auroc_ci95 is not None:
        low, high = (100 * bound for bound in arm.auroc_ci95)
        panel.plot([x, x], [low, high], color=colour, linewidth=1.6, solid_capstyle="butt")
    panel.plot([x], [y], MARKERS[name], color=colour, markersize=7)
    left = name in LEFT_OF_MARKER
    panel.annotate(
        f"{text}\n{numbers.percent(arm.auroc)}",
        (x, y),
        (-9 if left else 9, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        color=INK,
    )


def macs_axis(panel: Axes, low: float, high: float) -> None:
    """Make x logarithmic MACs, with at least two labelled ticks."""
    panel.set_xscale("log")
    panel.set_xlim(low, high)
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 300 else (1.0, 2.0, 5.0)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: numbers.tick(value)))
    panel.set_xlabel("MACs of one input, logarithmic")


def auroc_axis(panel: Axes, found: list[Arm]) -> None:
    """Make y AUROC in per cent, wide enough for all intervals."""
    ends = [100 * arm.auroc for arm in found if arm.auroc is not None]
    ends += [100 * bound for arm in found for bound in arm.auroc_ci95 or ()]
    pad = max(0.15 * (max(ends) - min(ends)), 0.5)
    panel.set_ylim(min(ends) - pad, max(ends) + pad)
    panel.yaxis.set_major_locator(MaxNLocator(5))
    panel.set_ylabel("AUROC, %")


def roc(record: RunRecord) -> Plot:
    """ROC curves of all arms, with the threshold that each would be deployed with."""
    caption = "Marker: the arm's own threshold, chosen on held-out normals. Dotted: chance."
    plot = Plot("roc", "ROC curves on the test set", caption)
    labels, found = _scored(record)
    if not found or not 0 < int((labels == 1).sum()) < len(labels):
        return Plot(plot.name, plot.title, "Not drawn: it takes scores of both normals and anomalies.")
    return draw(plot, 242, lambda figure: _paint_roc(figure, record.result, labels, found))


def _scored(record: RunRecord) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    labels = np.asarray(record.scores.get("labels", ()))
    found = {name: np.asarray(record.scores[name], np.float64) for name in ARMS if name in record.scores}
    return labels, {name: scores for name, scores in found.items() if len(scores) == len(labels) > 0}


def _paint_roc(figure: Figure, result: Result, labels: np.ndarray, found: Mapping[str, np.ndarray]) -> None:
    panel = axes(figure, 28, 182)
    panel.plot([0, 100], [0, 100], ":", color=MUTED, linewidth=0.8)
    handles = []
    for name, scores in found.items():
        false, true = curves.roc_points(labels, scores)
        handles += panel.plot(100 * false, 100 * true, DASHES[name], color=COLOURS[name], linewidth=1.5)
        if (arm := arms(result).get(name)) is not None:
            at = curves.rates_at(labels, scores, arm.threshold)
            panel.plot([100 * at[0]], [100 * at[1]], MARKERS[name], color=COLOURS[name], markersize=5.5)
    panel.set_xlim(-1, 101)
    panel.set_ylim(-1, 101)
    panel.set_xlabel("normals flagged, %")
    panel.set_ylabel("anomalies flagged, %")
    legend(figure, handles, [label(result, name) for name in found])


def histograms(record: RunRecord) -> Plot:
    """Score histograms of normals and anomalies, one panel for each arm, with its threshold."""
    title = "Scores of normals and anomalies"
    labels, found = _scored(record)
    if not found or not (labels == 0).any():
        return Plot("histograms", title, "Not drawn: the run has no test scores.")
    drawn = {name: curves.histogram(labels, s, _threshold(record.result, name)) for name, s in found.items()}
    plot = Plot("histograms", title, _clipping(record.result, drawn))
    return draw(plot, 104 * len(drawn) + 20, lambda figure: _paint_histograms(figure, record.result, drawn))


def _threshold(result: Result, name: str) -> float | None:
    arm = arms(result).get(name)
    return None if arm is None or not np.isfinite(arm.threshold) else arm.threshold


def _clipping(result: Result, drawn: Mapping[str, curves.Histogram]) -> str:
    shares = ", ".join(f"{label(result, name)} {numbers.percent(h.beyond)}" for name, h in drawn.items())
    return (
        "Share of each class by bin; right is more anomalous. The axis ends at the 0.5 % and 99.5 % quantiles of the "
        f"test scores (or at the threshold); scores beyond count in the outermost bins: {shares}."
    )


def _paint_histograms(figure: Figure, result: Result, drawn: Mapping[str, curves.Histogram]) -> None:
    for row, (name, bins) in enumerate(drawn.items()):
        panel = axes(figure, 40 + 104 * row, 64)
        panel.stairs(100 * bins.normal, bins.edges, color=INK, linewidth=1.1)
        if bins.anomaly is not None:
            panel.stairs(100 * bins.anomaly, bins.edges, fill=True, color=COLOURS[name], alpha=0.55, linewidth=0)
        limit = _threshold(result, name)
        if limit is not None:
            panel.axvline(limit, color=INK, linestyle="--", linewidth=1)
        _score_axis(panel, bins, label(result, name))
    legend(figure, *_key(drawn))


def _key(drawn: Mapping[str, curves.Histogram]) -> tuple[list[Artist], list[str]]:
    handles: list[Artist] = [Patch(fill=False, edgecolor=INK), Line2D([], [], linestyle="--", color=INK, linewidth=1)]
    names = ["normals", "threshold"]
    if any(bins.anomaly is not None for bins in drawn.values()):
        handles.append(Patch(facecolor=MUTED, alpha=0.55, linewidth=0))
        names.append("anomalies, in the arm's colour")
    return handles, names


def _score_axis(panel: Axes, bins: curves.Histogram, name: str) -> None:
    scale = ", logarithmic" if bins.logarithmic else ""
    panel.set_title(f"{name}{scale}", loc="left", fontsize=8.5, color=INK, pad=4)
    panel.set_xlim(bins.edges[0], bins.edges[-1])
    if bins.logarithmic:
        panel.set_xscale("log")
        # Labels of three to a power of ten run into each other over more than three powers.
        subs = (1.0,) if bins.edges[-1] / bins.edges[0] > 1000 else (1.0, 2.0, 5.0)
        panel.xaxis.set_major_locator(LogLocator(subs=subs, numticks=8))
        panel.xaxis.set_minor_locator(NullLocator())
    else:
        panel.xaxis.set_major_locator(MaxNLocator(6))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: numbers.decimal(value)))
    panel.yaxis.set_major_locator(MaxNLocator(3))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
