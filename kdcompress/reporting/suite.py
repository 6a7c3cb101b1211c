"""A suite's report: one row for each group of cells, one for each class, and one plot (no torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kdcompress.reporting import numbers
from kdcompress.reporting.canvas import COLOURS, INK, MARKERS, MUTED, WIDTH, Plot, axes, draw, legend
from kdcompress.reporting.html import page
from kdcompress.reporting.labels import LINE, SIZE, name_points, wrapped
from kdcompress.reporting.markdown import grid, text
from kdcompress.reporting.numbers import DASH
from kdcompress.reporting.plots import macs_axis, uncounted
from kdcompress.reporting.provenance import Table
from kdcompress.reporting.summary import Group, Spread, best_control, groups, named
from kdcompress.reporting.table import csv_text, rows
from kdcompress.reporting.training import CAPTION, Row, mean_history, training
from kdcompress.results import HELPS, HURTS, Result
from kdcompress.suitedir import Manifest

SCOPE = (
    "Means ± standard deviation over classes and seeds, n cells; intervals are 95 % of the mean by Student's t over "
    "these cells. Gain: student less control, paired by cell; differences are in points. Scores are raw, in eval "
    "mode, of the last epoch."
)

_BESIDE = 40.0, 8.0
"""Points left and right of the gains."""

_LATENCIES = (
    "Latencies are medians over the cells; others may have run beside them. Speed-up: the teacher's latency at batch "
    "64 over the student's, of the same cell."
)


def headline(manifest: Manifest, results: Mapping[str, Result]) -> str:
    """Say how far a suite is and what its cells found."""
    done = f"{len(results)} of {len(manifest.cells)} cells done"
    judged = [one.verdict for one in results.values() if one.verdict is not None]
    if not judged:
        return done
    helped, hurt = judged.count(HELPS), judged.count(HURTS)
    return f"{done}: distillation helps in {helped}, hurts in {hurt} of {len(judged)}"


def tables(manifest: Manifest, results: Mapping[str, Result]) -> list[Table]:
    """Return all tables: one for each data set, its costs, and its classes."""
    found = groups(manifest, results)
    tables = []
    for data in dict.fromkeys(group.data for group in found):
        own = [group for group in found if group.data == data]
        tables += [_means(manifest, data, own), *_best_controls(data, own), *_fidelity(data, own), _costs(data, own)]
        tables += [_classes(group) for group in own if group.classes]
    return tables


def _means(manifest: Manifest, data: str, found: Sequence[Group]) -> Table:
    header = ("", "n", "MACs ratio", "teacher", "control", "student", "gain", "student − teacher")
    lines = []
    for group in found:
        ratio = numbers.ratio(group.median(lambda one: one.compression.macs if one.compression else None))
        lines.append((group.label, f"{len(group.results)}/{group.cells}", ratio, *_figures(group.spreads)))
        if group.untuned:
            count = max(spread.n for spread in group.untuned.values())
            lines.append(("… without tuning classes", str(count), ratio, *_figures(group.untuned)))
    if (said := manifest.published.get(data)) is not None:
        auroc, gain = numbers.percent(said.student_auroc), numbers.signed(said.kd_gain)
        lines.append((said.source, DASH, numbers.ratio(said.macs_ratio), DASH, DASH, auroc, gain, DASH))
    tuned = dict.fromkeys(one for group in found for one in group.tuning_classes)
    note = f"Settings were chosen with test labels of these classes: {', '.join(map(str, tuned))}." if tuned else ""
    return Table(f"{data}: AUROC", header, tuple(lines), note)


def _best_controls(data: str, found: Sequence[Group]) -> list[Table]:
    """Return the gains over the best network trained alone, where that is not each group's own control."""
    best = {group.label: one for group in found if (one := best_control(group, found)) is not None}
    if all(label == of_group for of_group, (label, _) in best.items()):
        return []
    lines = [(label, control, str(spread.n), _difference(spread)) for label, (control, spread) in best.items()]
    note = (
        "The best is the network of at most the student's size, trained alone, with the highest mean AUROC on the same "
        "classes and seeds: chosen by test labels, in favour of the control."
    )
    return [Table(f"{data}: gain over the best control", ("", "best control", "n", "gain"), tuple(lines), note)]


def _fidelity(data: str, found: Sequence[Group]) -> list[Table]:
    """Return how far students score and decide as their teachers do."""
    lines = []
    for group in found:
        spread, same = group.spreads.get("spearman"), group.spreads.get("decision_agreement")
        if spread is not None:
            deviation = "" if spread.sd is None else f" ± {spread.sd:.3f}"
            lines.append((group.label, str(spread.n), f"{spread.mean:.3f}{deviation}", _level(same)))
    note = "Rank correlation of the two scores on the test set, and the share of decisions that are the same."
    return (
        [Table(f"{data}: fidelity to the teacher", ("", "n", "Spearman", "same"), tuple(lines), note)] if lines else []
    )


def _figures(found: Mapping[str, Spread]) -> tuple[str, ...]:
    levels = [_level(found.get(name)) for name in ("teacher", "control", "student")]
    return (*levels, *(_difference(found.get(name)) for name in ("kd_gain", "student_minus_teacher")))


def _level(spread: Spread | None) -> str:
    if spread is None:
        return DASH
    return numbers.percent(spread.mean) if spread.sd is None else f"{100 * spread.mean:.2f} ± {100 * spread.sd:.2f} %"


def _difference(spread: Spread | None) -> str:
    if spread is None:
        return DASH
    if spread.ci95 is None:
        return numbers.signed(spread.mean)
    return f"{numbers.signed(spread.mean)} ({numbers.signed_interval(spread.ci95)})"


def _costs(data: str, found: Sequence[Group]) -> Table:
    header = (
        "",
        "MACs",
        "params",
        "bytes",
        "batch 1",
        "batch 64",
        "MACs ratio",
        "params ratio",
        "bytes ratio",
        "speed-up",
    )
    lines = []
    for group in found:
        lines.append((f"{group.label}: student", *_cost(group, "student"), *_ratios(group)))
    taught = [group for group in found if group.results[0].teacher is not None]
    for group in {_cost(one, "teacher")[:3]: one for one in reversed(taught)}.values():
        lines.append((f"{group.label}: teacher", *_cost(group, "teacher"), DASH, DASH, DASH, DASH))
    return Table(
        f"{data}: cost",
        header,
        tuple(lines),
        f"{_LATENCIES} {_machines(found)}".strip(),
    )


def _machines(found: Sequence[Group]) -> str:
    """Say what the cells were computed on, and how many on which."""
    said = [
        f"{one['device_name']} ({one['cpu_capability']}), {one['threads']} thread(s), torch {one['torch']}"
        for group in found
        for result in group.results
        if (one := result.machine)
    ]
    counted = [f"{machine} ({said.count(machine)} cells)" for machine in dict.fromkeys(said)]
    return f"Computed on {'; '.join(counted)}." if counted else ""


def _cost(group: Group, name: str) -> tuple[str, ...]:
    def median(key: str) -> float | None:
        return group.median(lambda one: getattr(getattr(one, name), key, None))

    def latency(key: str) -> float | None:
        return group.median(lambda one: arm.latency_ms.get(key) if (arm := getattr(one, name)) else None)

    sizes = numbers.count(median("macs")), numbers.count(median("params")), numbers.size(median("bytes"))
    return (*sizes, numbers.milliseconds(latency("batch_1")), numbers.milliseconds(latency("batch_64")))


def _ratios(group: Group) -> tuple[str, ...]:
    def ratio(key: str) -> str:
        return numbers.ratio(group.median(lambda one: getattr(one.compression, key, None)))

    return ratio("macs"), ratio("params"), ratio("bytes"), ratio("latency_batch_64")


def _classes(group: Group) -> Table:
    header = ("class", "seeds", "teacher", "control", "student", "gain", "student − teacher")
    lines = []
    for one in group.classes:
        found = group.of_class(one)
        mark = "*" if one in group.tuning_classes else ""
        lines.append((f"{one}{mark}", str(max(spread.n for spread in found.values())), *_figures(found)))
    note = (
        "* settings were chosen with test labels of this class"
        if set(group.classes) & set(group.tuning_classes)
        else ""
    )
    return Table(f"{group.data}: {group.label} by class", header, tuple(lines), note)


def markdown(manifest: Manifest, results: Mapping[str, Result], failed: Mapping[str, str]) -> str:
    """Write a suite's report as markdown."""
    parts = [f"**{text(headline(manifest, results))}**"]
    parts += [text(manifest.description)] if manifest.description else []
    parts.append(text(SCOPE))
    for table in tables(manifest, results):
        parts += [f"## {text(table.title)}", grid(table.header, table.rows)]
        parts += [text(table.note)] if table.note else []
    if failed:
        parts += ["## Failed", grid(("cell", "why"), tuple(failed.items()), (1,))]
    return "\n\n".join(parts) + "\n"


def html(
    manifest: Manifest,
    results: Mapping[str, Result],
    failed: Mapping[str, str],
    histories: Mapping[str, Sequence[Row]],
) -> str:
    """Render a suite's report as one self-contained page; ``histories`` are the cells' training histories."""
    shown = tables(manifest, results)
    if failed:
        shown.append(Table("Failed", ("cell", "why"), tuple(failed.items()), words=(1,)))
    found = groups(manifest, results)
    return page(
        "suite.html.j2",
        name=manifest.name,
        description=manifest.description,
        headline=headline(manifest, results),
        scope=SCOPE,
        plots=plots(found),
        tables=shown,
        losses=[
            _losses(number, name, [histories[one] for one in group.names])
            for number, (name, group) in enumerate(zip(named(found), found, strict=True), 1)
        ],
    )


def plots(found: Sequence[Group]) -> list[Plot]:
    """Return a suite's plots: for each data set compression against AUROC, then the gains."""
    drawn = [scatter(data, [one for one in found if one.data == data]) for data in dict.fromkeys(g.data for g in found)]
    return drawn + ([gains(found)] if any("kd_gain" in group.spreads for group in found) else [])


def csv(manifest: Manifest, results: Mapping[str, Result]) -> str:
    """Write one row for each arm of each cell."""
    places: dict[str, dict[str, Any]] = {one.name: one.group for one in manifest.cells}
    lines = []
    for name, result in results.items():
        own = {key: value for key, value in places[name].items() if key != "recipe"}
        lines += [{"cell": name, **own, **row} for row in rows([result])]
    return csv_text(lines)


def scatter(data: str, found: Sequence[Group]) -> Plot:
    """Mean AUROC against MACs of every group's arms on one data set; bars are the 95 % interval of the mean."""
    caption = "Mean over the cells that are done, bars: 95 % interval of the mean. Left is cheaper, up is better."
    plot = Plot(f"suite-{data}", f"{data}: compression against AUROC", caption)
    marks = [mark for group in found for mark in _marks(group)]
    nowhere = uncounted([f"{group.label}: {name}" for group in found for name in _uncounted(group)])
    if not marks:
        return Plot(plot.name, plot.title, f"Not drawn{'.' if nowhere else ': no cell has an AUROC.'}{nowhere}")
    plot = Plot(plot.name, plot.title, f"{caption}{nowhere}")
    return draw(plot, 270, lambda figure: _paint_scatter(figure, marks, found))


def _marks(group: Group) -> list[tuple[str, float, Spread]]:
    spots: list[tuple[str, float, Spread]] = []
    for name in ("teacher", "control", "student"):
        cost = _macs(group, name)
        if cost and name in group.spreads:
            spots.append((name, cost, group.spreads[name]))
    return spots


def _uncounted(group: Group) -> list[str]:
    return [name for name in ("teacher", "control", "student") if name in group.spreads and _macs(group, name) == 0]


def _macs(group: Group, arm: str) -> float | None:
    return group.median(lambda one: getattr(getattr(one, arm), "macs", None))


def _paint_scatter(figure: Figure, marks: Sequence[tuple[str, float, Spread]], found: Sequence[Group]) -> None:
    panel = axes(figure, 28, 202)
    costs = [cost for _, cost, _ in marks]
    span = max(max(costs) / min(costs), 10.0)
    macs_axis(panel, min(costs) * span**-0.14, max(costs) * span**0.14)
    aside = {"teacher": 1.0, "control": span**-0.015, "student": span**0.015}
    ends, spots = [], []
    for group in found:
        for name, cost, spread in _marks(group):
            x, y = cost * aside[name], 100 * spread.mean
            bar = [100 * bound for bound in spread.ci95 or (spread.mean, spread.mean)]
            ends += [*bar, y]
            panel.plot([x, x], bar, color=COLOURS[name], linewidth=1.2, alpha=0.7)
            panel.plot([x], [y], MARKERS[name], color=COLOURS[name], markersize=6)
            if name == "student" and len(found) > 1:
                spots.append((x, y, group.label))
    pad = max(0.15 * (max(ends) - min(ends)), 0.5)
    panel.set_ylim(max(0, min(ends) - pad), min(100.5, max(ends) + pad))
    panel.set_ylabel("mean AUROC, %")
    name_points(panel, spots)
    names = ("teacher", "control", "student")
    legend(figure, [Line2D([], [], linestyle="", marker=MARKERS[n], color=COLOURS[n]) for n in names], names)


def _losses(number: int, name: str, own: Sequence[Sequence[Row]]) -> Plot:
    caption = f"{CAPTION} Means over the cells that are done ({len(own)})."
    return training(mean_history(own), f"suite-training-{number}", f"{name}: losses by epoch", caption)


def gains(found: Sequence[Group]) -> Plot:
    """Gain over the control of every cell, and its mean, one line for each group."""
    caption = "One dot for each cell; bar and tick: mean with its 95 % interval. Right of zero distillation gains."
    plot = Plot("suite-gains", "Gain over the control", caption)
    shown = [(name, one) for name, one in zip(named(found), found, strict=True) if "kd_gain" in one.spreads]
    names = [wrapped(name, WIDTH - sum(_BESIDE)) for name, _ in shown]
    row = 34.0 + LINE * max(name.count("\n") for name in names)
    height = row * len(shown)

    def paint(figure: Figure) -> None:
        _paint_gains(axes(figure, 6, height, *_BESIDE), row, names, [one for _, one in shown])

    return draw(plot, 40 + height, paint)


def _paint_gains(panel: Axes, row: float, names: Sequence[str], found: Sequence[Group]) -> None:
    panel.axvline(0, color=MUTED, linewidth=0.8)
    for place, (name, group) in enumerate(zip(names, found, strict=True)):
        spread, values = (
            group.spreads["kd_gain"],
            [100 * one.kd_gain for one in group.results if one.kd_gain is not None],
        )
        panel.plot(values, [place] * len(values), "o", color=COLOURS["student"], markersize=4, alpha=0.5)
        low, high = spread.ci95 or (spread.mean, spread.mean)
        panel.plot([100 * low, 100 * high], [place + 0.22] * 2, color=INK, linewidth=1.4)
        panel.plot([100 * spread.mean], [place + 0.22], "|", color=INK, markersize=9)
        panel.annotate(name, (0.0, place - 10.2 / row), xycoords=("axes fraction", "data"), fontsize=SIZE, color=INK)
    panel.set_ylim(len(found) - 0.5, -0.6)
    panel.set_yticks([])
    panel.set_xlabel("student less control, points of AUROC")
