"""One step in which teacher and student are trained together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kdcompress.stage import Stage
from kdcompress.strategies import STRATEGIES
from kdcompress.strategies.progressive import Rate, Step, progressive
from kdcompress.strategies.updates import DistilWeights, OwnWeights
from kdcompress.types import Interface


@STRATEGIES.register("joint")
def joint(
    student: Interface,
    teacher: Interface | None,
    *,
    gan: bool = True,
    epochs: Annotated[int, Field(ge=1)] = 20,
    learning_rate: Rate = 1e-3,
    teacher_learning_rate: Rate = 2e-5,
    teacher_distils: bool = False,
    schedule: Literal["cosine", "constant"] = "cosine",
    batch_size: Annotated[int, Field(ge=1)] = 64,
    averaging: Annotated[float, Field(gt=0, lt=1)] | None = None,
    weights: OwnWeights = OwnWeights(),
    distil_weights: DistilWeights = DistilWeights(),
) -> tuple[Stage, ...]:
    """Train teacher and student together, with or without the student's own GAN loss.

    The other two single-step structures of P-KDGAN (Zhang, Chen, Sun, IJCAI 2020). The student minimises
    K_l = w1 |z1_t - z1_s|^2 + wx |x_t - x_s|_1 + w2 |z2_t - z2_s|^2, plus, with ``gan``, its own generator loss; the
    teacher goes on minimising its own, L_adv + 50 |x - x_t|_1 + |z1_t - z2_t|^2, and with ``teacher_distils`` K_l too.

    Args:
        student: the detector to train.
        teacher: the detector to learn from; without one, the student's own losses alone.
        gan: whether the student's own losses are added.
        epochs: passes over the training normals.
        learning_rate: Adam's for the student, at the start.
        teacher_learning_rate: Adam's for the teacher, at the start.
        teacher_distils: whether the teacher is also drawn towards its student.
        schedule: how the learning rates fall.
        batch_size: samples of one step of the optimisers.
        averaging: decay of a moving average of the weights, which replaces them at the end; unset for none.
        weights: of each detector's own losses.
        distil_weights: w1, wx and w2.
    """
    step = Step(
        "joint",
        gan=gan,
        epochs=epochs,
        learning_rate=learning_rate,
        teacher_learning_rate=teacher_learning_rate,
        teacher_distils=teacher_distils,
        schedule=schedule,
    )
    return progressive(
        student,
        teacher,
        steps=(step,),
        batch_size=batch_size,
        averaging=averaging,
        weights=weights,
        distil_weights=distil_weights,
    )
