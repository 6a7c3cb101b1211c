"""Learning where a teacher looks."""

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
    Positive,
    ScheduleName,
    Share,
    single,
)
from kdcompress.strategies.updates import Weight
from kdcompress.types import Interface


@STRATEGIES.register("attention")
def attention(
    student: Interface,
    teacher: Interface | None = None,
    *,
    epochs: Epochs = 50,
    learning_rate: Rate = 2e-3,
    schedule: ScheduleName = "cosine",
    batch_size: BatchSize = 64,
    averaging: Averaging = None,
    weight: Positive = 1.0,
    own_weight: Weight = 0.1,
    queries: tuple[Query, ...] = QUERIES,
    query_share: Share = 1.0,
) -> tuple[Stage, ...]:
    """Learn where in an image a frozen teacher's inner map is active.

    Attention transfer (Zagoruyko and Komodakis, ICLR 2017): the squares of an inner map, mean over channels and of unit
    length, so that the two sides may have different numbers of channels. Maps of two heights and widths are averaged to
    the smaller one.

    Args:
        student: the detector to train.
        teacher: the detector to learn from; without one, the student's own losses alone.
        epochs: passes over the training normals.
        learning_rate: Adam's, at the start.
        schedule: how the learning rate falls.
        batch_size: normals of one step; queries come on top.
        averaging: decay of a moving average of the weights, which replaces them at the end; unset for none.
        weight: of the distance between the maps.
        own_weight: of the student's own losses; a student alone has them with weight 1.
        queries: kinds of input beside the normals: noise, mixes, shuffles, uniform; for images also pasted and turns.
        query_share: queries for each normal.

    Raises:
        InputError: where a side's features are no map, or where a student that learns from queries alone has none.
    """
    for side, one in (("student", student), ("teacher", teacher)):
        shape = one.outputs.get("features") if one is not None else None
        if shape is not None and len(shape) != 3:
            raise InputError(f"{side}.features has shape {shape}: attention needs a map of an image, (H, W, C)")
    copied = (Term("distil_attention", LOSSES["distil_attention"], weight, inputs="both"),)
    course = Course(epochs, learning_rate, schedule, batch_size, averaging, own_weight, queries, query_share)
    return single("attention", student, teacher, copied, course)
