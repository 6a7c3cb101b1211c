"""Training one arm of a comparison into its run directory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kdcompress import bundle
from kdcompress.bundle import Bundle, Manifest
from kdcompress.engine import plan as plans
from kdcompress.engine.batched import fit_batched
from kdcompress.engine.checkpoint import Snapshot
from kdcompress.engine.events import Event, StageDone
from kdcompress.engine.fit import fit
from kdcompress.engine.plan import Plan
from kdcompress.engine.store import Memory
from kdcompress.environment import known_plans, remember_plans
from kdcompress.errors import InputError
from kdcompress.memory import available_bytes
from kdcompress.pinned import unplaced
from kdcompress.recipe import Recipe
from kdcompress.rundir import RunDir
from kdcompress.seeding import derive
from kdcompress.signals import deferred
from kdcompress.stage import SideName, Stage
from kdcompress.types import Detector, Pair

_CHUNK = 1024

Observe = Callable[[str, Event], None]
"""Is told the arm and what happens in its training."""


@dataclass(frozen=True)
class Course:
    """What all arms of a run share."""

    recipe: Recipe
    rundir: RunDir
    device: torch.device
    raw: Tensor
    observe: Observe


@dataclass(frozen=True)
class Member:
    """One of several runs whose detectors are trained as one; ``teacher`` is None for a control.

    ``elder`` is whom first weights may be inherited from: the teacher, of a control too.
    """

    rundir: RunDir
    seed: int
    manifest: Manifest
    teacher: Pair | None
    elder: Detector | None = None


def train(
    course: Course,
    arm: str,
    stages: tuple[Stage, ...],
    manifest: Manifest,
    teacher: Bundle | None = None,
    elder: Detector | None = None,
) -> None:
    """Train a detector and write its bundle, and one for the end of each stage; what is done already is not done again.

    The student and its control start from the same weights and see the same batches. A teacher that a stage moves is
    written as ``teacher_after``; the given pair is moved too. ``elder`` is whom first weights may be inherited from:
    the teacher as it came, of a control too, which nobody teaches.

    Raises:
        KeyboardInterrupt: where SIGINT or SIGTERM came; the step under way was finished and saved.
    """
    rundir = course.rundir
    if _complete(rundir, arm, stages, manifest, teacher is not None):
        return
    pair = untrained(manifest, course.recipe.seed, course.raw, elder)
    other = teacher.pair if teacher is not None else None
    slot = rundir.checkpoint(arm)
    events = fit(
        stages,
        pair,
        other,
        course.raw,
        device=course.device,
        plan_for=lambda stage: _plan(course, stages.index(stage), stage, pair, other),
        seed=derive(course.recipe.seed, "training"),
        slot=slot,
        memory=_memory(course, arm),
    )
    _follow(events, course, arm, lambda stage: _save_stage(rundir, arm, stage, manifest, pair))
    if teacher is not None and moves_teacher(stages):
        moved = replace(teacher.manifest, arm="teacher_after", critic=False, threshold=None)
        bundle.save(rundir.bundle("teacher_after"), moved, teacher.pair)
    bundle.save(rundir.bundle(arm), replace(manifest, arm=arm), pair)
    slot.clear()


def begin(course: Course, arm: str, stages: tuple[Stage, ...], members: Sequence[Member]) -> None:
    """Train the detectors of several runs as one through stages that leave their teachers as they are.

    Each run gets what it would have got by itself, up to rounding: bundles, history rows and a checkpoint, from which
    `train` goes on. Nothing where any of them has begun by itself.

    Args:
        course: of the training as one: a run directory of its own, and the members' raw data [N, K, ...].
        arm: whose training it is.
        stages: the first ones of the arm's.
        members: the runs.

    Raises:
        InputError: where they cannot be trained as one.
        KdcompressError: where one of them diverges.
        KeyboardInterrupt: as in `train`.
    """
    if any(one.rundir.bundle(arm).exists() or one.rundir.checkpoint(arm).path.exists() for one in members):
        return
    pairs = [
        untrained(one.manifest, one.seed, raw, one.elder)
        for one, raw in zip(members, course.raw.unbind(1), strict=True)
    ]
    teachers = [one.teacher for one in members if one.teacher is not None]
    slot = course.rundir.checkpoint(arm)
    events = fit_batched(
        stages,
        pairs,
        teachers or None,
        course.raw.unbind(1),
        device=course.device,
        plan_for=lambda stage, joint: _plan(course, [one.name for one in stages].index(stage.name), stage, joint, None),
        seed=[derive(one.seed, "training") for one in members],
        slot=slot,
        memory=_memory(course, arm),
    )

    def save(stage: StageDone) -> None:
        for one, pair in zip(members, pairs, strict=True):
            _save_stage(one.rundir, arm, stage, one.manifest, pair)

    _follow(events, course, arm, save)
    rows = [row for row in course.rundir.history() if row["arm"] == arm]
    computed = course.rundir.environment()["plans"]
    for index, (one, pair) in enumerate(zip(members, pairs, strict=True)):
        one.rundir.add_history(*(_share(row, index, len(members)) for row in rows))
        one.rundir.write_environment({**one.rundir.environment(), "plans": computed})
        own: dict[SideName, Pair] = (
            {"student": pair} if one.teacher is None else {"student": pair, "teacher": one.teacher}
        )
        one.rundir.checkpoint(arm).write(Snapshot.before(len(stages), own).to_bytes(), None)
    slot.clear()


def _share(row: dict[str, Any], index: int, count: int) -> dict[str, Any]:
    """Return one student's part of a history row of several: its losses, and its share of the time."""
    own = {key: value for key, value in row.items() if key != "losses_of_each"}
    return {
        **own,
        "losses": row["losses_of_each"][index],
        "images_per_second": row["images_per_second"] * count,
        "seconds": row["seconds"] / count,
        "together": count,
    }


def untrained(manifest: Manifest, seed: int, raw: Tensor, elder: Detector | None) -> Pair:
    """Return a run's student, or its control, with its first weights, adapted to its training normals."""
    pair = bundle.build(manifest.architecture, manifest.options, manifest.input_shape, derive(seed, "student"))
    pair.detector.eval()
    with torch.no_grad():
        pair.detector.adapt(raw.split(_CHUNK))
        pair.detector.inherit(elder)
    return pair


def _follow(
    events: Generator[Event, None, None], course: Course, arm: str, stage_done: Callable[[StageDone], None]
) -> None:
    """Train to the end, or to a stop that somebody asks for."""
    with deferred() as stop:
        for event in events:
            course.observe(arm, event)
            if isinstance(event, StageDone):
                stage_done(event)
            if stop.asked:
                events.close()


def _save_stage(rundir: RunDir, arm: str, done: StageDone, manifest: Manifest, pair: Pair) -> None:
    name = f"{arm}-stage-{done.index + 1}"
    bundle.save(rundir.bundle(name), replace(manifest, arm=name, critic=False), pair)


def _memory(course: Course, arm: str) -> Memory:
    """Return what may be taken for inputs and cached outputs: as the recipe says, or half of what is available."""
    given = course.recipe.engine.memory_bytes
    if given is None:
        on_device = course.device.type == "cuda"
        given = (torch.cuda.mem_get_info(course.device)[0] if on_device else available_bytes()) // 2
    return Memory(given, course.rundir.temporary(), lambda event: course.observe(arm, event))


def moves_teacher(stages: tuple[Stage, ...]) -> bool:
    """Say whether any stage changes the teacher: trains it along, or calibrates it."""
    return any("teacher.detector" in stage.trained() or "teacher" in stage.calibrated for stage in stages)


def _complete(rundir: RunDir, arm: str, stages: tuple[Stage, ...], manifest: Manifest, taught: bool) -> bool:
    """Say whether all files of an arm's training are there.

    Raises:
        InputError: where one of them is of another training.
    """
    names = [arm, *(f"{arm}-stage-{index + 1}" for index in range(len(stages)))]
    names += ["teacher_after"] if taught and moves_teacher(stages) else []
    if not all(rundir.bundle(name).exists() for name in names):
        return False
    for name in names:
        found = bundle.read_manifest(rundir.bundle(name))
        own = (name, manifest.architecture, unplaced(manifest.options), manifest.digest)
        if name != "teacher_after" and (found.arm, found.architecture, found.options, found.digest) != own:
            raise InputError(
                f"{rundir.bundle(name)}: not the detector that this run trained; delete it, and the same command "
                "trains it again"
            )
    return True


def seconds(rundir: RunDir, arm: str) -> dict[str, float]:
    """Return the time that each stage of an arm's training took, stops in between left out."""
    spent: dict[str, float] = {}
    for row in rundir.history():
        if row["arm"] == arm:
            spent[row["stage"]] = spent.get(row["stage"], 0.0) + float(row["seconds"])
    return spent


def _plan(course: Course, index: int, stage: Stage, pair: Pair, teacher: Pair | None) -> Plan:
    """Return how to compute a stage: as it was computed before, or as a measurement on this machine says.

    The student's plan is its control's too: a gain must not be one of precision.
    """
    if not stage.updates:
        return Plan()
    environment = course.rundir.environment()
    key = f"stage {index + 1}"
    if key in environment["plans"]:
        return plans.from_json(environment["plans"][key])
    heaviest = teacher if teacher is not None and "teacher.detector" in stage.trained() else pair
    engine = course.recipe.engine
    known: dict[str, Any] = known_plans()
    before = dict(known)
    x = heaviest.detector.prepare(course.raw[: stage.batch_size].to(course.device))
    heaviest.detector.to(course.device).train()
    chosen = plans.choose(
        heaviest,
        x,
        precision=engine.precision,
        channels_last=engine.channels_last,
        fold=engine.folded,
        compiled=engine.compile,
        known=known,
    )
    if known != before:
        remember_plans(known)
    environment["plans"][key] = plans.as_json(chosen)
    course.rundir.write_environment(environment)
    return chosen
