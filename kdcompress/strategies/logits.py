"""Learning to tell classes or transformations, from labels that are free and from a teacher's softened answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kdcompress.errors import InputError
from kdcompress.losses import LOSSES
from kdcompress.losses.classification import softened
from kdcompress.stage import SCHEDULES, Adam, Stage, Term, Update
from kdcompress.strategies import STRATEGIES
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
    distil_weight: Annotated[float, Field(gt=0)] = 1.0,
) -> tuple[Stage, ...]:
    """Learn which transformation was applied, and from a frozen teacher's logits.

    Hinton, Vinyals, Dean (2015): cross-entropy with the right answers, plus T^2 KL(teacher / T || student / T). Without
    a teacher, the cross-entropy alone: this is how such teachers and controls are made. The teacher answers once, for
    each image as it is, also where the student sees it jittered or mirrored. A score that has more to fit than weights
    is fitted to the training normals in the end (`Detector.calibrate`).

    Args:
        student: the detector to train.
        teacher: the detector to learn from; without one, the student learns from the right answers alone.
        epochs: passes over the training normals.
        learning_rate: Adam's, at the start.
        schedule: how the learning rate falls.
        batch_size: samples of one step; each is as many passes as the detector has transformations.
        averaging: decay of a moving average of the weights, which replaces them at the end; unset for none.
        temperature: T, by which both sides' logits are divided.
        weight: of the cross-entropy.
        distil_weight: of the divergence.

    Raises:
        InputError: where the two sides tell other transformations apart.
    """
    ours, theirs = (side.outputs.get("logits") if side is not None else None for side in (student, teacher))
    if ours is not None and theirs is not None and ours != theirs:
        raise InputError(f"student.logits has shape {ours} and teacher.logits {theirs}: give both the same transforms")
    own = (Term("transformation", LOSSES["transformation"], weight),) if weight > 0 or teacher is None else ()
    copied = (Term("distil_logits", softened(temperature), distil_weight),) if teacher is not None else ()
    update = Update(("student.detector",), (*own, *copied), Adam(learning_rate, _BETAS))
    name = "alone" if teacher is None else "logits"
    return (
        Stage(
            name,
            epochs,
            batch_size,
            (update,),
            SCHEDULES[schedule],
            averaging=averaging,
            calibrated=("student",),
        ),
    )
