"""What all plots share: size, type, colours that follow the page's theme, and SVG that can stand inside HTML."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

WIDTH = 340.0
"""Width of every plot in points: narrow, so that on a phone the text is not scaled down."""

# Okabe and Ito's colours: apart for every common colour blindness. The SVG refers to the page's CSS variable of the
# name, which has another shade on a dark page; the colour here is what stands where there is no such variable.
COLOURS = {
    "teacher": "#0072b2",
    "teacher_after": "#4f9fcf",
    "control": "#009e73",
    "student": "#d55e00",
    "ink": "#1b1f24",
    "muted": "#5b6470",
    "line": "#dde1e6",
}
INK, MUTED, LINE = COLOURS["ink"], COLOURS["muted"], COLOURS["line"]
DASHES = {"teacher": "-", "teacher_after": ":", "control": "--", "student": "-"}
MARKERS = {"teacher": "s", "teacher_after": "D", "control": "^", "student": "o"}

# matplotlib's stubs type the keys differently from version to version.
_STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    # A fixed height spares matplotlib the measuring of every tick.
    "axes.titley": 1.0,
    "axes.axisbelow": True,
    "figure.dpi": 72,
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "kdcompress",
    # A name with a dollar sign is a name, not a formula.
    "text.parse_math": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.color": MUTED,
    "ytick.major.size": 0,
}


@dataclass(frozen=True)
class Plot:
    """A plot for a page: ``svg`` is empty where there was nothing to draw, and ``caption`` says why."""

    name: str
    title: str
    caption: str
    svg: str = ""


def alone(plot: Plot) -> str:
    """Return a plot as a file of its own, on white, with the colours that stand where there is no page."""
    opening, rest = plot.svg.split(">", 1)
    described, drawing = rest.split("</desc>", 1)
    white = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return f'{opening} font-family="sans-serif" width="{2 * WIDTH:g}">{described}</desc>{white}{drawing}\n'


@contextmanager
def _style() -> Iterator[None]:
    """Draw in our style whatever the user's own matplotlib settings are, and leave those as they were."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def draw(plot: Plot, height: float, paint: Callable[[Figure], None]) -> Plot:
    """Return the plot with what ``paint`` drew on a figure of `WIDTH` by ``height`` points."""
    with _style():
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        paint(figure)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)
    return Plot(plot.name, plot.title, plot.caption, _inline(buffer.getvalue(), plot))


def axes(figure: Figure, top: float, height: float, left: float = 40, right: float = 8) -> Axes:
    """Add axes by their distance from the figure's edges in points, so that text never moves them."""
    total = figure.get_figheight() * 72
    box = (left / WIDTH, 1 - (top + height) / total, (WIDTH - left - right) / WIDTH, height / total)
    return figure.add_axes(box)


def legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str], columns: int = 4) -> None:
    """Put a legend in one line at the top of a figure."""
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(0.01, 1.0),
        ncols=columns,
        borderaxespad=0,
        columnspacing=1.6,
        handletextpad=0.5,
    )


def _inline(document: str, plot: Plot) -> str:
    """Turn a stand-alone SVG document into an element that is safe beside others on one page."""
    element = document[document.index("<svg") :]
    element = re.sub(r"<style.*?</style>", "", element, flags=re.DOTALL)
    element = re.sub(r"<defs>\s*</defs>", "", element)
    # A ">" in text is escaped, so this finds tags alone and never the user's words.
    element = re.sub(r"<[^>]+>", lambda tag: _tag(tag.group(), plot.name), element)
    start = element.index(">") + 1
    return _opening(element[:start], plot) + element[start:].replace("\n", " ").strip()


def _tag(tag: str, prefix: str) -> str:
    tag = re.sub(r' id="', f' id="{prefix}-', tag)
    tag = re.sub(r"(url\(|href=\")#", rf"\g<1>#{prefix}-", tag)
    tag = re.sub(r"font-family: [^;\"]+;?", "", tag)
    return re.sub(r"(fill|stroke): (#[0-9a-f]{6})", _themed, tag)


def _themed(match: re.Match[str]) -> str:
    names = {colour: name for name, colour in COLOURS.items()}
    key, colour = match.groups()
    if colour not in names:
        return match.group()
    return f"{key}: var(--{names[colour].replace('_', '-')}, {colour})"


def _opening(tag: str, plot: Plot) -> str:
    box = re.search(r'viewBox="([^"]+)"', tag)
    assert box is not None
    title, description = (f"{plot.name}-{part}" for part in ("title", "description"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" class="plot" '
        f'viewBox="{box.group(1)}" role="img" aria-labelledby="{title} {description}">'
        f'<title id="{title}">{escape(plot.title)}</title>'
        f'<desc id="{description}">{escape(plot.caption)}</desc>'
    )
