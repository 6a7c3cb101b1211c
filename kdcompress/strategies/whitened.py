"""Distillation in the metric of a calibrated score."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from kdcompress.stage import Stage
from kdcompress.strategies import STRATEGIES
from kdcompress.strategies.frozen import frozen
from kdcompress.strategies.progressive import Rate
from kdcompress.strategies.updates import DistilWeights, OwnWeights
from kdcompress.types import Interface


@STRATEGIES.register("whitened")
def whitened(
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
    """Learn from a frozen teacher whose score is calibrated first; the student's is calibrated in the end.

    As `frozen`, but the teacher's latents are whitened by the training normals before the student copies them
    (`Detector.calibrate`), so that K_l weighs each direction as the Mahalanobis distance of the two latents does; the
    student, and a control alike, is whitened by its own normals when it is trained. Neither costs a multiplication in
    use. A detector without anything to calibrate is trained as by `frozen`.

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
        distil_weights: of K_l.
    """
    stages = frozen(
        student,
        teacher,
        gan=gan,
        epochs=epochs,
        learning_rate=learning_rate,
        schedule=schedule,
        batch_size=batch_size,
        averaging=averaging,
        weights=weights,
        distil_weights=distil_weights,
    )
    return tuple(replace(stage, calibrated=("teacher", "student")) for stage in stages)
