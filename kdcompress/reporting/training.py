"""The plot of the training: losses by epoch for each arm, with the boundaries of the stages."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from kdcompress.reporting import numbers
from kdcompress.reporting.canvas import COLOURS, INK, MUTED, Plot, axes, draw
from kdcompress.reporting.record import ARMS

PANEL, GAP, STAGE_LINE, LEGEND_LINE, COLUMNS = 84.0, 42.0, 10.0, 11.0, 2
LINES = ("-", "--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)), (0, (1, 3)))

Row = dict[str, Any]


@dataclass(frozen=True)
class Curve:
    """One loss in one stage: ``epochs`` count from 1 over all stages of the arm."""

    loss: str
    epochs: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Course:
    """The training of one arm: its curves, and the stages with the epoch after which each began."""

    arm: str
    curves: tuple[Curve, ...]
    stages: tuple[tuple[str, int], ...]

    @property
    def losses(self) -> tuple[str, ...]:
        """Names of the losses in the order in which they appear."""
        return tuple(dict.fromkeys(curve.loss for curve in self.curves))


def courses(history: Sequence[Row]) -> tuple[Course, ...]:
    """Sort the rows of a history by arm and stage."""
    names = [name for name in ARMS if any(row.get("arm") == name for row in history)]
    found = (_course(name, [row for row in history if row.get("arm") == name]) for name in names)
    return tuple(course for course in found if course.curves)


def _course(arm: str, rows: Sequence[Row]) -> Course:
    curves: list[Curve] = []
    stages: list[tuple[str, int]] = []
    start = 0
    for stage in dict.fromkeys(str(row["stage"]) for row in rows):
        own = [row for row in rows if str(row["stage"]) == stage]
        stages.append((stage, start))
        curves += [_curve(loss, own, start) for loss in dict.fromkeys(key for row in own for key in row["losses"])]
        start += max(max(row["epoch"] + 1, row.get("epochs") or 0) for row in own)
    return Course(arm, tuple(curve for curve in curves if curve.values), tuple(stages))


def _curve(loss: str, rows: Sequence[Row], start: int) -> Curve:
    pairs = [(start + row["epoch"] + 1, row["losses"].get(loss)) for row in rows]
    known = [(epoch, value) for epoch, value in pairs if value is not None and math.isfinite(value)]
    return Curve(loss, tuple(epoch for epoch, _ in known), tuple(value for _, value in known))


CAPTION = "Mean of each loss over an epoch, before its weight. Vertical line: a new stage begins."


def training(
    history: Sequence[Row], name: str = "training", title: str = "Losses by epoch", caption: str = CAPTION
) -> Plot:
    """Losses over epochs, one panel for each arm that was trained."""
    found = courses(history)
    if not found:
        return Plot(name, title, "Not drawn: the run has no history.")
    height = sum(_height(course) for course in found)
    return draw(Plot(name, title, caption), height, lambda figure: _paint(figure, found))


def mean_history(histories: Sequence[Sequence[Row]]) -> list[Row]:
    """Return the mean of each loss over several runs, epoch by epoch; values that are not known are left out."""
    values: dict[tuple[str, str, int], dict[str, list[float]]] = {}
    epochs: dict[tuple[str, str, int], int | None] = {}
    for row in (row for history in histories for row in history):
        place = str(row.get("arm")), str(row["stage"]), int(row["epoch"])
        epochs.setdefault(place, row.get("epochs"))
        of_row = values.setdefault(place, {})
        for loss, value in row["losses"].items():
            of_row.setdefault(loss, []).extend([value] if value is not None and math.isfinite(value) else [])
    return [
        {
            "arm": arm,
            "stage": stage,
            "epoch": epoch,
            "epochs": epochs[arm, stage, epoch],
            "losses": {loss: statistics.fmean(found) for loss, found in losses.items() if found},
        }
        for (arm, stage, epoch), losses in values.items()
    ]


def _height(course: Course) -> float:
    lines = math.ceil(len(course.losses) / COLUMNS)
    return PANEL + GAP + LEGEND_LINE * lines + _stage_line(course)


def _stage_line(course: Course) -> float:
    return STAGE_LINE if len(course.stages) > 1 else 0.0


def _paint(figure: Figure, found: Sequence[Course]) -> None:
    top = 18.0
    for course in found:
        _paint_course(axes(figure, top + _stage_line(course), PANEL), course)
        top += _height(course)


def _paint_course(panel: Axes, course: Course) -> None:
    handles = {}
    for curve in course.curves:
        style = _style(course, curve.loss)
        marker = "o" if len(curve.values) == 1 else ""
        handles[curve.loss] = panel.plot(curve.epochs, curve.values, marker=marker, markersize=3, **style)[0]
    _stages(panel, course)
    _loss_axis(panel, course)
    panel.legend(
        handles.values(),
        [_readable(course.arm, loss) for loss in handles],
        loc="upper left",
        bbox_to_anchor=(0, -17 / PANEL),
        columnspacing=2.5,
        ncols=COLUMNS,
        fontsize=7.5,
        borderaxespad=0,
        borderpad=0,
        labelspacing=0.3,
        handlelength=2.6,
    )


def _owner(arm: str, loss: str) -> str:
    """A joint stage trains the teacher too: its losses keep the teacher's colour."""
    return "teacher" if loss.startswith("teacher.") else arm


def _readable(arm: str, loss: str) -> str:
    side, _, name = loss.partition(".")
    text = (name or side).replace("_", " ")
    return f"teacher: {text}" if _owner(arm, loss) != arm else text


def _style(course: Course, loss: str) -> dict[str, Any]:
    owner = _owner(course.arm, loss)
    own = [name for name in course.losses if _owner(course.arm, name) == owner]
    turn, line = divmod(own.index(loss), len(LINES))
    return {"color": COLOURS[owner], "linestyle": LINES[line], "linewidth": 1.3, "alpha": 0.5**turn}


def _stages(panel: Axes, course: Course) -> None:
    pad = 5 + _stage_line(course)
    panel.set_title(course.arm.replace("_", " "), loc="left", fontsize=8.5, color=INK, pad=pad)
    if len(course.stages) == 1:
        return
    last = max(max(curve.epochs) for curve in course.curves)
    for name, start in course.stages:
        if start:
            panel.axvline(start + 0.5, color=MUTED, linewidth=0.8)
        # A late stage is narrow: its name ends at the right edge instead of running over it.
        late = start > last / 2
        at = (last + 0.5 if late else start + 0.5, 1)
        transform = panel.get_xaxis_transform()
        side = "right" if late else "left"
        panel.annotate(
            name, at, (0, 4), xycoords=transform, textcoords="offset points", fontsize=7, color=MUTED, ha=side
        )


def _loss_axis(panel: Axes, course: Course) -> None:
    last = max(max(curve.epochs) for curve in course.curves)
    panel.set_xlim(0.5, last + 0.5)
    panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if min(min(curve.values) for curve in course.curves) > 0:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(numticks=4))
        panel.yaxis.set_minor_locator(NullLocator())
    else:
        panel.yaxis.set_major_locator(MaxNLocator(4))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: numbers.decimal(value)))
