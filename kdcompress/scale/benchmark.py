"""A suite from start to summary: every cell is one file, and what is there is not computed again."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kdcompress import pipeline, plugins
from kdcompress.contents import read_json
from kdcompress.errors import InputError, near
from kdcompress.reporting.files import write_suite
from kdcompress.results import Result
from kdcompress.rundir import write_atomic
from kdcompress.scale.local import HERE, Ended, Engine, Happening, Tell
from kdcompress.scale.tasks import Task, tasks
from kdcompress.suite import Suite
from kdcompress.suitedir import Manifest, SuiteDir

MOST_JOBS = 1024


@dataclass(frozen=True)
class Work:
    """What is to be done for a suite: its folder, its manifest, what is left, and where how many processes do it."""

    suitedir: SuiteDir
    manifest: Manifest
    left: tuple[Task, ...]
    device: str
    jobs: int
    threads: int
    engine: Engine


def prepare(
    suite: Suite,
    root: Path,
    *,
    device: str,
    jobs: int | None,
    only: str | None,
    observe: Callable[[int], None],
    fresh: bool = False,
    engine: Engine = HERE,
) -> Work:
    """Check every cell, and find out what is left to do; nothing is computed.

    Args:
        suite: what to run.
        root: the folder of all suites.
        device: ``auto``, ``cpu`` or ``cuda``.
        jobs: processes at a time; None for as many as the cells' threads leave room for.
        only: run the cells whose names match this pattern (``*`` for any text).
        observe: is told how many cells are checked.
        fresh: start over beside what is there already.
        engine: where it is done; nobody connects to a cluster where nothing is left.

    Raises:
        InputError: with every problem of any cell; where results of other settings are in the folder.
    """
    engine.check(device)
    found = tasks(suite, observe)
    manifest = Manifest.of(suite, {task.name: task.digest for task in found if task.kind == "cell"})
    suitedir = SuiteDir.newest(root, suite.name, fresh=fresh)
    _check_folder(suitedir, manifest)
    names = [entry.name for entry in manifest.cells]
    chosen = fnmatch.filter(names, only) if only is not None else names
    if not chosen:
        raise InputError(f"--only {only}: no cell has such a name{near(only or '', names)} (the first is {names[0]})")
    done = suitedir.results(manifest)
    todo = {name for name in chosen if name not in done}
    # Cells of which some are done, or not chosen, begin by themselves.
    begin = [task for task in found if task.kind == "together" and todo.issuperset(name for name, _ in task.cells)]
    needed = {name for task in found if task.name in todo for name in task.needs}
    needed -= {task.name for task in found if task.kind == "together" and task not in begin}
    left = [
        replace(task, needs=tuple(name for name in task.needs if name in needed))
        for task in found
        if task.name in todo | needed
    ]
    threads = [cell.recipe.engine.threads for cell in suite.cells]
    known = [one for one in threads if one is not None]
    machines = engine.machines(device) if left else (1,)
    if jobs is None:
        fitting = sum(cpus // max(known) for cpus in machines) if len(known) == len(threads) else len(machines)
        jobs = max(1, fitting)
    return Work(suitedir, manifest, tuple(left), device, jobs, _threads(machines, jobs), engine)


def _threads(machines: Sequence[int], jobs: int) -> int:
    """Return the most threads that each of so many processes can have where no CPU is used twice."""
    fits = (each for each in range(max(machines), 1, -1) if sum(cpus // each for cpus in machines) >= jobs)
    return next(fits, 1)


def _check_folder(suitedir: SuiteDir, manifest: Manifest) -> None:
    """Refuse a folder with results that this suite would orphan.

    Raises:
        InputError: where there are some.
    """
    if not SuiteDir.holds(suitedir.path):
        return
    before = suitedir.manifest()
    now = {entry.name: entry.digest for entry in manifest.cells}
    for entry in before.cells:
        if suitedir.result(entry) is not None and now.get(entry.name) != entry.digest:
            raise InputError(
                f"{suitedir.path}: holds {entry.name} of other settings ({entry.digest}, now "
                f"{now.get(entry.name, 'not in the suite')}): --fresh starts over beside it"
            )


def run(work: Work, *, plugin_files: Sequence[Path]) -> Generator[Happening, None, None]:
    """Run what is left; after each cell the summary is written, at the end the report.

    Cells that fail are told and left out; the same suite run again tries them again.
    """
    suitedir = work.suitedir
    failed: dict[str, str] = {}
    with suitedir.lock():
        suitedir.write_manifest(work.manifest)
        work_on = partial(job, suitedir=suitedir, device=work.device, plugin_files=tuple(plugin_files))
        doing = work.engine.run(work.left, work_on, work.jobs, work.threads, device=work.device, folder=suitedir.runs)
        try:
            with closing(doing) as happenings:
                for happening in happenings:
                    if isinstance(happening, Ended) and happening.task.kind == "cell":
                        if happening.why is not None:
                            failed[happening.task.name] = happening.why
                        suitedir.write_failed(failed)
                        write_suite(suitedir, ("json",))
                    yield happening
        finally:
            write_suite(suitedir, ("html", "md", "csv", "json"))


def _found(done: pipeline.Run) -> Result:
    return done.result


def job(
    task: Task,
    tell: Tell,
    *,
    suitedir: SuiteDir,
    device: str,
    plugin_files: Sequence[Path],
    finish: Callable[[pipeline.Run], Result] = _found,
) -> None:
    """Run a task; a cell's result goes into the suite's folder, as ``finish`` returns it."""
    plugins.load_installed()
    for file in plugin_files:
        plugins.load(file)
    if task.kind == "together":
        written = [recipe for _, recipe in task.cells]
        pipeline.begin_together(written, suitedir.runs, where=task.where, device=device, observe=tell)
        return
    if task.kind == "teacher":
        pipeline.run_teacher(task.recipe, suitedir.runs, where=task.where, device=device, observe=tell)
        return
    done = pipeline.run(task.recipe, suitedir.runs, where=task.where, device=device, wait=True, observe=tell)
    suitedir.write_cell(task.name, finish(done), done.rundir.history())


def check_lock(path: Path, manifest: Manifest) -> None:
    """Hold a suite to the settings that were locked before its first cell; a suite without a lock is free.

    Raises:
        InputError: where a cell's settings are others.
    """
    if not path.exists():
        return
    _hold(path, _locked(path), {entry.name: entry.digest for entry in manifest.cells})


def _locked(path: Path) -> dict[str, str]:
    cells = read_json(path).get("cells")
    if not isinstance(cells, dict):
        raise InputError(f"{path}: not a lock of a suite: there are no cells in it")
    return {name: str(digest) for name, digest in cells.items()}


def _hold(path: Path, locked: Mapping[str, str], now: Mapping[str, str]) -> None:
    for name, digest in now.items():
        if name not in locked:
            raise InputError(f"{path}: {name} is not locked: --lock adds new cells to the lock, before they are run")
        if locked[name] != digest:
            raise InputError(
                f"{path}: {name} is locked as {locked[name]}, its settings now give {digest}: undo the change, try it "
                "in a copy of the suite, or begin a new attempt: move lock and results away, then --lock"
            )


def write_lock(path: Path, manifest: Manifest) -> None:
    """Write the digests of all cells, so that settings cannot change unseen once there are results.

    A suite that has grown adds its new cells to its lock.

    Raises:
        InputError: where a cell that is locked already has other settings now.
    """
    locked = _locked(path) if path.exists() else {}
    now = {entry.name: entry.digest for entry in manifest.cells}
    _hold(path, locked, {name: digest for name, digest in now.items() if name in locked})
    plain = {"suite": manifest.name, "cells": {**locked, **now}}
    write_atomic(path, (json.dumps(plain, indent=1) + "\n").encode())
