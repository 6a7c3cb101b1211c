"""One stage with a frozen teacher: what all strategies have in common that copy one thing of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from kdcompress.errors import InputError
from kdcompress.queries import Query
from kdcompress.stage import SCHEDULES, Adam, Stage, Term, Update
from kdcompress.strategies.updates import own_terms, projections
from kdcompress.types import Interface

Epochs: TypeAlias = Annotated[int, Field(ge=1)]
ScheduleName: TypeAlias = Literal["cosine", "constant"]
BatchSize: TypeAlias = Annotated[int, Field(ge=2)]
Averaging: TypeAlias = Annotated[float, Field(gt=0, lt=1)] | None
Positive: TypeAlias = Annotated[float, Field(gt=0)]
Share: TypeAlias = Annotated[float, Field(gt=0, le=100)]

Inner: TypeAlias = Literal["features", "latent"]
"""The outputs that say what a detector has inside."""

QUERIES: tuple[Query, ...] = ("noise", "mixes", "shuffles")
"""Kinds of queries for rows and images alike."""


@dataclass(frozen=True)
class Course:
    """How long and on what such a stage trains, as the options of these strategies are called."""

    epochs: int
    learning_rate: float
    schedule: ScheduleName
    batch_size: int
    averaging: float | None
    own_weight: float
    queries: tuple[Query, ...]
    query_share: float


def single(
    name: str,
    student: Interface,
    teacher: Interface | None,
    copied: Sequence[Term],
    course: Course,
    projected: Sequence[str] = (),
) -> tuple[Stage, ...]:
    """Return the stage in which a student copies a frozen teacher beside its own losses, or that of its control.

    Args:
        name: the stage's; the control's is ``alone``.
        student: the detector to train.
        teacher: the detector to learn from; without one, the student's own losses alone, with weight 1.
        copied: what the student learns from its teacher.
        course: how long, and on what.
        projected: outputs that go through a learned linear map where the two sides have them in different sizes.

    Raises:
        InputError: where a student that learns from queries alone has none, or where outputs cannot be projected.
    """
    if not course.queries and any(term.name == "contrast" for term in own_terms(student, 1.0)):
        raise InputError("queries: none, and the student learns without a teacher by telling normals from them")
    terms = own_terms(student, course.own_weight if teacher is not None else 1.0)
    maps = projections(student, teacher, projected) if teacher is not None else ()
    terms = (*terms, *copied) if teacher is not None else terms
    parts = ("student.detector", *(("projection",) if maps else ()))
    stage = Stage(
        name if teacher is not None else "alone",
        course.epochs,
        course.batch_size,
        (Update(parts, terms, Adam(course.learning_rate)),),
        SCHEDULES[course.schedule],
        projections=maps,
        averaging=course.averaging,
        queries=course.queries if any(term.inputs == "both" for term in terms) else (),
        query_share=course.query_share,
    )
    return (stage,)
