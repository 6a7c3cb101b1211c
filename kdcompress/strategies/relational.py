"""Learning how samples lie to each other."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kdcompress.errors import InputError
from kdcompress.losses.relations import angles, distances
from kdcompress.queries import Query
from kdcompress.stage import Stage, Term
from kdcompress.strategies import STRATEGIES
from kdcompress.strategies.progressive import Rate
from kdcompress.strategies.single import (
    QUERIES,
    Averaging,
    BatchSize,
    Course,
    Epochs,
    Inner,
    ScheduleName,
    Share,
    single,
)
from kdcompress.strategies.updates import Weight
from kdcompress.types import Interface


@STRATEGIES.register("relational")
def relational(
    student: Interface,
    teacher: Interface | None = None,
    *,
    epochs: Epochs = 50,
    learning_rate: Rate = 2e-3,
    schedule: ScheduleName = "cosine",
    batch_size: BatchSize = 64,
    averaging: Averaging = None,
    outputs: Annotated[tuple[Inner, ...], Field(min_length=1)] = ("features", "latent"),
    distance_weight: Weight = 1.0,
    angle_weight: Weight = 2.0,
    own_weight: Weight = 0.1,
    queries: tuple[Query, ...] = QUERIES,
    query_share: Share = 1.0,
) -> tuple[Stage, ...]:
    """Learn the distances and angles between samples, as a frozen teacher's latents or features have them.

    RKD (Park et al., CVPR 2019): the sizes of the two sides do not matter, nor how their outputs are turned, and
    nothing is projected. What one of the sides does not offer is left out.

    Args:
        student: the detector to train.
        teacher: the detector to learn from; without one, the student's own losses alone.
        epochs: passes over the training normals.
        learning_rate: Adam's, at the start.
        schedule: how the learning rate falls.
        batch_size: normals of one step; queries come on top.
        averaging: decay of a moving average of the weights, which replaces them at the end; unset for none.
        outputs: which of the features and the latent.
        distance_weight: of the loss of distances between two samples.
        angle_weight: of the loss of angles between three samples.
        own_weight: of the student's own losses; a student alone has them with weight 1.
        queries: kinds of input beside the normals: noise, mixes, shuffles, uniform; for images also pasted and turns.
        query_share: queries for each normal.

    Raises:
        InputError: where both weights are 0, or where a student that learns from queries alone has none.
    """
    if teacher is not None and distance_weight == angle_weight == 0:
        raise InputError(
            "distance_weight and angle_weight are 0, so nothing would be learned from the teacher (allowed: one or "
            "both above 0)"
        )
    copied = []
    for output in dict.fromkeys(outputs):
        kinds = (("distances", distances(output), distance_weight), ("angles", angles(output), angle_weight))
        copied += [
            Term(f"distil_{kind}_of_{output}", loss, weight, inputs="both")
            for kind, loss, weight in kinds
            if weight > 0
        ]
    course = Course(epochs, learning_rate, schedule, batch_size, averaging, own_weight, queries, query_share)
    return single("relational", student, teacher, copied, course)
