"""Learning where a teacher finds an image odd."""

from __future__ import annotations

from kdcompress.errors import InputError
from kdcompress.losses import LOSSES
from kdcompress.queries import Query
from kdcompress.stage import Stage, Term
from kdcompress.strategies import STRATEGIES
from kdcompress.strategies.progressive import Rate
from kdcompress.strategies.single import (
    Averaging,
    BatchSize,
    Course,
    Epochs,
    Positive,
    ScheduleName,
    Share,
    single,
)
from kdcompress.strategies.updates import Weight
from kdcompress.types import Interface


@STRATEGIES.register("maps")
def maps(
    student: Interface,
    teacher: Interface | None = None,
    *,
    epochs: Epochs = 50,
    learning_rate: Rate = 2e-3,
    schedule: ScheduleName = "cosine",
    batch_size: BatchSize = 64,
    averaging: Averaging = None,
    weight: Positive = 1.0,
    score_weight: Weight = 0.0,
    own_weight: Weight = 0.1,
    queries: tuple[Query, ...] = ("noise", "mixes", "pasted"),
    query_share: Share = 1.0,
) -> tuple[Stage, ...]:
    """Learn a frozen teacher's anomaly maps.

    The student's maps shall go with the teacher's, place by place over the whole batch (one less their correlation, as
    of scores in `response`). Which pixels are odd is known of nobody: the student has the teacher's word for it. Salehi
    et al. (CVPR 2021) and Bergmann et al. (CVPR 2020) learn features instead.

    Args:
        student: the detector to train.
        teacher: the detector to learn from; without one, the student's own losses alone.
        epochs: passes over the training normals.
        learning_rate: Adam's, at the start.
        schedule: how the learning rate falls.
        batch_size: normals of one step; queries come on top.
        averaging: decay of a moving average of the weights, which replaces them at the end; unset for none.
        weight: of the distance between the maps.
        score_weight: of the distance between the scores; 0 leaves it out.
        own_weight: of the student's own losses; a student alone has them with weight 1.
        queries: kinds of input beside the normals: noise, mixes, shuffles, uniform; for images also pasted and turns.
        query_share: queries for each normal.

    Raises:
        InputError: where the two sides' maps differ in size, or a student that learns from queries alone has none.
    """
    ours, theirs = (one.outputs.get("anomaly_map") if one is not None else None for one in (student, teacher))
    if ours is not None and theirs is not None and ours != theirs:
        raise InputError(
            f"student.anomaly_map has shape {ours} and teacher.anomaly_map {theirs}: they have to be alike"
        )
    copied = [Term("distil_map", LOSSES["distil_map"], weight, inputs="both")]
    if score_weight > 0:
        copied.append(Term("distil_score", LOSSES["distil_score"], score_weight, inputs="both"))
    course = Course(epochs, learning_rate, schedule, batch_size, averaging, own_weight, queries, query_share)
    return single("maps", student, teacher, copied, course)
