"""Several detectors as one: the mean of their scores, each in units of its own spread over normals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.errors import InputError, unknown
from kdcompress.product import built
from kdcompress.types import Detector, Outputs, Pair

MEANS = ("logits", "reconstruction", "anomaly_map")
"""Outputs that mean the same in every detector that has them, so that their mean does too."""

_TINY = 1e-12


class Ensemble(Detector):
    """Detectors side by side, each with its own preparation."""

    fitted = True
    unit: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, members: Sequence[Detector]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        for name, start in (("unit", torch.ones), ("mean", torch.zeros), ("spread", torch.ones)):
            self.register_buffer(name, start(len(members)))

    def prepare(self, raw: Tensor) -> Tensor:
        """Return raw data as they are: each member prepares them by itself."""
        return raw

    def adapt(self, chunks: Iterable[Tensor]) -> None:
        """Adapt every member."""
        found = list(chunks)
        for member in self._detectors():
            member.adapt(found)

    def forward(self, x: Tensor) -> Outputs:
        """Return ``scores`` [N, M] of M members, and the means of outputs that all of them have in one shape."""
        scores, several = [], []
        for member in self._detectors():
            own = member.prepare(x)
            outputs = member(own)
            scores.append(member.score_outputs(own, outputs))
            several.append(outputs)
        found = {"scores": torch.stack(scores, 1)}
        for name in MEANS:
            values = [outputs[name] for outputs in several if name in outputs]
            if len(values) == len(several) and len({value.shape for value in values}) == 1:
                found[name] = torch.stack(values).mean(0)
        return found

    def calibrate(self, chunks: Iterable[Tensor]) -> None:
        """Take the unit of every member's score from training normals, then mean and spread in that unit."""
        scores = torch.cat([self(chunk)["scores"] for chunk in chunks]).double()
        self.unit.copy_(scores.abs().median(0).values.clamp(min=_TINY))
        own = _compressed(scores, self.unit.double())
        self.mean.copy_(own.mean(0))
        self.spread.copy_(own.std(0, correction=0).clamp(min=_TINY))

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the mean of the standardised scores."""
        return ((_compressed(outputs["scores"], self.unit) - self.mean) / self.spread).mean(1)

    def _detectors(self) -> list[Detector]:
        return [member for member in self.members if isinstance(member, Detector)]


def _compressed(scores: Tensor, unit: Tensor) -> Tensor:
    """Bring scores to sign(s) log(1 + |s| / unit): or the member with the longest tail would decide alone."""
    return scores.sign() * (scores.abs() / unit).log1p()


@ARCHITECTURES.register("ensemble")
def ensemble(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    members: Annotated[tuple[dict[str, Any], ...], Field(min_length=2, max_length=100)] = (
        {"name": "mlp_ae"},
        {"name": "deep_svdd"},
    ),
) -> Pair:
    """Several detectors as one; the score is the mean of theirs, standardised over the training normals.

    A recipe that lists teachers under ``teacher.ensemble`` makes one of them: they are trained one by one, and this is
    put together from what they became. Logits and reconstructions that all members have in one shape are averaged too.

    Args:
        input_shape: of one raw sample.
        width: factor on the width of every member.
        members: the detectors, each the name of an architecture with its options.

    Raises:
        InputError: for a member that is no registered architecture, or that does not take such samples.
    """
    return Pair(Ensemble([_member(place, one, input_shape, width) for place, one in enumerate(members)]))


def _member(place: int, given: dict[str, Any], input_shape: tuple[int, ...], width: float) -> Detector:
    name, options = given.get("name"), {key: value for key, value in given.items() if key != "name"}
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise InputError(f"members.{place}.name: {unknown('architecture', str(name), ARCHITECTURES)}")
    options["width"] = options.get("width", 1.0) * width
    return built(ARCHITECTURES, Pair, name, options, input_shape).detector
