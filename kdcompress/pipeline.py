"""The whole program on one screen: a recipe becomes a finished run directory."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdcompress import bundle, outcome
from kdcompress import recipe as recipes
from kdcompress.bundle import Bundle
from kdcompress.data.one_class import OneClassData
from kdcompress.engine.events import Event, LeftOut, Noted, Phase
from kdcompress.engine.plan import device_for
from kdcompress.environment import describe, machine
from kdcompress.errors import InputError
from kdcompress.evaluation.vetting import vetted
from kdcompress.outcome import Scored
from kdcompress.planning import Planned
from kdcompress.recipe import Recipe
from kdcompress.reporting.files import write_run
from kdcompress.resolve import resolve
from kdcompress.results import Evaluation, Named, Result, Seconds, StageScore
from kdcompress.rundir import RunDir
from kdcompress.specimens import specimens
from kdcompress.stage import Stage
from kdcompress.start import Start, check_fits, load_data, resolve_written
from kdcompress.teachers import ensemble_of, teacher_recipes
from kdcompress.training import Course, Member, Observe, begin, moves_teacher, seconds, train


@dataclass(frozen=True)
class Run:
    """A finished run: where its files are, and what it found."""

    rundir: RunDir
    result: Result


def silent(arm: str, event: Event) -> None:
    """Tell nobody what happens."""


def run(
    recipe: Recipe,
    root: Path,
    *,
    where: str = "recipe",
    device: str = "auto",
    fresh: bool = False,
    wait: bool = False,
    observe: Observe = silent,
) -> Run:
    """Train, evaluate and report what a recipe says, or return the run that did so before.

    Every step's output is one file; a run that was stopped goes on at the first missing one, to the same bits.

    Args:
        recipe: what to do.
        root: the folder of all runs.
        where: the recipe's file, for messages.
        device: ``auto``, ``cpu`` or ``cuda``.
        fresh: start over beside a run that is there already.
        wait: let a process that works on the same run finish first, instead of refusing.
        observe: is told the arm and the event.

    Raises:
        InputError: for wrong input, before anything is trained; where another process works on the same run.
        KdcompressError: where training or scoring fails.
    """
    place = device_for(device)
    start = Start.of(recipe, where)
    recipe, given, data, digest = start.recipe, start.given, start.data, start.digest
    if (done := _done(RunDir.newest(root, recipe.name, digest, fresh=fresh))) is not None:
        return done
    planned = start.planned(digest)
    start.check_teachers()
    rundir = RunDir.open(root, recipe.name, digest, fresh=fresh)
    with rundir.lock(wait=wait), _settings(recipe, rundir, place):
        # Whoever held the lock may have done the work.
        if (done := _done(rundir)) is not None:
            return done
        if data.notes:
            observe("data", Noted(data.notes))
        if planned.left_out:
            observe("student", LeftOut(planned.left_out))
        if planned.notes:
            observe("student", Noted(planned.notes))
        course = Course(recipe, rundir, place, data.train, observe)
        teacher, known = (given, {}) if given is not None else _trained_teacher(course, root, device)
        if teacher is not None and (said := vetted(teacher.detector, data.train, data.validation, place)):
            observe("student", Noted(said))
        return _distil(course, data, planned, teacher, known)


def begin_together(
    written: Sequence[Recipe], root: Path, *, where: str, device: str, observe: Observe = silent
) -> None:
    """Train the students of several runs as one, and their controls, as far as no stage moves a teacher.

    Each run then goes on from there. The recipes differ in seed and class only; nothing is done where one of their runs
    has begun.

    Raises:
        InputError: where the students have no batched form, or unlike data.
        KdcompressError: where one of them diverges.
    """
    place = device_for(device)
    with ExitStack() as stack:
        taught: list[Member] = []
        raws: list[Tensor] = []
        for one in written:
            start = Start.of(one, where)
            recipe, given, data, digest = start.recipe, start.given, start.data, start.digest
            planned = start.planned(digest)
            rundir = RunDir.open(root, recipe.name, digest)
            stack.enter_context(rundir.lock(wait=True))
            stack.enter_context(_settings(recipe, rundir, place))
            course = Course(recipe, rundir, place, data.train, observe)
            teacher = given if given is not None else _trained_teacher(course, root, device)[0]
            pair, elder = (teacher.pair, teacher.detector) if teacher is not None else (None, None)
            taught.append(Member(rundir, recipe.seed, planned.manifest, pair, elder))
            raws.append(data.train)
        alone = [replace(member, teacher=None) for member in taught]
        together = "-".join(member.rundir.digest for member in taught)
        rundir = RunDir.open(root, f"{recipe.name[:90]}-together", hashlib.sha256(together.encode()).hexdigest()[:12])
        stack.enter_context(rundir.lock(wait=True))
        stack.enter_context(_settings(recipe, rundir, place))
        if len({raw.shape for raw in raws}) > 1:
            raise InputError(f"their training data differ in shape: {', '.join(str(tuple(raw.shape)) for raw in raws)}")
        course = Course(recipe, rundir, place, torch.stack(raws, 1), observe)
        apart = (n for n, stage in enumerate(planned.taught) if moves_teacher((stage,)) or stage.apart())
        count = next(apart, len(planned.taught))
        if count == 0:
            raise InputError(
                f"stage '{planned.taught[0].name}' changes the teacher, reads or fits scores or has queries: each goes "
                "by itself"
            )
        begin(course, "student", planned.taught[:count], taught)
        if recipe.control and planned.taught != planned.alone:
            begin(course, "control", planned.alone[:count], alone)


def _done(rundir: RunDir) -> Run | None:
    """Return a run that is finished, with its report."""
    result = rundir.result()
    if result is None or not rundir.bundle("student").exists():
        return None
    if not rundir.reported():
        write_run(rundir)
    return Run(rundir, result)


def run_teacher(recipe: Recipe, root: Path, *, where: str, device: str, observe: Observe = silent) -> None:
    """Train the teachers that a recipe says, so that runs which share them find them."""
    for own in teacher_recipes(resolve_written(recipe, where)[0]):
        run(own, root, device=device, wait=True, observe=lambda _, event: observe("teacher", event))


def evaluate(loaded: Bundle, section: dict[str, Any], where: str, device: torch.device) -> Evaluation:
    """Evaluate a bundle on data, at its own threshold where it has one.

    Args:
        loaded: the detector.
        section: a recipe's ``data`` section, and ``evaluation`` if it is not the default.
        where: the bundle's file, for messages.
        device: where to compute.

    Raises:
        InputError: where the data do not fit the detector.
    """
    known = {"name": loaded.manifest.architecture, **loaded.manifest.options}
    recipe = resolve(recipes.parse({"name": "evaluate", "student": known, **section}, where), where)
    data = load_data(recipe.data)
    check_fits(loaded, data, where)
    scores = outcome.scored(loaded.detector, data, device)
    return outcome.evaluated("detector", scores, data, recipe.evaluation, loaded.manifest.threshold)


@contextmanager
def _settings(recipe: Recipe, rundir: RunDir, device: torch.device) -> Iterator[None]:
    """Compute as the run began: the number of threads and the device decide bits. Leave torch as it was."""
    before = torch.get_num_threads()
    plugins = {one.file: one.sha256 for one in recipe.plugins}
    environment = rundir.environment() or describe(device, recipe.engine.threads or before, plugins)
    if environment["device"] != device.type:
        raise InputError(
            f"--device {device.type}: {rundir.path} was begun on {environment['device']} and continues there "
            f"(allowed: {environment['device']}, or --fresh to start over)"
        )
    rundir.write_environment(environment)
    rundir.write_recipe(recipe.to_yaml())
    torch.set_num_threads(environment["threads"])
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads(before)


def _trained_teacher(course: Course, root: Path, device: str) -> tuple[Bundle | None, dict[str, Scored]]:
    """Return the teacher of a recipe and its scores where they are known, trained and scored unless it was before.

    Its history becomes part of this run's, but for that of whom it learned from.
    """
    bundles = []
    several = teacher_recipes(course.recipe)
    for place, own in enumerate(several, 1):
        with _said_of(course.recipe, place):
            trained = run(
                own, root, device=device, wait=True, observe=lambda _, event: course.observe("teacher", event)
            )
        member = f"{place}: " if len(several) > 1 else ""
        rows = [row for row in trained.rundir.history() if row["arm"] == "student"]
        course.rundir.add_history(*({**row, "arm": "teacher", "stage": f"{member}{row['stage']}"} for row in rows))
        bundles.append(bundle.load(trained.rundir.bundle("student")))
    if not bundles:
        return None, {}
    if len(bundles) > 1:
        return ensemble_of(bundles, course.raw), {}
    scores = trained.rundir.scores()
    return bundles[0], {"teacher": Scored(scores["student"], scores["validation_student"])}


@contextmanager
def _said_of(recipe: Recipe, place: int) -> Iterator[None]:
    """Say of what is wrong with a teacher in its own run where it stands in the recipe."""
    try:
        yield
    except InputError as error:
        if type(error) is not InputError:
            raise
        assert recipe.teacher is not None, "somebody teaches"
        members = recipe.teacher.ensemble
        key = f"ensemble.{place - 1}.{members[place - 1].source_key}" if members else recipe.teacher.source_key
        raise InputError(f"teacher.{key}: {error}") from error


def _distil(
    course: Course, data: OneClassData, planned: Planned, teacher: Bundle | None, known: dict[str, Scored]
) -> Run:
    """Train the student and its control, and compare them with their teacher; ``known`` are scores there already."""
    recipe, rundir, device = course.recipe, course.rundir, course.device
    if teacher is not None:
        bundle.save(rundir.bundle("teacher"), replace(teacher.manifest, arm="teacher"), teacher.pair)
    own_copy = replace(teacher, pair=copy.deepcopy(teacher.pair)) if teacher is not None else None
    elder = teacher.detector if teacher is not None else None
    train(course, "student", planned.taught, planned.manifest, own_copy, elder)
    if not any(stage.updates for stage in planned.taught):
        # Nobody trained it: what is wrong with it is wrong with what was given.
        given = bundle.load(rundir.bundle("student")).detector
        vetted(given, data.train, data.validation, device, planned.manifest.architecture)
    if recipe.control and planned.taught != planned.alone:
        train(course, "control", planned.alone, planned.manifest, elder=elder)
    started = time.perf_counter()
    arms = [name for name in ("teacher", "teacher_after", "control", "student") if rundir.bundle(name).exists()]
    bundles = {name: bundle.load(rundir.bundle(name)) for name in arms}
    scores = {}
    for name, one in bundles.items():
        course.observe(name, Phase("scoring"))
        scores[name] = known.get(name) or outcome.scored(one.detector, data, device)
    detectors = {name: one.detector for name, one in bundles.items()}
    if shown := specimens(detectors, {name: one.test for name, one in scores.items()}, data, device):
        rundir.write_samples(shown)
    stages: dict[str, tuple[StageScore, ...]] = {
        arm: _stage_scores(rundir, arm, planned.taught, scores[arm], data, device)
        for arm in ("student", "control")
        if arm in arms
    }
    course.observe("all", Phase("counting and timing"))
    profiles = outcome.costs(bundles, data, device)
    taught_for = sum(seconds(rundir, "teacher").values())
    spent = {f"{arm}: {name}": value for arm in ("student", "control") for name, value in seconds(rundir, arm).items()}
    result = outcome.result(
        recipe,
        rundir.digest,
        data,
        {name: Named(one.manifest.architecture, one.manifest.options) for name, one in bundles.items()},
        scores,
        profiles,
        stages,
        planned,
        Seconds(taught_for, spent, taught_for + sum(spent.values()) + time.perf_counter() - started),
        machine(rundir.environment()),
    )
    return _finish(rundir, result, bundles, scores, data)


def _stage_scores(
    rundir: RunDir, arm: str, stages: tuple[Stage, ...], last: Scored, data: OneClassData, device: torch.device
) -> tuple[StageScore, ...]:
    """Score a detector as it was at the end of each stage; at the end of the last one it is what is scored anyway."""
    files = [rundir.bundle(f"{arm}-stage-{index + 1}") for index in range(len(stages) - 1)]
    scores = [outcome.test_scores(bundle.load(file).detector, data, device) for file in files]
    return tuple(
        outcome.stage_score(stage.name, one, data) for stage, one in zip(stages, [*scores, last.test], strict=True)
    )


def _finish(
    rundir: RunDir, result: Result, bundles: dict[str, Bundle], scores: dict[str, Scored], data: OneClassData
) -> Run:
    """Write thresholds, scores and the result; the result comes last, for it says that the run is done."""
    for name in ("teacher", "student", "control"):
        if (arm := getattr(result, name)) is not None:
            pair = bundles[name].pair
            bundle.save(rundir.bundle(name), replace(bundles[name].manifest, threshold=arm.threshold), pair)
    arrays = {name: one.test for name, one in scores.items()}
    arrays |= {f"validation_{name}": one.validation for name, one in scores.items()}
    rundir.write_scores({"labels": data.labels.numpy(), **arrays})
    rundir.write_result(result)
    write_run(rundir)
    return Run(rundir, result)
