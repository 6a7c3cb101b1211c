"""Training without a teacher."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kdcompress.stage import SCHEDULES, Adam, Stage
from kdcompress.strategies import STRATEGIES
from kdcompress.strategies.updates import OwnWeights, alone, inherent
from kdcompress.types import Interface


@STRATEGIES.register("scratch")
def scratch(
    student: Interface,
    teacher: Interface | None = None,
    *,
    epochs: Annotated[int, Field(ge=1)] = 10,
    batch_size: Annotated[int, Field(ge=1)] = 64,
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 4e-4,
    schedule: Literal["cosine", "constant"] = "cosine",
    averaging: Annotated[float, Field(gt=0, lt=1)] | None = None,
    weights: OwnWeights = OwnWeights(),
) -> tuple[Stage, ...]:
    """Train a detector on its own losses, without a teacher.

    One stage: the detector on its weighted losses, its critic, where it has one, on telling real from reconstructed.
    This is how teachers are made.

    Args:
        student: the detector to train.
        teacher: not used.
        epochs: passes over the training normals.
        batch_size: samples of one step.
        learning_rate: Adam's, at the start.
        schedule: how the learning rate falls.
        averaging: decay of a moving average of the weights, which replaces them at the end; unset for none.
        weights: of the detector's own losses.
    """
    updates = alone("student", weights, Adam(learning_rate), *inherent(student, weights, "student"))
    return (Stage("scratch", epochs, batch_size, updates, SCHEDULES[schedule], averaging=averaging),)
