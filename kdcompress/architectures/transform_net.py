"""A network that tells which transformation was applied to an image: one that it cannot tell is an anomaly."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.answers import odds, unlikelihood
from kdcompress.architectures.blocks import image_of, ladder, prepared, scaled
from kdcompress.architectures.dirichlet import fitted
from kdcompress.architectures.whitening import covariance, inverse_root
from kdcompress.errors import InputError
from kdcompress.signature import Later
from kdcompress.types import Detector, Outputs, Pair

Transforms: TypeAlias = Literal[
    "rotations", "shifts", "rotations_shifts", "flips", "rotations_flips", "rotations_shifts_flips"
]
Score: TypeAlias = Literal["likelihood", "combined", "standardised", "dirichlet"]
_SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
"""Directions of a shift by a quarter of the side: none, right, left, down, up."""


_FAR = 0.5
"""How much the distance counts beside the log-odds in a standardised score: it tells less where a network is narrow."""
_NEAREST = 1e-6
"""A squared distance below which normals, whose mean is about 1, do not differ."""


class Residual(nn.Module):
    """Two convolutions beside a shortcut, norms and activations first (He et al., ECCV 2016), halving the map."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.begin = nn.Sequential(nn.BatchNorm2d(inner), nn.ReLU())
        # Pooled first (He et al., CVPR 2019): torch 2.14 on AVX2 corrupts memory in the gradient of a 1 x 1 convolution
        # of stride 2 on a few channels, channels-last.
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(inner, outer, 1, bias=False))
        self.body = nn.Sequential(
            nn.Conv2d(inner, outer, 3, 2, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, 1, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of half the size."""
        x = self.begin(x)
        found: Tensor = self.body(x) + self.shortcut(x)
        return found


class TransformNet(Detector):
    """Image to the log-odds of each transformation, for each transformation of it; all passes are part of the score."""

    exact = ("metric",)
    typical: Tensor
    shares: Tensor

    def __init__(
        self,
        channels: Sequence[int],
        stem: int,
        size: tuple[int, int],
        transforms: Transforms,
        jitter: int,
        flip: bool,
        score: Score,
        passes: int | None,
    ) -> None:
        super().__init__()
        self.size, self.jitter, self.flip = size, jitter, flip
        self.transforms = _applied(transforms)
        self.passes = passes or len(self.transforms)
        levels = [Residual(inner, outer) for inner, outer in itertools.pairwise([stem, *channels[1:]])]
        self.network = nn.Sequential(
            nn.Conv2d(channels[0], stem, 3, 1, 1, bias=False),
            *levels,
            nn.BatchNorm2d(channels[-1]),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels[-1], len(self.transforms)),
        )
        self.metric: nn.Linear | None = None
        self.fitted = score != "likelihood"
        self.concentrated, self.standardised = score == "dirichlet", score == "standardised"
        if self.concentrated:
            # Until it is calibrated the score is the likelihood.
            self.register_buffer("shares", torch.eye(self.passes, len(self.transforms)) / self.passes)
        if score in ("combined", "standardised"):
            features = channels[-1] * self.passes
            self.metric = nn.Linear(features, features)
            # Until it is calibrated the distance is 0, and the score that of the likelihood.
            nn.init.zeros_(self.metric.weight)
            nn.init.zeros_(self.metric.bias)
            self.register_buffer("typical", torch.ones(2))

    def prepare(self, raw: Tensor) -> Tensor:
        """Scale uint8 images [N, C, H, W] to [-1, 1] and, where the detector's size differs, resize them."""
        return prepared(raw, self.size)

    def forward(self, x: Tensor) -> Outputs:
        """Return ``logits`` [N, P, T]: what the network says, last, to each of P transformations of T.

        ``features`` [N, P, C] is what it judges by. In training P is T; else it is ``passes``, the first ones. Where
        the score has it, also ``distance`` [N]: the mean squared distance of the features of these passes from those
        of normals, after whitening. In training, images are shifted at random by up to ``jitter`` pixels and, with
        ``flip``, mirrored first.
        """
        count = len(self.transforms) if self.training else self.passes
        features = self._features(self._varied(x) if self.training else x, count)
        outputs = {"logits": self.network[-1](features), "features": features}
        if self.metric is not None:
            outputs["distance"] = self.metric(features[:, : self.passes].flatten(1)).square().mean(1)
        return outputs

    def calibrate(self, chunks: Iterable[Tensor]) -> None:
        """Fit what the score has beside weights to normals.

        Of a ``combined`` score the distance, and the two parts' shares: each part is 1 in the mean; of a
        ``standardised`` one the spread of each. The features of all passes are whitened together (Ledoit and Wolf's
        covariance), so that the distance is Mahalanobis's, as Lee et al. (NeurIPS 2018) take it of a classifier's
        features.
        """
        if self.concentrated:
            logs = torch.cat([F.log_softmax(self.network[-1](self._features(x, self.passes)), 2) for x in chunks])
            self.shares.copy_((fitted(logs) - 1) / self.passes)
        if self.metric is None:
            return
        passes = [self._features(x, self.passes) for x in chunks]
        features = torch.cat([one.flatten(1) for one in passes]).double()
        if len(features) < 2 or not features.var(dim=0).any():
            return  # collapsed, or a single sample: no direction differs from another
        white, _ = inverse_root(covariance(features))
        self.metric.weight.copy_(white)
        self.metric.bias.copy_(-white @ features.mean(0))
        logits = torch.cat([self.network[-1](one) for one in passes])
        distances = torch.cat([self.metric(one.flatten(1)).square().mean(1) for one in passes])
        parts = torch.stack(self._parts(logits, distances)).double()
        typical = parts.std(1) if self.standardised else parts.mean(1)
        self.typical.copy_(typical.clamp(min=torch.finfo(torch.float32).tiny))

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the mean negative log-likelihood of the right transformations (Golan and El-Yaniv, NeurIPS 2018).

        A ``combined`` score is the mean of this and the distance, each divided by its mean over normals. A
        ``standardised`` score is the mean of the log-odds of the wrong transformations and, with half the weight, of
        the distance's logarithm, each divided by its standard deviation over normals: both go on growing where a
        network is sure. A ``dirichlet`` score is how unlikely the answers to all transformations are under the
        distributions that normals' follow, up to what is the same for all (eq. 3 there), divided by the number of
        transformations.
        """
        if self.concentrated:
            return -(F.log_softmax(outputs["logits"], 2) * self.shares).sum((1, 2))
        if self.metric is None:
            return unlikelihood(outputs["logits"])
        likely, far = self._parts(outputs["logits"], outputs["distance"])
        weight = _FAR if self.standardised else 1.0
        return (likely / self.typical[0] + weight * far / self.typical[1]) / (1 + weight)

    def _parts(self, logits: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two parts of a score [N] that has two, before they are brought to a unit of theirs."""
        if not self.standardised:
            return unlikelihood(logits), distance
        return odds(logits[:, : self.passes]), distance.clamp(min=_NEAREST).log()

    def _features(self, x: Tensor, count: int) -> Tensor:
        """Return what the network makes of each of the first transformed images before it judges, [N, P, C]."""
        if count == 1:
            single: Tensor = self.network[:-1](self._transformed(x, *self.transforms[0]))
            return single[:, None]
        passes = torch.stack([self._transformed(x, *one) for one in self.transforms[:count]], 1)
        features: Tensor = self.network[:-1](passes.flatten(0, 1)).unflatten(0, (-1, count))
        return features

    def _transformed(self, x: Tensor, mirrored: bool, turns: int, shift: tuple[int, int]) -> Tensor:
        side = self.size[0]
        if mirrored:
            x = x.flip(3)
        quarter = side // 4
        if shift != (0, 0):
            down, right = (quarter * (1 - step) for step in shift)
            padded = F.pad(x, (quarter,) * 4, mode="reflect")
            x = padded[..., down : down + side, right : right + side]
        return torch.rot90(x, turns, (2, 3))

    def _varied(self, x: Tensor) -> Tensor:
        if self.jitter:
            count, _, height, width = x.shape
            padded = F.pad(x, (self.jitter,) * 4, mode="reflect")
            down, right = torch.randint(0, 2 * self.jitter + 1, (2, count, 1), device=x.device)
            rows = (down + torch.arange(height, device=x.device))[:, :, None]
            columns = (right + torch.arange(width, device=x.device))[:, None, :]
            x = padded[torch.arange(count, device=x.device)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
        if self.flip:
            mirrored = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
            x = torch.where(mirrored, x.flip(3), x)
        return x


def _applied(transforms: Transforms) -> tuple[tuple[bool, int, tuple[int, int]], ...]:
    """Return of each transformation whether it mirrors, its quarter turns and its direction of shift."""
    mirrors = (False, True) if "flips" in transforms else (False,)
    turns = range(4) if "rotations" in transforms else range(1)
    shifts = _SHIFTS if "shifts" in transforms else _SHIFTS[:1]
    return tuple(itertools.product(mirrors, turns, shifts))


@ARCHITECTURES.register("transform_net")
def transform_net(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    base: Annotated[int, Field(ge=1, le=1024)] = 32,
    depth: Annotated[int, Field(ge=1, le=6)] = 3,
    transforms: Transforms = "rotations",
    jitter: Annotated[int, Field(ge=0, le=16)] = 0,
    flip: bool = False,
    size: Annotated[int, Field(ge=8, le=256)] | None = None,
    score: Annotated[Score, Later()] = "likelihood",
    passes: Annotated[int, Field(ge=1, le=40), Later()] | None = None,
) -> Pair:
    """Residual network that tells how an image was transformed; the score is how badly it does.

    GEOM (Golan and El-Yaniv, NeurIPS 2018) with the transformations of RotNet (Gidaris et al., ICLR 2018) or more. The
    score needs a pass for each transformation that it takes, and all of these are counted. Images from 1 x 8 x 8 to
    4 x 256 x 256, square unless ``size`` makes them so. What looks the same transformed, as some digits do, is beyond
    it.

    Args:
        input_shape: (C, H, W) of the raw uint8 images.
        width: factor on every inner channel.
        base: channels of the first level at width 1; they double from level to level up to eight times.
        depth: number of residual blocks, each halving the map.
        transforms: quarter turns (4), shifts by a quarter of the side (5, with none), mirroring (2, with none), or
            several of them (8, 20, 40).
        jitter: in training, images are shifted at random by up to so many pixels first.
        flip: in training, images are mirrored at random first.
        size: side to which images are resized first; unset, they stay as they are.
        score: how unlikely the right answers are, or, combined, also how far the features lie from those of normals,
            or, standardised, the log-odds of the wrong answers and the logarithm of that distance, or, dirichlet, how
            unlikely all answers are among those to normals. All but the first are fitted by a stage that calibrates.
        passes: how many of the transformations a score takes, the first ones; the others are for training. Unset, all.

    Raises:
        InputError: for input that is no square image of a supported size.
    """
    image = image_of("transform_net", input_shape)
    if size is None and image[1] != image[2]:
        raise InputError(
            f"transform_net turns images: they have to be square, not {image[1]} x {image[2]}; give a size"
        )
    side = size or image[1]
    if side < 2**depth:
        deepest = side.bit_length() - 1
        raise InputError(
            f"transform_net: depth {depth} is too much for images of side {side} (allowed: 1 to {deepest})"
        )
    if jitter >= side:
        raise InputError(
            f"transform_net: jitter {jitter} is too much for images of side {side} (allowed: 0 to {side - 1})"
        )
    if flip and "flips" in transforms:
        raise InputError("transform_net: flip mirrors at random what is to be told apart (allowed with flips: false)")
    count = len(_applied(transforms))
    if passes is not None and passes > count:
        raise InputError(f"transform_net: passes {passes} of {count} transformations (allowed: 1 to {count})")
    channels = [image[0], *ladder(base, depth, width)]
    return Pair(TransformNet(channels, scaled(base, width), (side, side), transforms, jitter, flip, score, passes))
