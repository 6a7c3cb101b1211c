"""Images compared piece by piece, where each piece may have moved a little: a memory of normals, and a small one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES, rows
from kdcompress.architectures.blocks import Size, image_of, prepared, scaled
from kdcompress.errors import InputError
from kdcompress.signature import AtMostNormals
from kdcompress.types import Detector, Outputs, Pair

_SAMPLED, _PIXELS = 512, 2**19
"""Normals, and pixels of them, that are looked at beforehand, at most."""

_SHARPNESS = 1.0
"""Of the soft choice of the nearest template at first, times the mean distance of normals from the nearest."""


class _Deformable(Detector):
    """Templates on a grid of places; a place of a template is compared with all places of an image near it.

    What is compared are the first principal components of normals' patches, less their mean, so that brightness does
    not count: edges and corners. A template's distance is the mean over its places of the smallest square distance.
    """

    def __init__(self, channels: int, size: Size, kernel: int, components: int, stride: int, reach: int) -> None:
        super().__init__()
        self.size, self.kernel, self.stride, self.reach = size, kernel, stride, reach
        self.components = components
        self.places = -(-size[0] // stride) * -(-size[1] // stride)
        self.sampled = max(1, min(_SAMPLED, _PIXELS // math.prod(size)))
        self.filters = nn.Conv2d(channels, components, kernel, bias=False)
        _keep(self.filters)

    def prepare(self, raw: Tensor) -> Tensor:
        """Scale uint8 images [N, C, H, W] to [-1, 1] and, where the detector's size differs, resize them."""
        return prepared(raw, self.size)

    def adapt(self, chunks: Iterable[Tensor]) -> None:
        """Take the filters from normals' patches: principal components, in units of their mean square."""
        sampled = rows.evenly(torch.cat([self.prepare(chunk) for chunk in chunks]), self.sampled)
        channels = sampled.shape[1]
        patches = nn.functional.unfold(self._padded(sampled), self.kernel).transpose(1, 2)
        shown = patches.reshape(-1, channels, self.kernel**2).double()
        shown = (shown - shown.mean(2, keepdim=True)).flatten(1)
        found = torch.linalg.eigh(shown.T @ shown / len(shown))
        first = found.eigenvectors.T.flip(0)[: self.components]
        power = found.eigenvalues.flip(0)[: self.components].sum()
        self.filters.weight.copy_((first / power.clamp(min=1e-12).sqrt()).view_as(self.filters.weight))

    def _padded(self, x: Tensor) -> Tensor:
        """Go on at the edges with what is there: an edge of the image is none of what it shows."""
        border = self.kernel // 2
        return nn.functional.pad(x, (border,) * 4, mode="replicate")

    def described(self, x: Tensor) -> Tensor:
        """Return the components at every pixel, [N, K, H, W]."""
        found: Tensor = self.filters(self._padded(x))
        return found

    def templates_of(self, x: Tensor) -> Tensor:
        """Return images as templates [N, places x K, 1], as `matched` has them."""
        found = self.described(x)[:, :, :: self.stride, :: self.stride]
        return found.flatten(2).transpose(1, 2).flatten(1)[:, :, None]

    def squares(self, x: Tensor, matched: nn.Conv1d) -> Tensor:
        """Return how far each place of each template is from the nearest place of an image, [N, places, T]."""
        around = self.described(x)
        reach = 2 * self.reach + 1
        around = nn.functional.pad(around, (self.reach,) * 4)
        around = around.unfold(2, reach, self.stride).unfold(3, reach, self.stride)
        around = around.permute(0, 2, 3, 1, 4, 5).reshape(len(x), self.places, self.components, reach**2)
        # |a - b|^2 = |a|^2 - 2ab + |b|^2: one grouped convolution, a group for each place.
        products = matched(around.flatten(1, 2)).unflatten(1, (self.places, -1))
        nearest = torch.add(around.square().sum(2)[:, :, None], products, alpha=-2).min(3).values
        own = matched.weight.view(self.places, -1, self.components).square().sum(2)
        return (nearest + own).clamp(min=0)

    def _memory(self, count: int) -> nn.Conv1d:
        return nn.Conv1d(self.places * self.components, self.places * count, 1, groups=self.places, bias=False)

    def _remember(self, matched: nn.Conv1d, templates: Tensor) -> None:
        """Put templates [T, places x K, 1] into the weights, where those of a place are together."""
        by_place = templates.view(len(templates), self.places, self.components).transpose(0, 1)
        matched.weight.copy_(by_place.reshape_as(matched.weight))


def _keep(module: nn.Conv1d | nn.Conv2d) -> None:
    """Make a convolution's weights a buffer: no optimiser moves them, and they are counted as before."""
    weight = module.weight.detach()
    del module.weight
    module.register_buffer("weight", weight)


class DeformableNeighbours(_Deformable):
    """A memory of normals as templates; the score is the mean distance from the nearest of them."""

    fitted = True
    exact = ("filters", "memory")

    def __init__(
        self, channels: int, size: Size, kernel: int, components: int, stride: int, reach: int, kept: int, among: int
    ) -> None:
        super().__init__(channels, size, kernel, components, stride, reach)
        self.neighbours = among
        self.memory = self._memory(kept)
        _keep(self.memory)
        self.register_buffer("unused", torch.zeros(kept))

    unused: Tensor

    def forward(self, x: Tensor) -> Outputs:
        """Return ``distance`` [N], the mean distance from the nearest normals."""
        squares = self.squares(x, self.memory).mean(1) + self.unused
        return {"distance": squares.topk(self.neighbours, dim=1, largest=False).values.sqrt().mean(1)}

    def calibrate(self, chunks: Iterable[Tensor]) -> None:
        """Keep training normals: all, or as many as there is room for, evenly from their whole."""
        room = len(self.unused)
        normals = rows.remembered("deformable_neighbours", chunks, room, self.neighbours)
        # Places without a normal are never the nearest: each gets a distance that no image has.
        self.unused.zero_()
        self.unused[len(normals) :] = 1e18
        templates = self.templates_of(normals)
        self._remember(self.memory, torch.cat([templates, templates[:1].expand(room - len(normals), -1, -1)]))

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the mean distance from the nearest normals."""
        return outputs["distance"]


class DeformablePrototypes(_Deformable):
    """A few learned templates; a softly nearest one is what an image is far from or near to."""

    exact = ("filters", "points")

    def __init__(
        self, channels: int, size: Size, kernel: int, components: int, stride: int, reach: int, points: int
    ) -> None:
        super().__init__(channels, size, kernel, components, stride, reach)
        self.points = self._memory(points)
        self.stretch = nn.Parameter(torch.zeros(self.places, points))
        self.offset = nn.Parameter(torch.zeros(points))
        self.sharpness = nn.Parameter(torch.full((), math.log(_SHARPNESS)))
        # Which normals it begins with is drawn here, where the seed decides.
        self.drawn = int(torch.randint(2**31 - 1, (), device="cpu"))

    def adapt(self, chunks: Iterable[Tensor]) -> None:
        """Take the filters from normals, and begin with some of them as templates."""
        found = list(chunks)
        super().adapt(found)
        normals = torch.cat([self.prepare(chunk) for chunk in found])
        wanted = len(self.offset)
        order = torch.randperm(len(normals), generator=torch.Generator().manual_seed(self.drawn))
        chosen = order.repeat(-(-wanted // len(order)))[:wanted]
        self._remember(self.points, self.templates_of(normals[chosen.to(normals.device)]))
        typical = self.squares(normals[order[wanted : wanted + self.sampled]], self.points).mean(1).amin(1)
        if typical.numel() and typical.mean() > 0:
            self.sharpness.copy_((_SHARPNESS / typical.mean()).log())

    def forward(self, x: Tensor) -> Outputs:
        """Return ``centre_distance`` [N], the distance from the softly nearest template.

        ``distance`` [N] is the same with a weight for each place of each template and an offset for each template: what
        the score is made of.
        """
        squares = self.squares(x, self.points)
        return {"centre_distance": self._nearest(squares.mean(1)), "distance": self._nearest(self._own(squares))}

    def scored(self, x: Tensor) -> Outputs:
        """Return ``distance`` alone."""
        return {"distance": self._nearest(self._own(self.squares(x, self.points)))}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the root of the distance."""
        return (outputs["distance"] + 1e-6).sqrt()

    def _own(self, squares: Tensor) -> Tensor:
        """Return the distance from each template [N, T], with its weights and offset."""
        return (squares * self.stretch.exp()).mean(1) + self.offset.square()

    def _nearest(self, distances: Tensor) -> Tensor:
        return (torch.softmax(-distances * self.sharpness.exp(), 1) * distances).sum(1)


_Kernel = Literal[3, 5, 7]
_Components = Annotated[int, Field(ge=1, le=64)]
_Stride = Annotated[int, Field(ge=1, le=32)]
_Reach = Annotated[int, Field(ge=0, le=8)]
_Side = Annotated[int, Field(ge=8, le=256)] | None


def _shape(
    family: str, input_shape: tuple[int, ...], size: int | None, kernel: int, components: int
) -> tuple[int, Size]:
    channels, height, breadth = image_of(family, input_shape)
    most = channels * (kernel**2 - 1)
    if components > most:
        raise InputError(
            f"components: {components} are more than patches of {channels} x {kernel} x {kernel} have "
            f"(allowed: 1 to {most})"
        )
    return channels, (height, breadth) if size is None else (size, size)


@ARCHITECTURES.register("deformable_neighbours")
def deformable_neighbours(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    kept: Annotated[int, Field(ge=1, le=65_536), AtMostNormals()] = 500,
    neighbours: Annotated[int, Field(ge=1, le=1000)] = 5,
    components: _Components = 8,
    kernel: _Kernel = 5,
    stride: _Stride = 4,
    reach: _Reach = 2,
    size: _Side = None,
) -> Pair:
    """Distance of an image from the nearest of the normals that it keeps, whose places may have moved a little.

    The image distortion model (Keysers, Deselaers, Gollan, Ney: Deformation Models for Image Recognition, TPAMI 2007,
    section 3.4) without its first choice by pixels, on principal components of patches in place of Sobel's. It is what
    knows most of handwriting; it is fitted by the strategy ``fitted``. In use it takes about 100 bytes for each normal
    that it keeps and each place, of which 28 x 28 pixels have 49: give large images a ``size`` or a wider ``stride``.

    Args:
        input_shape: (C, H, W) of raw uint8 images.
        width: factor on the normals that are kept.
        kept: normals that are kept at most, at width 1; evenly from all of them.
        neighbours: of which the mean distance is taken.
        components: numbers that describe a patch.
        kernel: side of a patch in pixels.
        stride: pixels from one compared place to the next.
        reach: pixels by which a place may have moved, in both directions.
        size: side to which images are resized first; unset, they stay as they are.

    Raises:
        InputError: for input that is no image, and for more components than a patch has.
    """
    channels, outer = _shape("deformable_neighbours", input_shape, size, kernel, components)
    room = max(scaled(kept, width), neighbours)
    return Pair(DeformableNeighbours(channels, outer, kernel, components, stride, reach, room, neighbours))


@ARCHITECTURES.register("deformable_prototypes")
def deformable_prototypes(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    points: Annotated[int, Field(ge=1, le=65_536)] = 64,
    components: _Components = 4,
    kernel: _Kernel = 3,
    stride: _Stride = 4,
    reach: _Reach = 2,
    size: _Side = None,
) -> Pair:
    """Distance of an image from the nearest of a few learned templates, whose places may have moved a little.

    What `deformable_neighbours` computes, of few templates that are learned, with a weight for each place of each.
    Alone it learns templates that normals are near to.

    Args:
        input_shape: (C, H, W) of raw uint8 images.
        width: factor on the number of templates.
        points: how many templates, at width 1.
        components: numbers that describe a patch.
        kernel: side of a patch in pixels.
        stride: pixels from one compared place to the next.
        reach: pixels by which a place may have moved, in both directions.
        size: side to which images are resized first; unset, they stay as they are.

    Raises:
        InputError: for input that is no image, and for more components than a patch has.
    """
    channels, outer = _shape("deformable_prototypes", input_shape, size, kernel, components)
    return Pair(DeformablePrototypes(channels, outer, kernel, components, stride, reach, scaled(points, width)))
