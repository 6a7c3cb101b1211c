"""Live progress on stderr; nothing where that is no terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from kdcompress.engine.events import Diverged, EpochDone, Event, LeftOut, Noted, Phase, Spilled, StageDone, Started
from kdcompress.engine.events import Progress as At
from kdcompress.reporting import numbers


class Display:
    """Shows the stage, the epoch, losses, images/s and time left."""

    def __init__(self, *, silent: bool = False) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.fields[arm]:>7} {task.description}", table_column=Column(no_wrap=True, min_width=27)),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[said]}", table_column=Column(no_wrap=True, min_width=18)),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[losses]}[/dim]", table_column=Column(no_wrap=True)),
            console=console,
            disable=silent or not console.is_terminal,
        )
        self._silent = silent
        self._task: TaskID | None = None
        self._losses = ""

    def __enter__(self) -> Display:
        if not self._progress.disable:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        # rich writes an empty line on stopping even where it is disabled.
        if not self._progress.disable:
            self._progress.stop()

    def observe(self, arm: str, event: Event) -> None:
        """Show what happens."""
        if isinstance(event, LeftOut):
            self._note(f"{arm}: left out: {'; '.join(event.terms)}")
        elif isinstance(event, Noted):
            # A teacher's own run says the same of the same data.
            for text in event.notes if arm != "teacher" else ():
                self._note(text)
        elif isinstance(event, Spilled):
            sizes = numbers.size(event.bytes), numbers.size(event.left)
            self._note(f"{arm}: {event.what} take {sizes[0]}, more than the {sizes[1]} of memory left: kept in a file")
        elif isinstance(event, Diverged):
            self._note(f"{arm}: {event.why}; back to epoch {event.epoch} with half the learning rate ({event.retry})")
        elif isinstance(event, Phase):
            self._begin(arm, event.what, None, 0)
        elif isinstance(event, Started):
            self._begin(arm, event.stage.name, event.stage.epochs, event.epoch)
        elif isinstance(event, At):
            self._at(event.epoch + event.batch / event.batches, event.stage.epochs, event.images_per_second)
        elif isinstance(event, EpochDone):
            losses = event.row["losses"].items()
            text = "  ".join(f"{name.removeprefix('student.')} {value:.3g}" for name, value in losses)
            # Eighty columns hold everything else; losses take what a wider terminal has beyond that.
            self._losses = text[: max(0, self._progress.console.width - 84)]
            self._at(event.row["epoch"] + 1, event.stage.epochs, event.row["images_per_second"])
        elif isinstance(event, StageDone):
            self._end()

    def _note(self, text: str) -> None:
        """Say what a user should know also where there is no terminal."""
        if not self._silent:
            self._progress.console.print(f"note: {text}", soft_wrap=True, highlight=False)

    def _begin(self, arm: str, what: str, epochs: int | None, done: int) -> None:
        self._end()
        self._losses = ""
        self._task = self._progress.add_task(what, arm=arm, said="", losses="", total=epochs, completed=done)

    def _at(self, epochs: float, total: int, rate: float) -> None:
        if self._task is not None:
            said = f"{min(int(epochs) + 1, total)}/{total}  {rate:,.0f} img/s"
            self._progress.update(self._task, completed=epochs, said=said, losses=self._losses)

    def _end(self) -> None:
        if self._task is not None:
            task = self._progress.tasks[self._progress.task_ids.index(self._task)]
            self._progress.update(self._task, total=task.total or 1, completed=task.total or 1)
            self._task = None
