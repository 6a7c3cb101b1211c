"""Learning what a teacher makes of an input."""

from __future__ import annotations

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


@STRATEGIES.register("reconstruction")
def reconstruction(
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
    """Learn a frozen teacher's reconstructions, of normals and of queries.

    Model compression (Bucila, Caruana, Niculescu-Mizil, KDD 2006): a small model copies what a large one answers, also
    on input that is made for it. So the student errs on ``queries`` as its teacher does. It is the wx term of P-KDGAN.

    Args:
        student: the detector to train.
        teacher: the detector to learn from; without one, the student's own losses alone.
        epochs: passes over the training normals.
        learning_rate: Adam's, at the start.
        schedule: how the learning rate falls.
        batch_size: normals of one step; queries come on top.
        averaging: decay of a moving average of the weights, which replaces them at the end; unset for none.
        weight: of the distance between the reconstructions.
        own_weight: of the student's own losses; a student alone has them with weight 1.
        queries: kinds of input beside the normals: noise, mixes, shuffles, uniform; for images also pasted and turns.
        query_share: queries for each normal.

    Raises:
        InputError: where the two sides reconstruct images of different sizes, or where a student that learns from
            queries alone has none.
    """
    copied = (Term("distil_reconstruction", LOSSES["distil_reconstruction"], weight, inputs="both"),)
    course = Course(epochs, learning_rate, schedule, batch_size, averaging, own_weight, queries, query_share)
    return single("reconstruction", student, teacher, copied, course, ("reconstruction",))
