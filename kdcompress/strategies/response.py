"""Learning a teacher's score and nothing else of it: any teacher has one."""

from __future__ import annotations

from kdcompress.errors import InputError
from kdcompress.losses import LOSSES
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
    ScheduleName,
    Share,
    single,
)
from kdcompress.strategies.updates import Weight
from kdcompress.types import Interface


@STRATEGIES.register("response")
def response(
    student: Interface,
    teacher: Interface | None = None,
    *,
    epochs: Epochs = 50,
    learning_rate: Rate = 2e-3,
    schedule: ScheduleName = "cosine",
    batch_size: BatchSize = 64,
    averaging: Averaging = None,
    weight: Weight = 1.0,
    own_weight: Weight = 0.1,
    queries: tuple[Query, ...] = QUERIES,
    query_share: Share = 1.0,
) -> tuple[Stage, ...]:
    """Learn a frozen teacher's scores: the one thing that every teacher has.

    The student's scores shall go with the teacher's (one less their correlation, which leaves both their units), on
    training normals and on ``queries`` made from them, beside what it learns from normals alone. Ba and Caruana
    (NeurIPS 2014) copy logits so; a student that is to agree on anomalies has to be asked about more than normals.
    Without a teacher, the student's own losses alone.

    Args:
        student: the detector to train.
        teacher: the detector to learn from; without one, the student's own losses alone.
        epochs: passes over the training normals.
        learning_rate: Adam's, at the start.
        schedule: how the learning rate falls.
        batch_size: normals of one step; queries come on top.
        averaging: decay of a moving average of the weights, which replaces them at the end; unset for none.
        weight: of the distance between the scores.
        own_weight: of the student's own losses; a student alone has them with weight 1.
        queries: kinds of input beside the normals: noise, mixes, shuffles, uniform; for images also pasted and turns.
        query_share: queries for each normal.

    Raises:
        InputError: where the weight is 0, so that nothing would be learned from the teacher, or where a student
            that learns from queries alone has none.
    """
    if teacher is not None and weight == 0:
        raise InputError("weight: 0, so nothing would be learned from the teacher (allowed: above 0)")
    copied = (Term("distil_score", LOSSES["distil_score"], weight, inputs="both"),)
    course = Course(epochs, learning_rate, schedule, batch_size, averaging, own_weight, queries, query_share)
    return single("response", student, teacher, copied, course)
