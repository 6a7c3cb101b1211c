"""Learning a teacher's score and nothing else of it: any teacher has one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kdcompress.errors import InputError
from kdcompress.losses import LOSSES
from kdcompress.queries import Query
from kdcompress.stage import SCHEDULES, Adam, Stage, Term, Update
from kdcompress.strategies import STRATEGIES
from kdcompress.types import Interface

OWN = (
    "reconstruction",
    "divergence",
    "latent_consistency",
    "transformation",
    "one_class",
    "contrast",
    "feature_distance",
)
"""What detectors of the families here learn without a teacher."""


@STRATEGIES.register("response")
def response(
    student: Interface,
    teacher: Interface | None = None,
    *,
    epochs: Annotated[int, Field(ge=1)] = 50,
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-3,
    schedule: Literal["cosine", "constant"] = "cosine",
    batch_size: Annotated[int, Field(ge=2)] = 64,
    averaging: Annotated[float, Field(gt=0, lt=1)] | None = None,
    weight: Annotated[float, Field(ge=0)] = 1.0,
    own_weight: Annotated[float, Field(ge=0)] = 0.1,
    queries: tuple[Query, ...] = ("noise", "mixes", "shuffles"),
    query_share: Annotated[float, Field(gt=0, le=100)] = 1.0,
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
        InputError: where the weight is 0, so that nothing would be learned from the teacher, or where a student has no
            queries that learns from them alone.
    """
    own_weight = own_weight if teacher is not None else 1.0
    known = [name for name in OWN if not LOSSES[name].missing(student, None)]
    if "contrast" in known and not queries:
        raise InputError("queries: none, and the student learns without a teacher by telling normals from them")
    terms = [Term(name, LOSSES[name], own_weight, inputs=_read(name)) for name in known if own_weight > 0]
    if teacher is not None and weight == 0:
        raise InputError("weight: 0, so nothing would be learned from the teacher (allowed: above 0)")
    if teacher is not None:
        terms.append(Term("distil_score", LOSSES["distil_score"], weight, inputs="both"))
    asked = queries if any(term.inputs == "both" for term in terms) else ()
    stage = Stage(
        "response" if teacher is not None else "alone",
        epochs,
        batch_size,
        (Update(("student.detector",), tuple(terms), Adam(learning_rate)),),
        SCHEDULES[schedule],
        averaging=averaging,
        queries=asked,
        query_share=query_share,
    )
    return (stage,)


def _read(name: str) -> Literal["normals", "both"]:
    """Return which inputs a detector's own loss reads: all but one are of normals."""
    return "both" if name == "contrast" else "normals"
