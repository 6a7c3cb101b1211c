"""Features of images: torchvision's networks, up to the level that is used, and detectors that stand on frozen ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdcompress.architectures import pretrained
from kdcompress.architectures.blocks import IMAGENET, Size, image_of, prepared, scaled
from kdcompress.errors import InputError
from kdcompress.pinned import Pinned
from kdcompress.types import Detector

BackboneName: TypeAlias = Literal["resnet18", "resnet34", "wide_resnet50_2", "mobilenet_v3_small", "efficientnet_b0"]

LEVELS = 3
"""Maps of a backbone, at a quarter, an eighth and a sixteenth of the image's side."""

_AT_ONCE = 32
"""Images that go through a frozen network together: its inner maps are larger than all else."""


@dataclass(frozen=True)
class _Form:
    """Which parts of a torchvision network make each level, and the channels that come out."""

    parts: tuple[tuple[str, ...], ...]
    channels: tuple[int, ...]


def _features(*ends: int) -> tuple[tuple[str, ...], ...]:
    return tuple(
        tuple(f"features.{place}" for place in range(begin, end)) for begin, end in itertools.pairwise((0, *ends))
    )


_RESNET = (("conv1", "bn1", "relu", "maxpool", "layer1"), ("layer2",), ("layer3",))
_FORMS: dict[str, _Form] = {
    "resnet18": _Form(_RESNET, (64, 128, 256)),
    "resnet34": _Form(_RESNET, (64, 128, 256)),
    "wide_resnet50_2": _Form(_RESNET, (256, 512, 1024)),
    "mobilenet_v3_small": _Form(_features(2, 4, 9), (16, 24, 48)),
    "efficientnet_b0": _Form(_features(3, 4, 6), (24, 40, 112)),
}


def channels_of(name: BackboneName, width: float = 1.0) -> tuple[int, ...]:
    """Return the channels of a network's levels."""
    return tuple(scaled(channels, width) for channels in _FORMS[name].channels)


def sizes_of(size: Size) -> list[Size]:
    """Return the sizes of the levels' maps, for images of a size."""
    found = [size]
    for _ in range(LEVELS + 1):
        found.append((-(-found[-1][0] // 2), -(-found[-1][1] // 2)))
    return found[2:]


class Pyramid(nn.Module):
    """Image [N, 3, H, W] to the maps of the first levels, with random weights; the parts have torchvision's names.

    ``width`` is a factor on all channels but the image's.
    """

    def __init__(self, name: BackboneName, levels: int = LEVELS, width: float = 1.0) -> None:
        super().__init__()
        # torchvision takes long to load, and only these families need it.
        from torchvision import models

        self.levels = _FORMS[name].parts[:levels]
        # Random depth would make a network of its own of every step.
        options = {"stochastic_depth_prob": 0.0} if name.startswith("efficientnet") else {}
        whole = models.get_model(name, weights=None, **options)
        for path in itertools.chain(*self.levels):
            *above, last = path.split(".")
            place: nn.Module = self
            for step in above:
                if step not in dict(place.named_children()):
                    place.add_module(step, nn.Module())
                place = place.get_submodule(step)
            place.add_module(last, _narrowed(whole.get_submodule(path), width))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return a map [N, C, h, w] for each level, the finest first."""
        maps = []
        for parts in self.levels:
            for path in parts:
                x = self.get_submodule(path)(x)
            maps.append(x)
        return maps


def _narrowed(part: nn.Module, width: float) -> nn.Module:
    """Return a part with its channels scaled and new weights."""
    if isinstance(part, nn.Conv2d):
        return _convolution(part, width)
    if isinstance(part, nn.BatchNorm2d):
        return nn.BatchNorm2d(scaled(part.num_features, width), part.eps, part.momentum)
    for name, child in part.named_children():
        part.add_module(name, _narrowed(child, width))
    return part


class _Thinning(nn.Conv2d):
    """A 1 x 1 convolution of stride 2, over what it looks at: torch's own is not safe to train (see transform_net)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x[..., ::2, ::2], self.weight, self.bias)


def _convolution(one: nn.Conv2d, width: float) -> nn.Conv2d:
    """Return a convolution of scaled channels, drawn as torchvision draws them (He et al., 2015, by fan-out)."""
    each = one.groups > 1  # then each channel is by itself: the networks here have no other groups
    thinning = tuple(one.kernel_size) == (1, 1) and tuple(one.stride) == (2, 2)
    found = (_Thinning if thinning else nn.Conv2d)(
        one.in_channels if one.in_channels == 3 else scaled(one.in_channels, width),
        scaled(one.out_channels, width),
        (one.kernel_size[0], one.kernel_size[1]),
        (one.stride[0], one.stride[1]),
        (int(one.padding[0]), int(one.padding[1])),
        (one.dilation[0], one.dilation[1]),
        scaled(one.groups, width) if each else 1,
        bias=one.bias is not None,
    )
    # By the fan-out of all channels together, depthwise convolutions would shrink what they see to nothing.
    fan = math.prod(found.kernel_size) * (1 if each else found.out_channels)
    nn.init.normal_(found.weight, 0, math.sqrt(2 / fan))
    if found.bias is not None:
        nn.init.zeros_(found.bias)
    return found


class Backbone(nn.Module):
    """A frozen network: all of its weights are buffers, which no update moves, and its norms stay in eval mode.

    They count in MACs and bytes as any others; parameters are what can be trained.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, name: BackboneName, levels: int = LEVELS) -> None:
        super().__init__()
        self.network = Pyramid(name, levels)
        for part in self.network.modules():
            for key, weight in list(part.named_parameters(recurse=False)):
                delattr(part, key)
                part.register_buffer(key, weight.detach())
        # For images in [-1, 1].
        self.register_buffer("mean", 2 * torch.tensor(IMAGENET[0])[:, None, None] - 1)
        self.register_buffer("spread", 2 * torch.tensor(IMAGENET[1])[:, None, None])
        self.train(False)

    def train(self, mode: bool = True) -> Backbone:
        """Stay in eval mode: the statistics are part of the weights."""
        return super().train(False)

    def standard(self, x: Tensor) -> Tensor:
        """Return grey or colour images in [-1, 1] as the network expects them: three channels, ImageNet's scaling."""
        return (x.expand(-1, 3, -1, -1) - self.mean) / self.spread

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the levels' maps of standard images."""
        if torch.compiler.is_exporting():
            whole: list[Tensor] = self.network(x)
            return whole  # in parts, a graph would be of one batch size
        levels = zip(*(self.network(part) for part in x.split(_AT_ONCE)), strict=True)
        return [torch.cat(maps) for maps in levels]


class FeatureDetector(Detector):
    """A detector of images that stands on a frozen backbone."""

    def __init__(
        self,
        image: tuple[int, int, int],
        size: int | None,
        name: BackboneName,
        weights: str | Pinned | None,
        levels: int = LEVELS,
    ) -> None:
        super().__init__()
        self.shown = image[1:]
        self.size = self.shown if size is None else (size, size)
        self.name, self.weights = name, weights
        pretrained.check(name, weights)
        self.backbone = Backbone(name, levels)

    def prepare(self, raw: Tensor) -> Tensor:
        """Scale uint8 images [N, C, H, W] to [-1, 1] and, where the detector's size differs, resize them."""
        return prepared(raw, self.size)

    def adapt(self, chunks: Iterable[Tensor]) -> None:
        """Read the backbone's weights; a bundle has them, so only what is trained needs their file."""
        if self.weights is not None:
            pretrained.fill(self.backbone.network, self.name, self.weights)


def picture_of(family: str, input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (C, H, W).

    Raises:
        InputError: where the input is no grey or colour image of a size that is supported.
    """
    image = image_of(family, input_shape)
    if image[0] not in (1, 3):
        raise InputError(f"{family} takes grey or colour images, of 1 or 3 channels, not of {image[0]}")
    return image


def enlarged(maps: Tensor, size: Size) -> Tensor:
    """Return maps [N, C, h, w] in another size, bilinear."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def distances(maps: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    """Return one less the cosine of the two feature vectors at each place, [N, 1, h, w] for each level.

    It is half of the squared distance of the vectors in unit length, and computed so, in float32: near 0 a difference
    of cosines has no digits left.
    """
    return [
        (F.normalize(one.float()) - F.normalize(other.float())).square().sum(1, keepdim=True) / 2
        for one, other in zip(maps, others, strict=True)
    ]


def by_level(found: Sequence[Tensor]) -> Tensor:
    """Return the mean distance [N, L] of each level."""
    return torch.stack([one.mean((1, 2, 3)) for one in found], 1)
