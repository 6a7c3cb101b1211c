"""Learning what a teacher has inside."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

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
    Inner,
    Positive,
    ScheduleName,
    Share,
    single,
)
from kdcompress.strategies.updates import Weight
from kdcompress.types import Interface


@STRATEGIES.register("hint")
def hint(
    student: Interface,
    teacher: Interface | None = None,
    *,
    epochs: Epochs = 50,
    learning_rate: Rate = 2e-3,
    schedule: ScheduleName = "cosine",
    batch_size: BatchSize = 64,
    averaging: Averaging = None,
    outputs: Annotated[tuple[Inner, ...], Field(min_length=1)] = ("features", "latent"),
    weight: Positive = 1.0,
    own_weight: Weight = 0.1,
    queries: tuple[Query, ...] = QUERIES,
    query_share: Share = 1.0,
) -> tuple[Stage, ...]:
    """Learn a frozen teacher's inner features and latents, through linear maps where the sizes differ.

    FitNets (Romero et al., ICLR 2015), whose hint is followed by another strategy: see ``sequence``. A map of features
    is one for each channel at each place, the 1 x 1 convolution; maps of two heights and widths are averaged to the
    smaller one. What one of the sides does not offer is left out. The linear maps are learned along and then dropped.

    Args:
        student: the detector to train.
        teacher: the detector to learn from; without one, the student's own losses alone.
        epochs: passes over the training normals.
        learning_rate: Adam's, at the start.
        schedule: how the learning rate falls.
        batch_size: normals of one step; queries come on top.
        averaging: decay of a moving average of the weights, which replaces them at the end; unset for none.
        outputs: which of the features and the latent.
        weight: of each distance.
        own_weight: of the student's own losses; a student alone has them with weight 1.
        queries: kinds of input beside the normals: noise, mixes, shuffles, uniform; for images also pasted and turns.
        query_share: queries for each normal.

    Raises:
        InputError: where the two sides' features are of two kinds, or where a student that learns from queries alone
            has none.
    """
    named = dict.fromkeys(f"distil_{output}" for output in outputs)
    copied = [Term(name, LOSSES[name], weight, inputs="both") for name in named]
    course = Course(epochs, learning_rate, schedule, batch_size, averaging, own_weight, queries, query_share)
    return single("hint", student, teacher, copied, course, outputs)
