"""What is trained, deployed and compared.

Conventions that hold everywhere: a higher score is more anomalous; label 0 is normal, 1 is an anomaly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn

Outputs: TypeAlias = Mapping[str, Tensor]
"""Named results of one forward pass, e.g. ``"reconstruction"`` [N, C, H, W], ``"latent"`` [N, Z].

Their shapes are the same at every width, but for ``"features"`` [N, ..., C], which are inner ones; an inner map of an
image is [N, H, W, C].
"""

FEATURES = "features"
"""The one output that is an inner one: its channels come last, and their number goes with the width."""

SCORE = "score"
"""What terms call a detector's score [N]: all offer it beside their outputs, and none may have one so named."""


class Detector(nn.Module):
    """A one-class anomaly detector: what is scored, counted, exported and deployed.

    It owns its preprocessing, so that a teacher and a student of different input sizes can look at the same
    raw data.

    Attributes:
        fitted: whether a part of the score is missing until `calibrate` has fitted it.
        exact: names of its modules that compute with points, not with weights, as for distances: small differences of
            large numbers, so that an export in fewer bits leaves them in float.
    """

    fitted: bool = False
    exact: tuple[str, ...] = ()

    def prepare(self, raw: Tensor) -> Tensor:
        """Turn raw data, e.g. uint8 images [N, C, H, W], into the network's float input.

        It has no learned weights and no randomness: the engine runs it once over a data set.
        """
        raise NotImplementedError

    def adapt(self, chunks: Iterable[Tensor]) -> None:
        """Fit what preparation and first weights take from data to training normals, given as raw chunks [N, ...].

        Called once, before anything is trained; a detector that takes nothing from data does nothing.
        """

    def check_files(self) -> None:
        """Check the files that `adapt` will read: their names and shapes have to be the network's.

        Called while a run is planned, with weights on the meta device; a detector that reads no file does nothing.
        """

    def inherit(self, teacher: Detector | None) -> None:
        """Take first weights from a trained teacher, if there is one; most detectors take none and do nothing.

        Called once, after `adapt`, for the student and for its control alike, so that both start the same. Where
        weights are on the meta device nothing is taken, and what does not fit is said.
        """

    def forward(self, x: Tensor) -> Outputs:
        """Return the named outputs for prepared input."""
        raise NotImplementedError

    def scored(self, x: Tensor) -> Outputs:
        """Return the outputs that the score is made of, for prepared input.

        They are those of `forward`, unless some are there for training alone and would take memory in use.
        """
        outputs: Outputs = self(x)
        return outputs

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the anomaly score [N] of prepared input from its outputs."""
        raise NotImplementedError

    def calibrate(self, chunks: Iterable[Tensor]) -> None:
        """Fit what the score has beside learned weights to training normals, given as prepared chunks [N, ...].

        The engine calls it where a stage says so, in eval mode and without gradients; a detector whose score has
        nothing to fit does nothing.
        """

    def score(self, raw: Tensor) -> Tensor:
        """Return the anomaly score [N] of raw data, a tensor or an array; higher is more anomalous.

        No gradient is kept; training goes through `forward` and `score_outputs`.
        """
        with torch.no_grad():
            x = self.prepare(torch.as_tensor(raw))
            return self.score_outputs(x, self.scored(x))


class Critic(nn.Module):
    """A discriminator of real and reconstructed input: training only, never counted, never exported."""

    def forward(self, x: Tensor, outputs: Outputs) -> Outputs:
        """Return ``"real_logit"``, ``"fake_logit"`` [N] and ``"real_features"``, ``"fake_features"``."""
        raise NotImplementedError


class Scorer(nn.Module):
    """Raw data to score: the one module that is evaluated, counted, timed and exported."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, raw: Tensor) -> Tensor:
        """Return the anomaly score [N]."""
        return self.detector.score(raw)


@dataclass
class Pair:
    """A detector and its critic, or None where the architecture has none."""

    detector: Detector
    critic: Critic | None = None

    def parts(self) -> dict[str, nn.Module]:
        """Return the modules by the names that updates use."""
        named: dict[str, nn.Module] = {"detector": self.detector}
        if self.critic is not None:
            named["critic"] = self.critic
        return named


@dataclass(frozen=True)
class Interface:
    """The shapes of what one side offers, without the batch dimension: what a strategy plans with.

    ``trainable`` says whether its detector has weights that a step can move.
    """

    outputs: Mapping[str, tuple[int, ...]]
    critic: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    trainable: bool = True


def interface(pair: Pair, raw: Tensor) -> Interface:
    """Return the shapes of a pair's outputs on raw data [N, ...]; nothing is trained or changed."""
    modes = [(module, module.training) for part in pair.parts().values() for module in part.modules()]
    try:
        for part in pair.parts().values():
            part.eval()
        with torch.no_grad():
            x = pair.detector.prepare(raw)
            outputs = pair.detector(x)
            critic = pair.critic(x, outputs) if pair.critic is not None else {}
    finally:
        for module, training in modes:
            module.training = training
    return Interface(
        outputs={SCORE: (), **{name: tuple(value.shape[1:]) for name, value in outputs.items()}},
        critic={name: tuple(value.shape[1:]) for name, value in critic.items()},
        trainable=any(True for _ in pair.detector.parameters()),
    )
