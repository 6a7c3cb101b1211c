"""One step with a frozen teacher."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kdcompress.stage import Stage
from kdcompress.strategies import STRATEGIES
from kdcompress.strategies.progressive import Rate, Step, progressive
from kdcompress.strategies.updates import DistilWeights, OwnWeights
from kdcompress.types import Interface


@STRATEGIES.register("frozen")
def frozen(
    student: Interface,
    teacher: Interface | None,
    *,
    gan: bool = False,
    epochs: Annotated[int, Field(ge=1)] = 20,
    learning_rate: Rate = 2e-3,
    schedule: Literal["cosine", "constant"] = "cosine",
    batch_size: Annotated[int, Field(ge=1)] = 64,
    averaging: Annotated[float, Field(gt=0, lt=1)] | None = None,
    weights: OwnWeights = OwnWeights(),
    distil_weights: DistilWeights = DistilWeights(),
) -> tuple[Stage, ...]:
    """Learn from a frozen teacher, with or without the student's own GAN loss.

    Two of the four single-step structures of P-KDGAN (Zhang, Chen, Sun, IJCAI 2020). The student minimises
    K_l = w1 |z1_t - z1_s|^2 + wx |x_t - x_s|_1 + w2 |z2_t - z2_s|^2, plus, with ``gan``, its own generator loss
    L_adv + 50 |x - x_s|_1 + |z1_s - z2_s|^2, against a critic of its own. The teacher's weights stay.

    Args:
        student: the detector to train.
        teacher: the detector to learn from; without one, the student's own losses alone.
        gan: whether the student's own losses are added.
        epochs: passes over the training normals.
        learning_rate: Adam's, at the start.
        schedule: how the learning rate falls.
        batch_size: samples of one step of the optimisers.
        averaging: decay of a moving average of the weights, which replaces them at the end; unset for none.
        weights: of the student's own losses.
        distil_weights: w1, wx and w2.
    """
    step = Step("frozen", gan=gan, epochs=epochs, learning_rate=learning_rate, schedule=schedule)
    return progressive(
        student,
        teacher,
        steps=(step,),
        batch_size=batch_size,
        averaging=averaging,
        weights=weights,
        distil_weights=distil_weights,
    )
