"""Training as data: what the one loop of the engine runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from torch import Tensor

from kdcompress.errors import InputError, unknown
from kdcompress.types import SCORE, Interface, Outputs

SideName: TypeAlias = Literal["student", "teacher"]
Schedule: TypeAlias = Callable[[float], float]
"""Factor on the learning rate as a function of the stage's progress in [0, 1)."""


@dataclass(frozen=True)
class Side:
    """One side of a batch.

    Attributes:
        x: the input as this side's detector sees it.
        outputs: what its detector made of it.
        critic: what its critic made of both; empty where no term asks for it.
        aligned: the outputs after the stage's projections: what distillation terms compare.
        normals: how many of the samples, the first ones, are normals; the others are queries. None: all.
        verdict: the stage's judge's log-odds [N] that the outputs are the teacher's; None where it has no judge.
    """

    x: Tensor
    outputs: Outputs
    critic: Outputs = field(default_factory=dict)
    aligned: Outputs = field(default_factory=dict)
    normals: int | None = None
    verdict: Tensor | None = None

    def first(self, count: int) -> Side:
        """Return this side of the first samples of the batch."""

        def cut(outputs: Outputs) -> Outputs:
            return {name: value[:count] for name, value in outputs.items()}

        verdict = self.verdict[:count] if self.verdict is not None else None
        return Side(self.x[:count], cut(self.outputs), cut(self.critic), cut(self.aligned), verdict=verdict)


@dataclass(frozen=True)
class Loss:
    """A loss and what it reads, so that a term that a pair cannot feed is found before training.

    Attributes:
        compute: (own side, other side or None) to a scalar, mean over the batch.
        outputs: names that it reads from its own detector's outputs.
        critic: names that it reads from its own critic.
        shared: names that it compares with the other side's outputs.
    """

    compute: Callable[[Side, Side | None], Tensor]
    outputs: tuple[str, ...] = ()
    critic: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    def missing(self, own: Interface, other: Interface | None) -> tuple[str, ...]:
        """Return what this loss needs and the sides do not offer."""
        lacks = [name for name in self.outputs if name not in own.outputs]
        lacks += [name for name in self.critic if name not in own.critic]
        for name in self.shared:
            lacks += [f"own {name}"] if name not in own.outputs else []
            lacks += [f"other {name}"] if other is None or name not in other.outputs else []
        return tuple(lacks)


def loss(
    *, outputs: tuple[str, ...] = (), critic: tuple[str, ...] = (), shared: tuple[str, ...] = ()
) -> Callable[[Callable[[Side, Side | None], Tensor]], Loss]:
    """Return a decorator that makes a loss of a function of the two sides, saying what it reads."""
    return lambda compute: Loss(compute, outputs, critic, shared)


@dataclass(frozen=True)
class Term:
    """A weighted loss on one side of the batch, under the name that the history shows.

    ``inputs``: whether it reads the stage's queries too, or normals alone.
    """

    name: str
    loss: Loss
    weight: float = 1.0
    on: SideName = "student"
    inputs: Literal["normals", "both"] = "normals"

    def __post_init__(self) -> None:
        if not isinstance(self.loss, Loss):
            raise InputError(
                f"term '{self.name}': its loss is a {type(self.loss).__name__}, not a Loss; make one of a function by "
                "@kd.loss(outputs=..., shared=...), which says what it reads"
            )


def constant(progress: float) -> float:
    """Keep the learning rate."""
    return 1.0


def cosine(progress: float) -> float:
    """Let the learning rate fall to zero along half a cosine (Loshchilov and Hutter, 2017, without restarts)."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine}
"""The schedules that recipes name."""


@dataclass(frozen=True)
class Adam:
    """Adam's settings (Kingma and Ba, 2015); the betas are the usual ones for GANs."""

    learning_rate: float = 2e-3
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Update:
    """One optimiser step a batch: the parts that it moves, and the terms whose gradient moves them.

    Parts are ``"student.detector"``, ``"student.critic"``, ``"teacher.detector"``, ``"teacher.critic"`` and the
    stage's ``"projection"`` and ``"judge"``. What no update of a stage names is frozen and in eval mode. All updates of
    a batch see the same weights, so each equals a share of one joint backward pass.
    """

    parts: tuple[str, ...]
    terms: tuple[Term, ...]
    optimizer: Adam


@dataclass(frozen=True)
class Projection:
    """A learned linear map of one student output's last dimension to the teacher's; never counted, never exported.

    Several students that train as one have a copy each, over outputs [N, K, ..., Z].
    """

    output: str
    from_size: int
    to_size: int
    copies: int | None = None


@dataclass(frozen=True)
class Judge:
    """A small network that tells one side's output, after the projections, from the other's; training only.

    Attributes:
        output: what it looks at: a vector, or a map [H, W, C] of which it sees the mean over places.
        size: of the vector.
        hidden: width of its one hidden layer.
    """

    output: str
    size: int
    hidden: int = 64


@dataclass(frozen=True)
class Stage:
    """A stretch of training: everything that the loop needs to know.

    ``calibrated``: whose scores are fitted to the training normals (`Detector.calibrate`), the teacher's before the
    stage, the student's after it. ``queries`` are kinds of input beside the normals (`kdcompress.queries`),
    ``query_share`` how many there are for each normal.
    """

    name: str
    epochs: int
    batch_size: int
    updates: tuple[Update, ...]
    schedule: Schedule
    projections: tuple[Projection, ...] = ()
    averaging: float | None = None
    calibrated: tuple[SideName, ...] = ()
    queries: tuple[str, ...] = ()
    query_share: float = 1.0
    judge: Judge | None = None

    def trained(self) -> frozenset[str]:
        """Return the parts that any update of this stage moves."""
        return frozenset(part for update in self.updates for part in update.parts)

    def apart(self) -> bool:
        """Say whether several students cannot go through it as one: it has a score, queries or a judge for each."""
        scored = any(SCORE in (*term.loss.outputs, *term.loss.shared) for term in self.terms())
        return scored or bool(self.calibrated) or bool(self.queries) or self.judge is not None

    def terms(self) -> tuple[Term, ...]:
        """Return the terms of all updates in order."""
        return tuple(term for update in self.updates for term in update.terms)


def fed(
    stages: tuple[Stage, ...], student: Interface, teacher: Interface | None
) -> tuple[tuple[Stage, ...], tuple[str, ...]]:
    """Return the stages with the terms that the two sides can feed, and what was left out, in words.

    Strategies name every term that they know; what an architecture does not offer falls away here, a critic's update
    with it.

    Raises:
        InputError: where a detector is left with nothing to learn, or a student with nothing to learn from its teacher.
    """
    if not stages:
        raise InputError("strategy: it has no stages, so nothing would be trained (allowed: one or more)")
    sides = {"student": student, "teacher": teacher}
    left_out: list[str] = []
    kept = tuple(_fed_stage(stage, sides, left_out) for stage in stages)
    return kept, tuple(dict.fromkeys(left_out))


def _fed_stage(stage: Stage, sides: Mapping[str, Interface | None], left_out: list[str]) -> Stage:
    updates = []
    known = [f"{name}.{part}" for name, side in sides.items() if side is not None for part in ("detector", "critic")]
    for update in stage.updates:
        for part in update.parts:
            if part not in (parts := (*known, "projection", "judge")):
                raise InputError(f"strategy: stage '{stage.name}' trains an {unknown('part', part, parts)}")
            name, _, of = part.partition(".")
            side = sides.get(name)
            if of == "detector" and side is not None and not side.trainable:
                raise InputError(
                    f"strategy: stage '{stage.name}' trains {part}, which has no weights to train (made by: fitted)"
                )
        terms = []
        for term in update.terms:
            lacks = _lacks(term, sides)
            left_out += [f"{term.on}.{term.name} needs {', '.join(lacks)}"] if lacks else []
            terms += [] if lacks else [term]
        if terms:
            updates.append(replace(update, terms=tuple(terms)))
        elif any(part.endswith(".detector") for part in update.parts):
            raise InputError(
                f"strategy: nothing to learn for {update.parts[0]} in stage '{stage.name}': {_why(left_out)}"
            )
    found = replace(stage, updates=tuple(updates))
    if any(term.loss.shared for term in stage.terms()) and not any(term.loss.shared for term in found.terms()):
        raise InputError(f"strategy: nothing to learn from the teacher in stage '{stage.name}': {_why(left_out)}")
    return found


def _lacks(term: Term, sides: Mapping[str, Interface | None]) -> tuple[str, ...]:
    own, other = sides[term.on], sides["teacher" if term.on == "student" else "student"]
    return term.loss.missing(own, other) if own is not None else ("a teacher",)


def _why(left_out: list[str]) -> str:
    return "; ".join(left_out) or "all weights are 0"
