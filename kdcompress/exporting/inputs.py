"""What a file is compared on: held-out normals, test samples and inputs beside them, or made-up ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kdcompress import queries
from kdcompress.architectures.rows import RowDetector, evenly
from kdcompress.data.one_class import OneClassData
from kdcompress.exporting.metadata import input_of
from kdcompress.seeding import derive
from kdcompress.types import Detector

FEWEST = 1000
"""Inputs of a comparison, at least."""

MADE_UP = "made-up inputs"
"""How the source of inputs ends that are of no data."""

_NORMALS, _TESTED, _PERTURBED = 400, 800, 400


@dataclass(frozen=True)
class Inputs:
    """What a file is compared on.

    Attributes:
        raw: data [N, ...].
        labels: of those that have one, which come first.
        source: where all of them are from.
        normals: all held-out normals [n, ...], for calibration and thresholds; None where the data are not known.
    """

    raw: Tensor
    labels: Tensor
    source: str
    normals: Tensor | None = None


def of_data(data: OneClassData, where: str) -> Inputs:
    """Return test samples, held-out normals, and perturbed ones: at least 1,000 together."""
    tested, labels = evenly(data.test, _TESTED), evenly(data.labels, _TESTED)
    normals = evenly(data.validation, _NORMALS)
    count = max(_PERTURBED, FEWEST - len(tested) - len(normals))
    kinds = [kind for kind in queries.MAKERS if not queries.unfit([kind], data.input_shape)]
    perturbed = queries.made(kinds, normals, count, derive(0, "parity"))
    source = f"{len(tested)} test samples, {len(normals)} held-out normals and {count} perturbed ones of {where}"
    return Inputs(torch.cat([tested, normals, perturbed]), labels, source, data.validation)


def made_up(detector: Detector, shape: tuple[int, ...], count: int = FEWEST) -> Inputs:
    """Return seeded inputs in the range of the detector's: images of blocks under noise, rows around its normals."""
    generator = torch.Generator().manual_seed(derive(0, "made up"))
    if input_of(shape).dtype == "uint8":
        height, width = shape[1:]
        blocks = torch.rand(count, shape[0], -(-height // 4), -(-width // 4), generator=generator)
        whole = blocks.repeat_interleave(4, 2).repeat_interleave(4, 3)[..., :height, :width]
        noise = torch.rand(count, *shape, generator=generator) * torch.rand(count, 1, 1, 1, generator=generator)
        raw = (255 * (0.5 * whole + 0.5 * noise)).round().to(torch.uint8)
    else:
        spread = 0.25 + 2 * torch.rand(count, *[1] * len(shape), generator=generator)
        raw = spread * torch.randn(count, *shape, generator=generator)
        if isinstance(detector, RowDetector):
            # Each number has its own mean and spread, or all of a channel have one.
            own = shape if detector.scale.numel() == math.prod(shape) else (shape[0], *[1] * (len(shape) - 1))
            raw = raw * detector.scale.cpu().reshape(own) + detector.mean.cpu().reshape(own)
    return Inputs(raw, torch.zeros(0, dtype=torch.int64), f"{count} {MADE_UP}")
