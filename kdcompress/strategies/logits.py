"""Learning to tell classes or transformations, from labels that are free and from a teacher's softened answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kdcompress.errors import InputError
from kdcompress.losses import LOSSES
from kdcompress.losses.classification import softened
from kdcompress.queries import Query
from kdcompress.signature import Later
from kdcompress.stage import SCHEDULES, Adam, Projection, Stage, Term, Update
from kdcompress.strategies import STRATEGIES
from kdcompress.strategies.updates import projections
from kdcompress.types import Interface

_BETAS = (0.9, 0.999)


@STRATEGIES.register("logits")
def logits(
    student: Interface,
    teacher: Interface | None = None,
    *,
    epochs: Annotated[int, Field(ge=1)] = 12,
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-3,
    schedule: Literal["cosine", "constant"] = "cosine",
    batch_size: Annotated[int, Field(ge=1)] = 64,
    averaging: Annotated[float, Field(gt=0, lt=1)] | None = None,
    temperature: Annotated[float, Field(gt=0, le=100)] = 2.0,
    weight: Annotated[float, Field(ge=0)] = 1.0,
    distil_weight: Annotated[float, Field(ge=0)] = 1.0,
    hint_weight: Annotated[float, Field(ge=0), Later()] = 0.0,
    queries: Annotated[tuple[Query, ...], Later()] = (),
    query_share: Annotated[float, Field(gt=0, le=100), Later()] = 1.0,
) -> tuple[Stage, ...]:
    """Learn which transformation was applied, and from a frozen teacher's logits.

    Hinton, Vinyals, Dean (2015): cross-entropy with the right answers, plus T^2 KL(teacher / T || student / T), plus
    a hint (Romero et al., 2015): the teacher's last features, which the student's predict by a linear map. Without a
    teacher, the cross-entropy alone: this is how such teachers and controls are made. The teacher answers once, for
    each image as it is, also where the student sees it jittered or mirrored. A score that has more to fit than weights
    is fitted to the training normals in the end (`Detector.calibrate`). ``queries`` are what the teacher is asked
    beside the normals; the right answers are learned on normals alone, or the score would know queries too.

    Args:
        student: the detector to train.
        teacher: the detector to learn from; without one, the student learns from the right answers alone.
        epochs: passes over the training normals.
        learning_rate: Adam's, at the start.
        schedule: how the learning rate falls.
        batch_size: normals of one step; each is as many passes as the detector has transformations.
        averaging: decay of a moving average of the weights, which replaces them at the end; unset for none.
        temperature: T, by which both sides' logits are divided.
        weight: of the cross-entropy.
        distil_weight: of the divergence.
        hint_weight: of the distance between the two sides' features.
        queries: kinds of input beside the normals: noise, mixes, shuffles, uniform; for images also pasted and turns.
        query_share: queries for each normal.

    Raises:
        InputError: where the two sides tell other transformations apart, or nothing would be learned from the teacher.
    """
    ours, theirs = (side.outputs.get("logits") if side is not None else None for side in (student, teacher))
    if ours is not None and theirs is not None and ours[-1:] != theirs[-1:]:
        raise InputError(f"student.logits has shape {ours} and teacher.logits {theirs}: give both the same transforms")
    own = (Term("transformation", LOSSES["transformation"], weight),) if weight > 0 or teacher is None else ()
    copied: tuple[Term, ...] = ()
    maps: tuple[Projection, ...] = ()
    if teacher is not None:
        every = (
            Term("distil_logits", softened(temperature), distil_weight, inputs="both"),
            Term("distil_features", LOSSES["distil_features"], hint_weight, inputs="both"),
        )
        copied = tuple(term for term in every if term.weight > 0)
        if not copied:
            raise InputError(
                "distil_weight and hint_weight are 0, so nothing would be learned from the teacher (allowed: one or "
                "both above 0)"
            )
        maps = projections(student, teacher, ("features",), passes=True) if hint_weight > 0 else ()
    parts = ("student.detector", *(("projection",) if maps else ()))
    update = Update(parts, (*own, *copied), Adam(learning_rate, _BETAS))
    name = "alone" if teacher is None else "logits"
    return (
        Stage(
            name,
            epochs,
            batch_size,
            (update,),
            SCHEDULES[schedule],
            projections=maps,
            averaging=averaging,
            calibrated=("student",),
            queries=queries if copied else (),
            query_share=query_share,
        ),
    )
