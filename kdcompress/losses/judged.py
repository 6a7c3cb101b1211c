"""Losses of a stage's judge, and of the student that it judges: a GAN's, between two detectors.

Goodfellow et al. (NeurIPS 2014); the student's is the one that does not saturate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kdcompress.stage import Loss, Side


# Dataclasses, so that equal settings give equal stages.
@dataclass(frozen=True)
class _Taken:
    """The judge takes the student's output for the teacher's."""

    output: str

    def __call__(self, own: Side, other: Side | None) -> Tensor:
        return F.softplus(-_verdict(own)).mean()


@dataclass(frozen=True)
class _Told:
    """The judge tells the teacher's output from the student's."""

    output: str

    def __call__(self, own: Side, other: Side | None) -> Tensor:
        assert other is not None, "the engine checks that a distillation term has another side"
        return torch.stack([F.softplus(_verdict(own)).mean(), F.softplus(-_verdict(other)).mean()]).mean()


def taken(output: str) -> Loss:
    """Return the student's loss: -log of the judge's probability that its output is the teacher's."""
    return Loss(_Taken(output), shared=(output,))


def told(output: str) -> Loss:
    """Return the judge's loss: the mean cross-entropy of what it says of both sides' outputs."""
    return Loss(_Told(output), shared=(output,))


def _verdict(side: Side) -> Tensor:
    assert side.verdict is not None, "a stage with this term has a judge"
    return side.verdict
