"""What a suite has to run, in which order.

Teachers that cells share come first and are trained once; then, where the suite says so, the students of several cells
are trained as one before each cell goes on by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kdcompress import start
from kdcompress.errors import InputError, MissingDataError
from kdcompress.recipe import Recipe
from kdcompress.suite import Cell, Suite, on_base


@dataclass(frozen=True)
class Task:
    """One process's work: a cell of a suite, a teacher that cells wait for, or the beginning of several cells as one.

    ``needs`` are the tasks that come before it; where a teacher failed, those that need it fail too. ``recipe`` and
    ``digest`` are those of its run; a beginning has its cells' names and recipes in ``cells``.
    """

    name: str
    recipe: Recipe
    where: str
    digest: str
    needs: tuple[str, ...] = ()
    kind: Literal["cell", "teacher", "together"] = "cell"
    cells: tuple[tuple[str, Recipe], ...] = ()


def tasks(suite: Suite, observe: Callable[[int], None] = lambda _: None) -> list[Task]:
    """Return what to run, each teacher before the first cell that needs it, after checking every cell.

    Cells that differ in class and seed only are planned once. ``observe`` is told how many cells are checked.

    Raises:
        InputError: with every problem of any cell, each named once.
        MissingDataError: where a data set is not there.
    """
    found: dict[str, Task] = {}
    alike: dict[tuple[str, int], list[Task]] = {}
    problems: dict[str, None] = {}
    for number, cell in enumerate(suite.cells, 1):
        try:
            shape, task, teacher = _task(cell, {kind for kind, _ in alike})
        except MissingDataError:
            raise
        except InputError as error:
            told = on_base(error, cell.where, suite.where) if cell.where != suite.where else error
            problems |= dict.fromkeys(str(told).splitlines())
            continue
        finally:
            observe(number)
        if teacher is not None:
            found.setdefault(teacher.name, teacher)
        found[task.name] = task
        alike.setdefault(shape, []).append(task)
    if problems:
        raise InputError("\n".join(problems))
    for task in _together(alike.values(), suite.heading.together or 1):
        found[task.name] = task
        found |= {name: replace(found[name], needs=(*found[name].needs, task.name)) for name, _ in task.cells}
    return list(found.values())


def _together(alike: Iterable[list[Task]], most: int) -> Iterator[Task]:
    """Return the tasks that begin cells which differ in class and seed only, with equally many samples."""
    for cells in alike:
        for several in (cells[first : first + most] for first in range(0, len(cells), most)):
            if len(several) > 1:
                needs = tuple(dict.fromkeys(name for cell in several for name in cell.needs))
                members = tuple((cell.name, cell.recipe) for cell in several)
                name = f"{several[0].name} and {len(several) - 1} more, together"
                yield replace(several[0], name=name, needs=needs, kind="together", cells=members)


def _task(cell: Cell, planned: Container[str]) -> tuple[tuple[str, int], Task, Task | None]:
    """Return what cells that can train as one have in common, the cell's task, and that of its teacher."""
    kind = cell.recipe.model_copy(update={"seed": 0, "name": ""}).model_dump_json(exclude={"data": {"normal_class"}})
    found = start.identity(cell.recipe, cell.where, check=kind not in planned)
    task = Task(cell.name, cell.recipe, cell.where, found.digest)
    shape = (kind, found.samples)
    if found.teacher is None:
        return shape, task, None
    name = f"teacher {found.teacher}"
    return shape, replace(task, needs=(name,)), replace(task, name=name, digest=found.teacher, kind="teacher")


def ready(waiting: Sequence[Task], ended: Container[str]) -> Task | None:
    """Return the first task that can start: one that needs nothing, or nothing that has not ended.

    One whose teacher failed can start too, to fail with its teacher's reason.
    """
    return next((task for task in waiting if all(name in ended for name in task.needs)), None)
