"""A search's report: what was chosen and by what, every trial, and how much the rule says of AUROC (no torch)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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
from kdcompress.results import UNCLEAR, Arm, Result, verdict
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
_LIMITS: dict[str, Callable[[float], str]] = {
    "macs": numbers.macs,
    "params": lambda value: f"{numbers.count(value)} parameters",
    "latency_ms": lambda value: f"{numbers.milliseconds(value)} at batch 1",
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
    return ", ".join(f"{key.rpartition('.')[2]} {_said(value)}" for key, value in trial.values.items())


def _said(value: object) -> str:
    if isinstance(value, list):
        return " + ".join(map(_said, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def tables(found: Found, results: Mapping[str, Result]) -> list[Table]:
    """Return the trials that are done, the best by the rule first, and those that were refused or failed."""
    done = sorted((one for one in found.trials if one.name in results), key=lambda one: -_order(one.student))
    marks = {found.chosen.trial: "chosen"} if found.chosen is not None else {}
    if found.chosen is not None and found.chosen.control is not None:
        alone = found.chosen.control
        marks[alone] = f"{marks[alone]}, and alone" if alone in marks else "chosen alone"
    lines = []
    for one in done:
        student, control = results[one.name].student, results[one.name].control
        figures = (numbers.count(student.macs), numbers.count(student.params))
        scored = (numbers.percent(student.auroc), numbers.percent(control.auroc if control is not None else None))
        worth = correlation(one.student), correlation(one.control)
        mark = f" ({marks[one.name]})" if one.name in marks else ""
        lines.append((f"{one.name.replace('-', _JOINED)}{mark}", settings(one), *figures, *worth, *scored))
    header = ("trial", "settings", "MACs", "params", found.rule, "alone", "AUROC", "AUROC alone")
    shown = [Table("Trials", header, tuple(lines), f"By {RULES[found.rule]}.")] if lines else []
    left = [one for one in found.trials if one.name not in results]
    if left:
        rows = tuple((one.name, settings(one), one.state, one.why or DASH) for one in left)
        shown.append(Table("Not trained", ("trial", "settings", "", "why"), rows))
    limits = tuple((key, _LIMITS[key](value)) for key, value in found.budget.items())
    varied = tuple((key, _axis(axis)) for key, axis in found.axes.items())
    return [
        *shown,
        Table("Searched", ("what", "values"), (*varied, *((f"at most, {key}", said) for key, said in limits))),
    ]


def _order(value: float | None) -> float:
    return float("-inf") if value is None else value


def _axis(axis: object) -> str:
    if isinstance(axis, dict):
        return f"{_said(axis['from'])} to {_said(axis['to'])}, {axis['scale']}"
    return ", ".join(map(_said, axis)) if isinstance(axis, list) else str(axis)


def plots(found: Found, results: Mapping[str, Result]) -> list[Plot]:
    """Return the rule against what a student costs, and, with anomalies, AUROC against the rule."""
    done = [(one, results[one.name]) for one in found.trials if one.name in results and one.student is not None]
    if not done:
        return []
    chosen = found.chosen.trial if found.chosen is not None else ""
    cost = Plot(
        "search-cost", f"MACs against {found.rule}", "One dot for each trial; ringed: the chosen one. Up is better."
    )
    drawn = []
    if counted := [(one, result) for one, result in done if result.student.macs]:
        spots = [(float(result.student.macs), one.student or 0.0, one.name == chosen) for one, result in counted]
        drawn.append(draw(cost, 250, lambda figure: _paint_cost(figure, spots, found.rule)))
    dots: dict[str, list[tuple[float, float, bool]]] = {"student": [], "control": []}
    alone = found.chosen.control if found.chosen is not None else ""
    for one, result in done:
        for arm, network, worth, mark in (
            ("student", result.student, one.student, one.name == chosen),
            ("control", result.control, one.control, one.name == alone),
        ):
            if (auroc := _auroc(network)) is not None and worth is not None:
                dots[arm].append((worth, 100 * auroc, mark))
    if dots["student"]:
        caption = (
            "One mark for each network; ringed: the chosen ones. A rule that is worth something rises to the right."
        )
        plot = Plot("search-rule", f"{found.rule.capitalize()} against AUROC", caption)
        drawn.append(draw(plot, 270, lambda figure: _paint_rule(figure, dots, found.rule)))
    return drawn


def _auroc(arm: Arm | None) -> float | None:
    return arm.auroc if arm is not None else None


def _paint_cost(figure: Figure, spots: Sequence[tuple[float, float, bool]], rule: str) -> None:
    panel = axes(figure, 8, 200)
    costs = [cost for cost, _, _ in spots]
    macs_axis(panel, min(costs) / 1.3, max(costs) * 1.3)
    _dots(panel, spots, "student")
    panel.set_ylabel(rule)
    panel.yaxis.set_major_locator(MaxNLocator(5))


def _paint_rule(figure: Figure, dots: Mapping[str, Sequence[tuple[float, float, bool]]], rule: str) -> None:
    panel = axes(figure, 28, 202)
    for arm in ("control", "student"):
        _dots(panel, dots[arm], arm)
    panel.set_xlabel(rule)
    panel.set_ylabel("AUROC, %")
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.yaxis.set_major_locator(MaxNLocator(5))
    names = [arm for arm in ("control", "student") if dots[arm]]
    legend(figure, [Line2D([], [], linestyle="", marker=MARKERS[n], color=COLOURS[n]) for n in names], names)


def _dots(panel: Axes, spots: Sequence[tuple[float, float, bool]], arm: str) -> None:
    for x, y, chosen in spots:
        panel.plot([x], [y], MARKERS[arm], color=COLOURS[arm], markersize=5, alpha=0.7)
        if chosen:
            panel.plot([x], [y], "o", markerfacecolor="none", markeredgecolor=INK, markersize=11)


def markdown(name: str, found: Found, results: Mapping[str, Result]) -> str:
    """Write a search's report as markdown."""
    parts = [f"# {text(name)}", f"**{text(headline(found, results))}**"]
    parts += [text(said)] if (said := gain(found, results)) else []
    parts.append(text(SCOPE))
    for table in tables(found, results):
        parts += [f"## {text(table.title)}", grid(table.header, table.rows)]
        parts += [text(table.note)] if table.note else []
    return "\n\n".join(parts) + "\n"


def html(name: str, found: Found, results: Mapping[str, Result]) -> str:
    """Render a search's report as one self-contained page."""
    return page(
        "suite.html.j2",
        name=name,
        description=gain(found, results),
        headline=headline(found, results),
        scope=SCOPE,
        plots=plots(found, results),
        tables=tables(found, results),
        losses=[],
    )
