"""Learning to be taken for the teacher."""

from __future__ import annotations

from dataclasses import replace

from kdcompress.errors import InputError
from kdcompress.losses import LOSSES
from kdcompress.losses.judged import taken, told
from kdcompress.queries import Query
from kdcompress.stage import Adam, Judge, Stage, Term, Update
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


@STRATEGIES.register("adversarial")
def adversarial(
    student: Interface,
    teacher: Interface | None = None,
    *,
    epochs: Epochs = 50,
    learning_rate: Rate = 2e-3,
    schedule: ScheduleName = "cosine",
    batch_size: BatchSize = 64,
    averaging: Averaging = None,
    output: Inner | None = None,
    weight: Weight = 1.0,
    adversarial_weight: Positive = 0.1,
    own_weight: Weight = 0.1,
    queries: tuple[Query, ...] = QUERIES,
    query_share: Share = 1.0,
) -> tuple[Stage, ...]:
    """Copy a frozen teacher's latents or features until a judge cannot tell the two sides apart.

    Shen, He, Xue (MEAL, AAAI 2019) and Xu, Hsu, Huang (2017) of classifiers: a small network learns to tell the
    teacher's output from the student's, and the student to be taken for the teacher, beside the distance of the two
    outputs. The judge alone would ask for the same distribution, not for the same answer to each input. Where the sizes
    differ, the student's output goes through a learned linear map first; both are dropped in the end.

    Args:
        student: the detector to train.
        teacher: the detector to learn from; without one, the student's own losses alone.
        epochs: passes over the training normals.
        learning_rate: Adam's, at the start, of the student and of the judge.
        schedule: how the learning rate falls.
        batch_size: normals of one step; queries come on top.
        averaging: decay of a moving average of the weights, which replaces them at the end; unset for none.
        output: what is copied and judged; unset, the latent where both sides have one, else the features.
        weight: of the distance between the two outputs.
        adversarial_weight: of being taken for the teacher.
        own_weight: of the student's own losses; a student alone has them with weight 1.
        queries: kinds of input beside the normals: noise, mixes, shuffles, uniform; for images also pasted and turns.
        query_share: queries for each normal.

    Raises:
        InputError: where the two sides' features are of two kinds, or where a student that learns from queries alone
            has none.
    """
    course = Course(epochs, learning_rate, schedule, batch_size, averaging, own_weight, queries, query_share)
    if teacher is None:
        return single("adversarial", student, None, (), course)
    both = set(student.outputs) & set(teacher.outputs)
    found: Inner = output or ("latent" if "latent" in both or "features" not in both else "features")
    copied = [
        Term(f"distil_{found}", LOSSES[f"distil_{found}"], weight, inputs="both"),
        Term("taken_for_teacher", taken(found), adversarial_weight, inputs="both"),
    ]
    (stage,) = single("adversarial", student, teacher, [one for one in copied if one.weight > 0], course, (found,))
    shape = teacher.outputs.get(found, (1,))
    if len(shape) not in (1, 3):
        raise InputError(f"teacher.{found} has shape {shape}: a judge looks at vectors and maps")
    judges = Update(("judge",), (Term("judge", told(found), inputs="both"),), Adam(learning_rate))
    return (replace(stage, updates=(*stage.updates, judges), judge=Judge(found, shape[-1])),)
