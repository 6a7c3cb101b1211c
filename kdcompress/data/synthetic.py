"""Images made on the spot, for tests and first steps."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from kdcompress.data import DATASETS
from kdcompress.data.one_class import OneClassData
from kdcompress.data.split import Share, hold_out, validation_size
from kdcompress.seeding import derive

_NOISE = 0.04
_CONTRAST = (0.02, 0.4)


@DATASETS.register("synthetic")
def synthetic(
    *,
    channels: Annotated[int, Field(ge=1, le=64)] = 1,
    height: Annotated[int, Field(ge=4, le=1024)] = 16,
    width: Annotated[int, Field(ge=4, le=1024)] = 16,
    train: Annotated[int, Field(ge=2)] = 256,
    test: Annotated[int, Field(ge=2)] = 256,
    validation: Share = 0.25,
    seed: Annotated[int, Field(ge=0)] = 0,
) -> OneClassData:
    """Blobs against blobs under a grating, made on the spot for tests.

    uint8 [N, C, H, W]. A normal image is one soft blob whose place, size and brightness vary, with a little
    noise; an anomaly is such an image under a grating of any direction and of faint to clear contrast.
    Of the ``test`` images, half (rounded down) are anomalies and come last.

    Args:
        channels: of an image.
        height: of an image.
        width: of an image.
        train: number of normals before the share ``validation`` is held out.
        test: number of test images.
        validation: share of the training normals that is held out.
        seed: of the data; the seed of the run changes nothing here.
    """
    held_count = validation_size("synthetic", train, validation)
    shape = (channels, height, width)
    kept, held = hold_out(range(train), held_count, "data", "synthetic", "validation")
    normals = _to_bytes(_blobs(train, shape, _generator(seed, "train")), _generator(seed, "train", "noise"))
    tested = _blobs(test, shape, _generator(seed, "test"))
    labels = (torch.arange(test) >= test - test // 2).long()
    tested = tested + labels.reshape(-1, 1, 1, 1) * _gratings(test, shape, _generator(seed, "gratings"))
    return OneClassData(
        name="synthetic",
        normal_class=None,
        train=normals[kept],
        validation=normals[held],
        test=_to_bytes(tested, _generator(seed, "test", "noise")),
        labels=labels,
    )


def _generator(seed: int, *purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, "data", "synthetic", *purpose))


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Return numbers in [low, high) as [N, 1, 1, 1]."""
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)


def _grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the rows [H, 1] and columns [1, W], both over [0, 1]."""
    return torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None, :]


def _blobs(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Return one blob an image, in [0, 0.8]; later channels are darker."""
    channels, height, width = shape
    rows, columns = _grid(height, width)
    row, column = _uniform(count, 0.4, 0.6, generator), _uniform(count, 0.4, 0.6, generator)
    radius, brightness = _uniform(count, 0.2, 0.3, generator), _uniform(count, 0.6, 0.8, generator)
    distance = (rows - row) ** 2 + (columns - column) ** 2
    tint = torch.linspace(1, 0.5, channels).reshape(1, channels, 1, 1)
    return tint * brightness * torch.exp(-distance / (2 * radius**2))


def _gratings(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Return gratings [N, 1, H, W] around 0; the contrast is from peak to trough."""
    rows, columns = _grid(*shape[1:])
    angle, phase = _uniform(count, 0, math.pi, generator), _uniform(count, 0, 2 * math.pi, generator)
    periods, contrast = _uniform(count, 2, 4, generator), _uniform(count, *_CONTRAST, generator)
    across = rows * angle.sin() + columns * angle.cos()
    return contrast / 2 * torch.sin(2 * math.pi * periods * across + phase)


def _to_bytes(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return uint8 images with noise, for images whose range is about [0, 1]."""
    noisy = images + 0.1 + _NOISE * torch.randn(images.shape, generator=generator)
    return (noisy.clamp(0, 1) * 255).round().to(torch.uint8)
