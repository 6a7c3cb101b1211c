"""Several students of one shape trained as one: the same loop, over one pair that holds them all.

Each student gets the gradient that it gets alone: a loss is computed for each student by itself, and their sum is
differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from kdcompress.architectures.batched import batch, unbatch
from kdcompress.engine.checkpoint import Slot
from kdcompress.engine.events import Diverged, Event, StageDone
from kdcompress.engine.fit import fit
from kdcompress.engine.plan import Plan
from kdcompress.engine.store import Memory
from kdcompress.errors import InputError, KdcompressError
from kdcompress.stage import Loss, Side, Stage, Term, Update
from kdcompress.types import Outputs, Pair

_PROBE = 4
_Parts: TypeAlias = tuple[Tensor, Outputs, Outputs, Outputs]


def fit_batched(
    stages: tuple[Stage, ...],
    students: Sequence[Pair],
    teacher: Pair | Sequence[Pair] | None,
    raw: Tensor | Sequence[Tensor],
    *,
    device: torch.device,
    plan_for: Callable[[Stage, Pair], Plan],
    seed: int | Sequence[int],
    slot: Slot,
    memory: Memory | None = None,
) -> Generator[Event, None, None]:
    """Train several students at once through the stages, each as `fit` trains it alone with the same seed.

    The pairs are trained in place: they have their weights at the end of each stage. Stopping and resuming is as in
    `fit`. A history row has the means over the students in ``losses``, and each one's own in ``losses_of_each``.

    Args:
        stages: as planned for one student.
        students: pairs of one shape, each with first weights of its own.
        teacher: one that all learn from, or one for each, of one shape too.
        raw: training normals [N, ...] that all see, or for each its own, equally many; these need a teacher each.
        device: where to compute.
        plan_for: how to compute a stage, given the pair that holds all students.
        seed: of batches, which all take in one order; or one for each student, which needs data for each.
        slot: where checkpoints go.
        memory: as in `fit`.

    Raises:
        InputError: where the students, or what they learn from, cannot be trained as one.
        KdcompressError: where one diverges: going back would change the others' learning rates.
    """
    several = teacher is not None and not isinstance(teacher, Pair)
    shared_data = isinstance(raw, Tensor)
    for part in [part for pair in [*students, *_each(teacher)] for part in pair.parts().values()]:
        part.to(device)
    samples = raw if isinstance(raw, Tensor) else _side_by_side(raw, students)
    probe = (samples if shared_data else samples[:, 0])[:_PROBE].to(device)
    joint = batch(students, probe, shared_data=shared_data)
    if several and len(_each(teacher)) != len(students):
        raise InputError(f"{len(students)} students have {len(_each(teacher))} teachers: give one, or one for each")
    if not several and teacher is not None and not shared_data:
        raise InputError("students on data of their own need a teacher each")
    if not isinstance(seed, int) and (shared_data or len(seed) != len(students)):
        raise InputError(f"{len(students)} students with {len(seed)} seeds: give one, or one and raw data for each")
    joint_teacher = batch(_each(teacher), probe, shared_data=shared_data) if several else teacher
    assert joint_teacher is None or isinstance(joint_teacher, Pair)
    planned = tuple(_stage(stage, len(students), shared_data, several) for stage in stages)
    events = fit(
        planned,
        joint,
        joint_teacher,
        samples,
        device=device,
        plan_for=lambda stage: plan_for(stage, joint),
        seed=seed,
        slot=slot,
        memory=memory,
    )
    try:
        for event in events:
            if isinstance(event, Diverged):
                raise KdcompressError(
                    f"one of {len(students)} students diverged in epoch {event.epoch + 1} of stage "
                    f"'{event.stage.name}': train them one by one, so that the others keep their learning rate"
                )
            if isinstance(event, StageDone):
                _give_back(joint, students)
                if several and joint_teacher is not None:
                    _give_back(joint_teacher, _each(teacher))
            yield event
    finally:
        events.close()


def _each(teacher: Pair | Sequence[Pair] | None) -> Sequence[Pair]:
    if teacher is None:
        return ()
    return (teacher,) if isinstance(teacher, Pair) else teacher


def _side_by_side(raws: Sequence[Tensor], students: Sequence[Pair]) -> Tensor:
    """Return the students' data as one tensor [N, K, ...]."""
    shapes = {tuple(one.shape) for one in raws}
    if len(raws) != len(students) or len(shapes) > 1:
        raise InputError(
            f"{len(students)} students on data of their own need {len(students)} sets of one shape, not "
            f"{', '.join(str(tuple(one.shape)) for one in raws)}"
        )
    return torch.stack(list(raws), 1)


def _give_back(joint: Pair, pairs: Sequence[Pair]) -> None:
    unbatch(joint, pairs)
    for pair in pairs:
        for part in pair.parts().values():
            part.eval()


def _stage(stage: Stage, count: int, shared_data: bool, several: bool) -> Stage:
    """Return a stage of one student as a stage of all."""
    drawn = [term.name for term in stage.terms() if term.on == "teacher" and term.loss.shared]
    if drawn and not several:
        raise InputError(
            f"stage '{stage.name}' draws the teacher towards its student ({', '.join(drawn)}): students that train as "
            "one need a teacher each for that"
        )

    if stage.apart():
        raise InputError(
            f"stage '{stage.name}' reads or fits scores, or has queries: students that train as one have no score each"
        )

    def term(one: Term) -> Term:
        if one.on == "teacher" and not several:
            return one
        return replace(one, loss=_loss(one.loss, shared_data, several or one.on == "teacher"))

    def update(one: Update) -> Update:
        return replace(one, terms=tuple(term(each) for each in one.terms))

    return replace(
        stage,
        updates=tuple(update(one) for one in stage.updates),
        projections=tuple(replace(one, copies=count) for one in stage.projections),
    )


def _loss(loss: Loss, shared_data: bool, other_apart: bool) -> Loss:
    """Return the losses [K] of all students, which each has by itself."""
    x = None if shared_data else 1

    def axes(several: bool) -> tuple[int | None, ...]:
        return (x, 1, 1, 1) if several else (x, None, None, None)

    def one(mine: _Parts, theirs: _Parts | None) -> Tensor:
        return loss.compute(Side(*mine), None if theirs is None else Side(*theirs))

    def compute(own: Side, other: Side | None) -> Tensor:
        if other is None:
            return torch.vmap(lambda mine: one(mine, None), (axes(True),))(_parts(own))
        return torch.vmap(one, (axes(True), axes(other_apart)))(_parts(own), _parts(other))

    return replace(loss, compute=compute)


def _parts(side: Side) -> _Parts:
    return side.x, dict(side.outputs), dict(side.critic), dict(side.aligned)
