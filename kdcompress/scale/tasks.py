"""What a suite has to run, in which order: teachers that cells share come first and are trained once."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace

from kdcompress import pipeline
from kdcompress.errors import InputError, MissingDataError
from kdcompress.recipe import Recipe
from kdcompress.suite import Cell, Suite, on_base


@dataclass(frozen=True)
class Task:
    """One run: a cell of a suite, or a teacher that cells wait for; ``needs`` is the teacher's task or None."""

    name: str
    recipe: Recipe
    where: str
    digest: str
    needs: str | None = None
    cell: bool = True


def tasks(suite: Suite, observe: Callable[[int], None] = lambda _: None) -> list[Task]:
    """Return what to run, each teacher before the first cell that needs it, after checking every cell.

    Cells that differ in class and seed only are planned once. ``observe`` is told how many cells are checked.

    Raises:
        InputError: with every problem of any cell, each named once.
        MissingDataError: where a data set is not there.
    """
    found: dict[str, Task] = {}
    problems: dict[str, None] = {}
    planned: set[str] = set()
    for number, cell in enumerate(suite.cells, 1):
        try:
            task, teacher = _task(cell, planned)
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
    if problems:
        raise InputError("\n".join(problems))
    return list(found.values())


def _task(cell: Cell, planned: set[str]) -> tuple[Task, Task | None]:
    kind = cell.recipe.model_copy(update={"seed": 0, "name": ""}).model_dump_json(exclude={"data": {"normal_class"}})
    digest, teacher_digest = pipeline.digests(cell.recipe, cell.where, check=kind not in planned)
    planned.add(kind)
    task = Task(cell.name, cell.recipe, cell.where, digest)
    if teacher_digest is None:
        return task, None
    name = f"teacher {teacher_digest}"
    return replace(task, needs=name), replace(task, name=name, digest=teacher_digest, cell=False)


def ready(waiting: Sequence[Task], ended: Container[str]) -> Task | None:
    """Return the first task that can start: one that needs nothing, or whose teacher's task has ended.

    One whose teacher failed can start too, to fail with its teacher's reason.
    """
    return next((task for task in waiting if task.needs is None or task.needs in ended), None)
