"""A live table of a suite's cells on stderr; nothing where that is no terminal."""

from __future__ import annotations

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from types import TracebackType

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from kdcompress.reporting import numbers
from kdcompress.reporting.suite import headline
from kdcompress.reporting.summary import groups, named
from kdcompress.scale.benchmark import Work
from kdcompress.scale.local import At, Begun, Ended, Happening, Moved
from kdcompress.scale.tasks import Task

_PER_SECOND = 2


class Cells:
    """Shows what is done, what runs where it is, what is left, and the time that it will take."""

    def __init__(self, count: int, *, silent: bool = False) -> None:
        self._console = Console(stderr=True)
        self._silent = silent
        self._count = count
        self._live = Live(console=self._console, refresh_per_second=_PER_SECOND, transient=True)
        self._running: dict[str, tuple[Task, float, At | None]] = {}
        self._left: Counter[str] = Counter()
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._done = self._failed = 0
        self._jobs = 1

    def __enter__(self) -> Cells:
        if self._console.is_terminal and not self._silent:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live.is_started:
            self._live.update("", refresh=True)
            self._live.stop()

    def checked(self, number: int) -> None:
        """Show how many cells are checked."""
        self._show(f"checking cells: {number} of {self._count}")

    def begin(self, left: Mapping[str, int], done: int, jobs: int) -> None:
        """Show what is left, by the kind of task, and what is done."""
        self._left, self._done, self._jobs = Counter(left), done, jobs
        self._show(self._table())

    def observe(self, happening: Happening) -> None:
        """Show what happens."""
        task = happening.task
        if isinstance(happening, Begun):
            self._running[task.name] = (task, time.monotonic(), None)
        elif isinstance(happening, Moved):
            self._running[task.name] = (task, self._running[task.name][1], happening.at)
        else:
            self._end(happening)
        self._show(self._table())

    def _end(self, ended: Ended) -> None:
        kind = ended.task.kind
        self._running.pop(ended.task.name, None)
        self._left[kind] -= 1
        if ended.why is None:
            self._done += kind == "cell"
            self._seconds[kind].append(ended.seconds)
            return
        self._failed += kind == "cell"
        what = "not together, so one by one" if kind == "together" else "failed"
        if not self._silent:
            self._console.print(f"{what}: {ended.task.name}: {ended.why}", soft_wrap=True, highlight=False)

    def _show(self, what: Table | str) -> None:
        if self._live.is_started:
            self._live.update(what)

    def _table(self) -> Table:
        failed = f", {self._failed} failed" if self._failed else ""
        waiting = self._left["cell"] - sum(task.kind == "cell" for task, _, _ in self._running.values())
        title = f"{self._done} done, {len(self._running)} running, {waiting} waiting{failed}{self._time_left()}"
        table = Table(box=None, title=title, title_justify="left", show_header=False, pad_edge=False)
        for task, since, at in self._running.values():
            share = f"{at.epochs_done:.1f} of {at.epochs}" if at is not None and at.epochs else ""
            where = (at.arm, at.what) if at is not None else ("", "starting")
            table.add_row(task.name, *where, share, numbers.seconds(time.monotonic() - since))
        return table

    def _time_left(self) -> str:
        """Return how long the rest takes, by what was done so far; nothing before there is anything to go by."""
        if not self._seconds["cell"]:
            return ""
        whole = sum(self._left[kind] * statistics.fmean(taken) for kind, taken in self._seconds.items() if taken)
        spent = sum(time.monotonic() - since for _, since, _ in self._running.values())
        return f", about {numbers.seconds(max(0.0, whole - spent) / self._jobs)} left"


def show(work: Work) -> None:
    """Print the means of each data set, and where the report is."""
    console = Console(highlight=False)
    results = work.suitedir.results(work.manifest)
    console.print(f"\n[bold]{headline(work.manifest, results)}[/bold]", soft_wrap=True)
    # Eighty columns hold this much: deviations, costs and classes stand in the report.
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title="mean AUROC, %", title_justify="left"
    )
    # A name that is cut is another row's too.
    table.add_column(overflow="fold")
    for name in ("n", "MACs ÷", "teacher", "control", "student", "gain", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = groups(work.manifest, results)
    for name, group in zip(named(shown), shown, strict=True):
        found = group.spreads
        gain = found.get("kd_gain")
        levels = [found[name].mean if name in found else None for name in ("teacher", "control", "student")]
        table.add_row(
            name,
            f"{len(group.results)}/{group.cells}",
            numbers.ratio(group.median(lambda one: one.compression.macs if one.compression else None)).split(" : ")[0],
            *(numbers.percent(level).removesuffix(" %") for level in levels),
            numbers.signed(gain.mean if gain else None),
            numbers.signed_interval(gain.ci95 if gain else None),
        )
    console.print(table)
    console.print(f"report       {work.suitedir.path / 'report.html'}", soft_wrap=True)
