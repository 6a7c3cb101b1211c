"""The updates that strategies are put together from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from kdcompress.errors import InputError
from kdcompress.losses import LOSSES
from kdcompress.stage import Adam, Projection, SideName, Term, Update
from kdcompress.types import FEATURES, Interface

OWN = (
    "reconstruction",
    "divergence",
    "latent_consistency",
    "transformation",
    "one_class",
    "contrast",
    "feature_distance",
)
"""What detectors of the families here learn without a teacher and without a critic."""

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class OwnWeights:
    """Weights of a detector's own losses (GANomaly's generator loss); 0 leaves a term out."""

    feature_matching: Weight = 1.0
    adversarial: Weight = 0.0
    reconstruction: Weight = 50.0
    latent_consistency: Weight = 1.0


@dataclass(frozen=True)
class DistilWeights:
    """Weights of P-KDGAN's K_l: w1 (z1), wx (reconstruction) and w2 (z2); 0 leaves a term out.

    Raises:
        ValueError: where all are 0.
    """

    distil_latent: Weight = 1.0
    distil_reconstruction: Weight = 50.0
    distil_latent_of_reconstruction: Weight = 1.0

    def __post_init__(self) -> None:
        """Refuse to distil nothing: the student would be its control, trained beside a teacher to no end."""
        if not any(vars(self).values()):
            allowed = f"one or more of {', '.join(vars(self))} above 0"
            raise ValueError(f"all are 0, so nothing would be learned from the teacher (allowed: {allowed})")


COMPARED = frozenset(output for name in vars(DistilWeights()) for output in LOSSES[name].shared)
"""The outputs that K_l compares."""


def terms(weights: OwnWeights | DistilWeights, on: SideName) -> tuple[Term, ...]:
    """Return a side's weighted terms."""
    return tuple(Term(name, LOSSES[name], weight, on) for name, weight in vars(weights).items() if weight > 0)


def inherent(side: Interface, weights: OwnWeights, on: SideName) -> tuple[Term, ...]:
    """Return the terms without which a detector of a family is none: a VAE's divergence, weighted as what it codes."""
    loss = LOSSES["divergence"]
    if loss.missing(side, None) or weights.reconstruction == 0:
        return ()
    return (Term("divergence", loss, weights.reconstruction, on),)


def alone(on: SideName, weights: OwnWeights, optimizer: Adam, *more: Term) -> tuple[Update, ...]:
    """Return the updates of a detector on its own losses, and ``more``, and of its critic."""
    return (
        Update((f"{on}.detector",), (*terms(weights, on), *more), optimizer),
        Update((f"{on}.critic",), (Term("critic", LOSSES["critic"], 1.0, on),), optimizer),
    )


def own_terms(student: Interface, weight: float) -> tuple[Term, ...]:
    """Return those of a student's own losses that it can feed: on normals, but for the one that tells queries apart."""
    known = [name for name in OWN if not LOSSES[name].missing(student, None)] if weight > 0 else []
    return tuple(Term(name, LOSSES[name], weight, inputs="both" if name == "contrast" else "normals") for name in known)


def projections(
    student: Interface, teacher: Interface, compared: Iterable[str], *, passes: bool = False
) -> tuple[Projection, ...]:
    """Return a learned linear map for each output that is compared and that the two sides have in different sizes.

    Inner maps [H, W, C] of other heights and widths are not in the way: losses bring them to one size; nor, where
    features are known to be of ``passes`` [P, C] of the same kind, their numbers.

    Raises:
        InputError: where they differ in more than the size of vectors, e.g. images in their sides.
    """
    found = []
    for name in sorted(set(student.outputs) & set(teacher.outputs) & set(compared)):
        ours, theirs = student.outputs[name], teacher.outputs[name]
        said = f"student.{name} has shape {ours} and teacher.{name} {theirs}"
        maps = name == FEATURES and len(ours) == len(theirs) == (2 if passes else 3)
        if ours == theirs or (maps and ours[-1] == theirs[-1]):
            continue
        if name == FEATURES and len(ours) != len(theirs):
            raise InputError(f"{said}: one is a map of an image, (H, W, C), and the other is not")
        if not maps and (ours[:-1] != theirs[:-1] or not 1 <= len(ours) <= 2):
            raise InputError(
                f"{said}: only vectors can be projected; give both the same input size, e.g. student.size: {theirs[-1]}"
            )
        found.append(Projection(name, ours[-1], theirs[-1]))
    return tuple(found)
