"""A search's report: what was chosen and by what, every trial, and how much the rule says of AUROC (no torch)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from kdcompress.reporting import numbers
from kdcompress.reporting.canvas import COLOURS, INK, MARKERS, Plot, axes, draw, legend
from kdcompress.reporting.html import page
from kdcompress.reporting.markdown import grid, text
from kdcompress.reporting.numbers import DASH
from kdcompress.reporting.plots import macs_axis
from kdcompress.reporting.provenance import Table
from kdcompress.reporting.verdict import LEADS
from kdcompress.reporting.words import short
from kdcompress.results import UNCLEAR, Result, verdict
from kdcompress.searchdir import Found, Trial

RULES = {
    "agreement": "agreement with the teacher (rank correlation of the scores of changed normals)",
    "separation": "separation (AUROC of normals against changed ones)",
}
SCOPE = (
    "Chosen by samples made of held-out normals by noise, mixes and shuffles: no label was read, and nothing of the "
    "test set. The student and the network trained alone are chosen among the same trials by the same rule, for which "
    "the teacher is asked where there is one. AUROC of a chosen trial is not biased by the choice; that of the best "
    "trial by AUROC would be."
)
_JOINED = "\u2011"
"""A hyphen at which no line is broken."""
_STEPS = (1, 2, 5, 10)
"""Between ticks: 15, 30, 45 are no round numbers."""
_LIMITS: dict[str, Callable[[float], str]] = {
    "macs": lambda value: f"{value:,.0f} MACs",
    "params": lambda value: f"{value:,.0f} parameters",
    "latency_ms": lambda value: f"{value:g} ms at batch 1",
}


def headline(found: Found, results: Mapping[str, Result]) -> str:
    """Say what was chosen, by what, and what it is worth."""
    tried = sum(one.state == "done" for one in found.trials)
    refused = sum(one.state == "refused" for one in found.trials)
    beside = f", {refused} refused" if refused else ""
    chosen = found.chosen
    if chosen is None or chosen.trial not in results:
        return f"{tried} trials done{beside}: nothing to choose"
    student = results[chosen.trial].student
    auroc = f" and an AUROC of {numbers.percent(chosen.auroc)}" if chosen.auroc is not None else ""
    return f"{chosen.trial}, chosen of {tried}{beside}, has {numbers.macs(student.macs)}{auroc}"


def gain(found: Found, results: Mapping[str, Result]) -> str:
    """Say what distillation gave: the chosen student against the chosen network that was trained alone."""
    chosen = found.chosen
    if chosen is None or chosen.kd_gain is None or chosen.control is None or chosen.control not in results:
        return ""
    alone = results[chosen.control].control
    lead = LEADS[verdict(chosen.kd_gain_ci95) or UNCLEAR]
    bounds = numbers.signed_interval(chosen.kd_gain_ci95)
    size = numbers.macs(alone.macs if alone is not None else None)
    return (
        f"{lead}: {numbers.signed(chosen.kd_gain)} points ({bounds}, test samples only) against the network trained "
        f"alone that the same rule chooses, {chosen.control} with {size}."
    )


def correlation(value: float | None) -> str:
    """Write what a trial is worth: 0.8712 -> ``0.871``."""
    return DASH if value is None else f"{value:.3f}".replace("-", numbers.MINUS)


def settings(trial: Trial) -> str:
    """Write a trial's values, each under the last part of its key."""
    return ", ".join(f"{key.rpartition('.')[2]} {short(value)}" for key, value in trial.values.items())


def _done(found: Found, results: Mapping[str, Result]) -> list[Trial]:
    return [one for one in found.trials if one.state == "done" and one.name in results]


def tables(found: Found, results: Mapping[str, Result]) -> list[Table]:
    """Return the trials that are done, the best by the rule first, and those that were refused or failed."""
    done = sorted(_done(found, results), key=lambda one: -_order(one.student))
    marks = {found.chosen.trial: "chosen"} if found.chosen is not None else {}
    if found.chosen is not None and found.chosen.control is not None:
        alone = found.chosen.control
        marks[alone] = "chosen, and its control" if alone in marks else "chosen control"
    lines = []
    for one in done:
        student, control = results[one.name].student, results[one.name].control
        figures = (numbers.count(student.macs), numbers.count(student.params))
        scored = (numbers.percent(student.auroc), numbers.percent(control.auroc if control is not None else None))
        worth = correlation(one.student), correlation(one.control)
        mark = f" ({marks[one.name]})" if one.name in marks else ""
        lines.append((f"{_joined(one.name)}{mark}", settings(one), *figures, *worth, *scored))
    header = ("trial", "settings", "MACs", "params", found.rule, "of the control", "AUROC", "of the control")
    note = f"The best first, by {RULES[found.rule]}. Control: the same network, trained alone."
    shown = [Table("Trials", header, tuple(lines), note, words=(1,))] if lines else []
    left = [one for one in found.trials if one not in done]
    if left:
        rows = tuple((_joined(one.name), settings(one), one.state, one.why or DASH) for one in left)
        shown.append(Table("Not trained", ("trial", "settings", "", "why"), rows, words=(1, 2, 3)))
    limits = tuple(("at most", _LIMITS[key](value)) for key, value in found.budget.items())
    varied = tuple((key, _axis(axis)) for key, axis in found.axes.items())
    return [*shown, Table("Searched", ("what", "values"), (*varied, *limits), words=(1,))]


def _joined(words: str) -> str:
    return words.replace("trial-", f"trial{_JOINED}")


def _order(value: float | None) -> float:
    return float("-inf") if value is None else value


def _axis(axis: object) -> str:
    if isinstance(axis, dict):
        scale = ", logarithmic" if axis["scale"] == "log" else ""
        return f"{short(axis['from'])} to {short(axis['to'])}{scale}"
    return ", ".join(map(short, axis)) if isinstance(axis, list) else str(axis)


def plots(found: Found, results: Mapping[str, Result]) -> list[Plot]:
    """Return the rule against what a network costs, and, with anomalies, AUROC against the rule."""
    marks = _marks(found, results)
    marked = "One mark for each network; ringed: the chosen ones."
    shown = []
    if costs := [(one.arm, one.macs, one.worth, one.chosen) for one in marks if one.macs]:
        plot = Plot(
            "search-cost", f"{found.rule.capitalize()} against MACs", f"{marked} Left is cheaper, up is better."
        )
        shown.append(draw(plot, 270, lambda figure: _paint_cost(figure, costs, found.rule)))
    if levels := [(one.arm, one.worth, 100 * one.auroc, one.chosen) for one in marks if one.auroc is not None]:
        said = f"{marked} A rule that is worth something rises to the right."
        plot = Plot("search-rule", f"AUROC against {found.rule}", said)
        shown.append(draw(plot, 270, lambda figure: _paint_rule(figure, levels, found.rule)))
    return shown


@dataclass(frozen=True)
class _Mark:
    """A network in a plot: what it costs, what it is worth by the rule, its AUROC, and whether it was chosen."""

    arm: str
    macs: float
    worth: float
    auroc: float | None
    chosen: bool


def _marks(found: Found, results: Mapping[str, Result]) -> list[_Mark]:
    chosen = (found.chosen.trial, found.chosen.control) if found.chosen is not None else ("", None)
    done = [(one, results[one.name]) for one in _done(found, results)]
    both = [("control", result.control, one.control, one.name == chosen[1]) for one, result in done]
    both += [("student", result.student, one.student, one.name == chosen[0]) for one, result in done]
    return [
        _Mark(name, float(arm.macs), worth, arm.auroc, ringed)
        for name, arm, worth, ringed in both
        if arm is not None and worth is not None
    ]


_Spot = tuple[str, float, float, bool]
"""An arm, its place, and whether it was chosen."""


def _paint_cost(figure: Figure, spots: Sequence[_Spot], rule: str) -> None:
    panel = _panel(figure, spots)
    costs = [cost for _, cost, _, _ in spots]
    macs_axis(panel, min(costs) / 1.3, max(costs) * 1.3)
    panel.set_ylabel(rule)


def _paint_rule(figure: Figure, spots: Sequence[_Spot], rule: str) -> None:
    panel = _panel(figure, spots)
    panel.xaxis.set_major_locator(MaxNLocator(6, steps=_STEPS))
    panel.set_xlabel(rule)
    panel.set_ylabel("AUROC, %")


def _panel(figure: Figure, spots: Sequence[_Spot]) -> Axes:
    """Draw the spots, with a legend of their arms."""
    panel = axes(figure, 28, 202)
    for arm, x, y, chosen in spots:
        panel.plot([x], [y], MARKERS[arm], color=COLOURS[arm], markersize=5, alpha=0.7)
        if chosen:
            panel.plot([x], [y], "o", markerfacecolor="none", markeredgecolor=INK, markersize=11)
    panel.yaxis.set_major_locator(MaxNLocator(6, steps=_STEPS))
    names = list(dict.fromkeys(arm for arm, _, _, _ in spots))
    legend(figure, [Line2D([], [], linestyle="", marker=MARKERS[n], color=COLOURS[n]) for n in names], names)
    return panel


def markdown(name: str, found: Found, results: Mapping[str, Result]) -> str:
    """Write a search's report as markdown."""
    parts = [f"# {text(name)}", f"**{text(headline(found, results))}**"]
    parts += [text(said)] if (said := gain(found, results)) else []
    parts.append(text(SCOPE))
    for table in tables(found, results):
        parts += [f"## {text(table.title)}", grid(table.header, table.rows, table.words)]
        parts += [text(table.note)] if table.note else []
    return "\n\n".join(parts) + "\n"


def html(name: str, found: Found, results: Mapping[str, Result]) -> str:
    """Render a search's report as one self-contained page."""
    return page(
        "suite.html.j2",
        name=name,
        description=_joined(gain(found, results)),
        headline=_joined(headline(found, results)),
        scope=SCOPE,
        plots=plots(found, results),
        tables=tables(found, results),
        losses=[],
    )
