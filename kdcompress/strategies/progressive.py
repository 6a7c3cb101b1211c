"""P-KDGAN and its relatives: steps with a frozen or a joint teacher, one after another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from kdcompress.stage import SCHEDULES, Adam, Stage, Update
from kdcompress.strategies import STRATEGIES
from kdcompress.strategies.updates import COMPARED, DistilWeights, OwnWeights, alone, inherent, projections, terms
from kdcompress.types import Interface

Rate = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Step:
    """One step of a progressive distillation.

    Attributes:
        teacher: whether its weights stay or are trained along, on its own losses.
        gan: whether the student's own losses are added to the distillation loss.
        epochs: passes over the training normals.
        learning_rate: Adam's for the student, at the start.
        teacher_learning_rate: Adam's for a joint teacher, at the start.
        teacher_distils: whether a joint teacher is also drawn towards its student.
        schedule: how the learning rates fall.
    """

    teacher: Literal["frozen", "joint"] = "frozen"
    gan: bool = False
    epochs: Annotated[int, Field(ge=1)] = 20
    learning_rate: Rate = 2e-3
    teacher_learning_rate: Rate = 2e-5
    teacher_distils: bool = False
    schedule: Literal["cosine", "constant"] = "cosine"


@STRATEGIES.register("progressive")
def progressive(
    student: Interface,
    teacher: Interface | None,
    *,
    steps: Annotated[tuple[Step, ...], Field(min_length=1)] = (
        Step("frozen", gan=True, epochs=20, learning_rate=2e-3),
        Step("joint", gan=True, epochs=3, learning_rate=1e-3),
    ),
    batch_size: Annotated[int, Field(ge=1)] = 64,
    averaging: Annotated[float, Field(gt=0, lt=1)] | None = None,
    weights: OwnWeights = OwnWeights(),
    distil_weights: DistilWeights = DistilWeights(),
) -> tuple[Stage, ...]:
    """Any sequence of steps with a frozen or a joint teacher; by default P-KDGAN's two.

    Zhang, Chen, Sun (IJCAI 2020): in step 1 the student learns from the frozen teacher, in step 2 both are trained on
    together. The distillation loss is K_l = w1 |z1_t - z1_s|^2 + wx |x_t - x_s|_1 + w2 |z2_t - z2_s|^2.

    Args:
        student: the detector to train.
        teacher: the detector to learn from; without one, the steps are trained on the student's own losses alone.
        steps: what each step trains, how and for how long.
        batch_size: samples of one step of the optimisers.
        averaging: decay of a moving average of the weights, which replaces them after each step; unset for none.
        weights: of each detector's own losses.
        distil_weights: of the distillation loss.
    """
    return tuple(
        Stage(
            name=_name(index, step, teacher),
            epochs=step.epochs,
            batch_size=batch_size,
            updates=_updates(step, student, teacher, weights, distil_weights),
            schedule=SCHEDULES[step.schedule],
            projections=projections(student, teacher, COMPARED) if teacher is not None else (),
            averaging=averaging,
        )
        for index, step in enumerate(steps)
    )


def _name(index: int, step: Step, teacher: Interface | None) -> str:
    kind = "alone" if teacher is None else f"{step.teacher}{'+gan' if step.gan else ''}"
    return f"step {index + 1}: {kind}"


def _updates(
    step: Step, student: Interface, teacher: Interface | None, own: OwnWeights, distil: DistilWeights
) -> tuple[Update, ...]:
    optimizer = Adam(step.learning_rate)
    needed = inherent(student, own, "student")
    if teacher is None:
        return alone("student", own, optimizer, *needed)
    copied = (*terms(distil, "student"), *needed)
    updates = (
        alone("student", own, optimizer, *copied) if step.gan else (Update(("student.detector",), copied, optimizer),)
    )
    if projections(student, teacher, COMPARED):
        updates = (replace(updates[0], parts=(*updates[0].parts, "projection")), *updates[1:])
    if step.teacher == "frozen":
        return updates
    drawn = (*inherent(teacher, own, "teacher"), *(terms(distil, "teacher") if step.teacher_distils else ()))
    return (*updates, *alone("teacher", own, Adam(step.teacher_learning_rate), *drawn))
