"""What the loop tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from kdcompress.engine.plan import Plan
from kdcompress.stage import Stage


@dataclass(frozen=True)
class Started:
    """A stage begins, or goes on after ``epoch`` complete epochs."""

    index: int
    stage: Stage
    plan: Plan
    epoch: int


@dataclass(frozen=True)
class Progress:
    """The loop is at a batch of an epoch; ``batches`` is how many an epoch has."""

    stage: Stage
    epoch: int
    batch: int
    batches: int
    images_per_second: float


@dataclass(frozen=True)
class EpochDone:
    """An epoch is complete and saved; the row goes into the history."""

    stage: Stage
    row: dict[str, Any]


@dataclass(frozen=True)
class StageDone:
    """A stage is complete: the detectors are as they will be used."""

    index: int
    stage: Stage


@dataclass(frozen=True)
class Phase:
    """Something without epochs begins, e.g. scoring."""

    what: str


@dataclass(frozen=True)
class LeftOut:
    """Terms of the strategy that the two sides cannot feed, said before training."""

    terms: tuple[str, ...]


@dataclass(frozen=True)
class Noted:
    """What the user should know of the data or the teacher, said before training."""

    notes: tuple[str, ...]


@dataclass(frozen=True)
class Spilled:
    """What a stage reads takes more ``bytes`` than are ``left`` of the memory given, and goes into a file."""

    what: str
    bytes: int
    left: int


@dataclass(frozen=True)
class Diverged:
    """A loss was not finite: the stage went back to ``epoch`` complete epochs, at half the learning rate once more."""

    stage: Stage
    epoch: int
    why: str
    retry: int


Event: TypeAlias = Started | Progress | EpochDone | StageDone | Phase | LeftOut | Noted | Spilled | Diverged
