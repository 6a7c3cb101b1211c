"""Features rebuilt from a narrow code of them: a decoder that saw normals alone cannot rebuild an anomaly's."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.backbone import (
    BackboneName,
    FeatureDetector,
    by_level,
    channels_of,
    distances,
    enlarged,
    picture_of,
    sizes_of,
)
from kdcompress.architectures.blocks import Size, scaled
from kdcompress.architectures.pretrained import Weights
from kdcompress.pinned import Pinned
from kdcompress.types import Outputs, Pair

_CODE_BLOCKS = 2

_MOST = (128, 256, 512)
"""Channels of the trained levels at most: those of networks with narrow inner layers are too many for plain blocks."""


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels))


class _Residual(nn.Module):
    """Two convolutions beside a shortcut (He et al., CVPR 2016), which ``first`` and ``shortcut`` resize alike."""

    def __init__(self, first: nn.Module, shortcut: nn.Module, channels: int) -> None:
        super().__init__()
        second = _normed(nn.Conv2d(channels, channels, 3, 1, 1, bias=False))
        self.body, self.shortcut = nn.Sequential(first, nn.ReLU(), second), shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return the resized map."""
        return F.relu(self.body(x) + self.shortcut(x))


def _halving(inner: int, outer: int) -> _Residual:
    first = _normed(nn.Conv2d(inner, outer, 3, 2, 1, bias=False))
    # Pooled first: see transform_net.
    pooled = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), _normed(nn.Conv2d(inner, outer, 1, bias=False)))
    return _Residual(first, pooled, outer)


def _doubling(inner: int, outer: int) -> _Residual:
    first, shortcut = (_normed(nn.ConvTranspose2d(inner, outer, 2, 2, bias=False)) for _ in range(2))
    return _Residual(first, shortcut, outer)


class _Bottleneck(nn.Module):
    """The frozen maps, brought to the coarsest one's size and side by side, to one code at half of that."""

    def __init__(self, frozen: Sequence[int], inner: Sequence[int], code: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList()
        for level, channels in enumerate(frozen[:-1]):
            steps: list[nn.Module] = []
            for one, other in itertools.pairwise([channels, *inner[level + 1 :]]):
                steps += [_normed(nn.Conv2d(one, other, 3, 2, 1, bias=False)), nn.ReLU()]
            self.paths.append(nn.Sequential(*steps))
        fused = inner[-1] * (len(frozen) - 1) + frozen[-1]
        more = [
            _Residual(_normed(nn.Conv2d(code, code, 3, 1, 1, bias=False)), nn.Identity(), code)
            for _ in range(_CODE_BLOCKS - 1)
        ]
        self.code = nn.Sequential(_halving(fused, code), *more)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the code [N, C, h, w]."""
        coarse = [path(one) for path, one in zip(self.paths, maps[:-1], strict=True)]
        found: Tensor = self.code(torch.cat([*coarse, maps[-1]], 1))
        return found


class _Decoder(nn.Module):
    """The code to maps like the frozen ones, the coarsest first."""

    def __init__(self, code: int, inner: Sequence[int], frozen: Sequence[int], sizes: Sequence[Size]) -> None:
        super().__init__()
        self.sizes = tuple(sizes[::-1])
        widths = [code, *inner[::-1]]
        self.steps = nn.ModuleList(_doubling(one, other) for one, other in itertools.pairwise(widths))
        self.heads = nn.ModuleList(nn.Conv2d(own, its, 1) for own, its in zip(inner[::-1], frozen[::-1], strict=True))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps, the finest first."""
        maps = []
        for step, head, (height, width) in zip(self.steps, self.heads, self.sizes, strict=True):
            x = step(x)[..., :height, :width]
            maps.append(head(x))
        return maps[::-1]


class ReverseDistillation(FeatureDetector):
    """A frozen encoder, and a trained bottleneck and decoder; the anomaly map is the sum of the levels' distances."""

    def __init__(
        self,
        image: tuple[int, int, int],
        size: int | None,
        name: BackboneName,
        weights: str | Pinned | None,
        width: float,
    ) -> None:
        super().__init__(image, size, name, weights)
        frozen = channels_of(name)
        full = [min(channels, most) for channels, most in zip(frozen, _MOST, strict=True)]
        inner, code = [scaled(channels, width) for channels in full], scaled(2 * full[-1], width)
        self.bottleneck = _Bottleneck(frozen, inner, code)
        self.decoder = _Decoder(code, inner, frozen, sizes_of(self.size))

    def forward(self, x: Tensor) -> Outputs:
        """Return ``feature_distance`` [N, L], each level's mean distance between rebuilt and frozen features.

        ``anomaly_map`` [N, 1, H, W] is the sum over levels, in the raw image's size.
        """
        maps = self.backbone(self.backbone.standard(x))
        found = distances(self.decoder(self.bottleneck(maps)), maps)
        levels = torch.cat([enlarged(one, self.shown) for one in found], 1)
        return {"feature_distance": by_level(found), "anomaly_map": levels.sum(1, keepdim=True)}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the largest value of the anomaly map (Deng and Li, CVPR 2022, section 3.4)."""
        return outputs["anomaly_map"].amax((1, 2, 3))


@ARCHITECTURES.register("reverse_distillation")
def reverse_distillation(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    backbone: BackboneName = "resnet18",
    weights: Weights = None,
    size: Annotated[int, Field(ge=16, le=256)] | None = None,
) -> Pair:
    """Decoder that rebuilds a frozen network's features from a narrow code; the score is its error at the worst place.

    Reverse distillation (Deng and Li, CVPR 2022) without its smoothing of the map. Bottleneck and decoder are of plain
    residual blocks, whatever the backbone is, and each rebuilt map goes through a 1 x 1 convolution, so that they may
    have any width. Trained alone by the strategy ``response``. Grey and colour images from 8 x 8 to 256 x 256.

    Args:
        input_shape: (C, H, W) of the raw uint8 images.
        width: factor on the channels of bottleneck and decoder; the backbone stays.
        backbone: torchvision's network whose features are rebuilt.
        weights: its weights, a file (.safetensors, or a state dict by torch.save) or torchvision:NAME, as
            torchvision:DEFAULT; unset, random ones. A file counts by its content, a name by itself.
        size: side to which images are resized first; unset, they stay as they are.

    Raises:
        InputError: for input that is no image of a supported size, or weights that torchvision does not have.
    """
    return Pair(ReverseDistillation(picture_of("reverse_distillation", input_shape), size, backbone, weights, width))
