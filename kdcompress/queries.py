"""Inputs beside the normals, made from training normals alone, on which a teacher is asked too.

A student that has seen normals only need not agree with its teacher on anomalies. Every kind takes raw data [N, ...] as
detectors do, uint8 images [N, C, H, W] or rows of numbers [N, D], and gives as many samples of the same type and range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Query: TypeAlias = Literal["noise", "mixes", "shuffles", "uniform", "pasted", "turns"]
_Make: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]

_REACH = 0.5
"""How far mixes go beyond two samples, and uniform ones beyond the range: a share of the distance, or of the range."""


def made(kinds: Sequence[str], normals: Tensor, count: int, seed: int) -> Tensor:
    """Return so many queries of the kinds in turn; the same ones for the same seed and normals."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for place, kind in enumerate(kinds):
        own = count // len(kinds) + (place < count % len(kinds))
        if own:
            base = normals[torch.randint(len(normals), (own,), generator=generator)]
            parts.append(_as(normals, MAKERS[kind](base.float(), generator)))
    return torch.cat(parts)


def unfit(kinds: Sequence[str], shape: tuple[int, ...]) -> str:
    """Say why samples of a shape cannot have one of these kinds; an empty string where they can."""
    images = [kind for kind in kinds if kind in IMAGES_ONLY]
    if images and len(shape) != 3:
        allowed = ", ".join(kind for kind in MAKERS if kind not in IMAGES_ONLY)
        return f"'{images[0]}' is for images, not for samples of shape {shape} (allowed: {allowed})"
    if "turns" in kinds and len(shape) == 3 and shape[1] != shape[2]:
        return f"'turns' is for square images, not for {shape[1]} x {shape[2]}"
    return ""


def _as(normals: Tensor, values: Tensor) -> Tensor:
    """Return values in the type of the normals; images keep to their range."""
    return values.round().clamp(0, 255).to(normals.dtype) if normals.dtype == torch.uint8 else values.to(normals.dtype)


def _uniform(base: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    """Return a number for each sample, in a shape that goes with it."""
    return low + (high - low) * torch.rand(len(base), *[1] * (base.ndim - 1), generator=generator)


def noise(base: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise of up to one standard deviation of each feature; the strength varies from sample to sample."""
    spread = base.std(0, correction=0)
    return base + _uniform(base, generator, 0, 1) * spread * torch.randn(base.shape, generator=generator)


def mixes(base: Tensor, generator: torch.Generator) -> Tensor:
    """Points on the line through two samples, between them or up to half of their distance beyond."""
    other = base[torch.randperm(len(base), generator=generator)]
    return torch.lerp(base, other, _uniform(base, generator, -_REACH, 1 + _REACH))


def shuffles(base: Tensor, generator: torch.Generator) -> Tensor:
    """A random part of each sample's features, or of an image's sixteen patches, from other samples.

    What goes together does so no more, while each feature keeps its distribution (Shi and Horvath, 2006).
    """
    donors = torch.rand(base.shape[0], *_cells(base), generator=generator).argsort(0)
    taken = torch.rand(base.shape[0], *_cells(base), generator=generator) < _flat(base, generator)
    if base.ndim != 4:
        return torch.where(taken, base.gather(0, donors), base)
    height, width = base.shape[2:]
    rows, columns = torch.arange(height) * 4 // height, torch.arange(width) * 4 // width
    source = donors[:, rows][:, :, columns]
    others = base.permute(0, 2, 3, 1)[source, torch.arange(height)[:, None], torch.arange(width)]
    return torch.where(taken[:, rows][:, :, columns][:, None], others.permute(0, 3, 1, 2), base)


def _cells(base: Tensor) -> tuple[int, ...]:
    return (4, 4) if base.ndim == 4 else tuple(base.shape[1:])


def _flat(base: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(len(base), *[1] * len(_cells(base)), generator=generator)


def uniform(base: Tensor, generator: torch.Generator) -> Tensor:
    """Every feature by itself, evenly over its range and a half of it beyond at both ends."""
    low, high = base.amin(0), base.amax(0)
    reach = _REACH * (high - low)
    return low - reach + (high - low + 2 * reach) * torch.rand(base.shape, generator=generator)


def pasted(base: Tensor, generator: torch.Generator) -> Tensor:
    """Images with a patch of another one at another place (CutPaste; Li et al., CVPR 2021)."""
    found = base.clone()
    height, width = base.shape[2:]
    donors = torch.randperm(len(base), generator=generator)
    for index, donor in enumerate(donors.tolist()):
        tall, wide = (
            1 + int(torch.randint(side // 8, max(side // 2, side // 8 + 1), (), generator=generator))
            for side in (height, width)
        )
        (top, left), (down, right) = (
            (
                int(torch.randint(height - tall + 1, (), generator=generator)),
                int(torch.randint(width - wide + 1, (), generator=generator)),
            )
            for _ in range(2)
        )
        found[index, :, top : top + tall, left : left + wide] = base[donor, :, down : down + tall, right : right + wide]
    return found


def turns(base: Tensor, generator: torch.Generator) -> Tensor:
    """Square images turned by one to three quarters."""
    quarters = torch.randint(1, 4, (len(base),), generator=generator)
    found = base.clone()
    for count in range(1, 4):
        found[quarters == count] = base[quarters == count].rot90(count, (2, 3))
    return found


MAKERS: dict[str, _Make] = {
    "noise": noise,
    "mixes": mixes,
    "shuffles": shuffles,
    "uniform": uniform,
    "pasted": pasted,
    "turns": turns,
}
"""What makes each kind, given as many normals [N, ...] in float32 as there shall be queries."""

IMAGES_ONLY = frozenset({"pasted", "turns"})
