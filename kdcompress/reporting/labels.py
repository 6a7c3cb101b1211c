"""Names beside the points of a plot, none over another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeAlias

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from kdcompress.reporting.canvas import INK, MUTED, WIDTH

_LINK = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}

_Spot: TypeAlias = tuple[float, float, float, float, str]
"""Of a point: its place in the figure, its x and y, its name."""

SIZE, LINE = 7.5, 9.0
"""Points, 72 to the inch: of the letters, and from line to line."""

_NEAR, _ASIDE = 60.0, 16.0
"""Points within which two names beside each other would touch, and from a point to its name."""


def name_points(panel: Axes, named: Sequence[tuple[float, float, str]]) -> None:
    """Write names beside their points (x, y); the axes' limits and scales have to be set.

    They stand on the right, or on the left where they do not fit and there is more room, in several lines where that is
    not enough. Where points nearly coincide, names stand one above the other, as near to their points as that allows,
    each with a line to its own.
    """
    scale = 72 / panel.figure.dpi
    spots: list[_Spot] = []
    for x, y, name in named:
        across, up = panel.transData.transform((x, y)) * scale
        spots.append((float(across), float(up), x, y, name))
    edge = panel.bbox.x0 * scale
    for column in _columns(sorted(spots)):
        column.sort(key=lambda spot: spot[1])
        room = {
            1: WIDTH - max(spot[0] for spot in column) - _ASIDE,
            -1: min(spot[0] for spot in column) - _ASIDE - edge,
        }
        fits = all(width(spot[4]) <= room[1] for spot in column)
        side = 1 if fits or room[1] >= room[-1] else -1
        names = [wrapped(spot[4], room[side]) for spot in column]
        heights = apart([spot[1] for spot in column], [LINE * len(name.splitlines()) for name in names])
        for (_, at, x, y, _), name, height in zip(column, names, heights, strict=True):
            panel.annotate(
                name,
                (x, y),
                (side * _ASIDE, height - at),
                textcoords="offset points",
                ha="left" if side > 0 else "right",
                va="center",
                fontsize=SIZE,
                color=INK,
                arrowprops={**_LINK, "relpos": (0 if side > 0 else 1, 0.5)},
            )


def width(text: str) -> float:
    """Return how many points a line takes in matplotlib's own font, which is wider than most that a page has."""
    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=SIZE), ismath=False)[0])


def wrapped(text: str, room: float) -> str:
    """Break a line between words, so that no part is wider than the room in points, where words are not."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and width(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def apart(heights: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Return the middles nearest to ascending ones, in least squares, of what is so high and does not overlap."""
    from scipy.optimize import isotonic_regression

    steps = list(itertools.accumulate(((a + b) / 2 for a, b in itertools.pairwise(sizes)), initial=0.0))[: len(sizes)]
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
