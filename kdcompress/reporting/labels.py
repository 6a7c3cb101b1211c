"""Names beside the points of a plot, none over another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from matplotlib.axes import Axes

from kdcompress.reporting.canvas import INK, MUTED

_Spot: TypeAlias = tuple[float, float, float, float, str]
"""Of a point: its place in the figure, its x and y, its name."""

_LINE, _NEAR = 9.0, 60.0
"""Points, 72 to the inch, from line to line, and within which two names beside each other would touch."""

_LINK = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3, "relpos": (0, 0.5)}


def name_points(panel: Axes, named: Sequence[tuple[float, float, str]]) -> None:
    """Write names to the right of their points (x, y); the axes' limits and scales have to be set.

    Where points nearly coincide, names stand one above the other, as near to their points as that allows, each with a
    line to its own.
    """
    scale = 72 / panel.figure.dpi
    spots: list[_Spot] = []
    for x, y, name in named:
        across, up = panel.transData.transform((x, y)) * scale
        spots.append((float(across), float(up), x, y, name))
    for column in _columns(sorted(spots)):
        column.sort(key=lambda spot: spot[1])
        heights = apart([spot[1] for spot in column], _LINE)
        for (_, at, x, y, name), height in zip(column, heights, strict=True):
            panel.annotate(
                name,
                (x, y),
                (16, height - at),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color=INK,
                arrowprops=_LINK,
            )


def apart(heights: Sequence[float], least: float) -> list[float]:
    """Return the heights nearest to ascending ones, in least squares, that are ``least`` apart."""
    from scipy.optimize import isotonic_regression

    steps = [least * place for place in range(len(heights))]
    found = isotonic_regression([height - step for height, step in zip(heights, steps, strict=True)]).x
    return [float(height) + step for height, step in zip(found, steps, strict=True)]


def _columns(spots: Sequence[_Spot]) -> list[list[_Spot]]:
    """Return spots, from left to right, in runs whose names could touch."""
    columns: list[list[_Spot]] = []
    for spot in spots:
        if columns and spot[0] - columns[-1][-1][0] < _NEAR:
            columns[-1].append(spot)
        else:
            columns.append([spot])
    return columns
