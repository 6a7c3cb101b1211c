"""Learning which samples are alike."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kdcompress.losses.relations import similarity as similarity_of
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


@STRATEGIES.register("similarity")
def similarity(
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
    """Learn which samples of a batch are alike, as a frozen teacher's latents or features have it.

    SPKD (Tung and Mori, ICCV 2019): the products between all samples of a batch, so that the sizes of the two sides do
    not matter and nothing is projected. What one of the sides does not offer is left out.

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
        InputError: where a student that learns from queries alone has none.
    """
    copied = [
        Term(f"distil_similarity_of_{output}", similarity_of(output), weight, inputs="both")
        for output in dict.fromkeys(outputs)
    ]
    course = Course(epochs, learning_rate, schedule, batch_size, averaging, own_weight, queries, query_share)
    return single("similarity", student, teacher, copied, course)
