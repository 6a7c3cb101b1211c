"""The two file formats of the published image sets, read as data: nothing in a file is executed."""

from __future__ import annotations

import itertools
import pickletools
from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor

Part: TypeAlias = tuple[Tensor, Tensor]
"""Images, uint8 [N, C, H, W], and their classes, uint8 [N]."""


def read_idx(blobs: Sequence[bytes]) -> Part:
    """Read an image file and a label file as MNIST has them.

    Raises:
        ValueError: The header is another one, or does not fit the length.
    """
    images, labels = (_idx(blob, dimensions) for blob, dimensions in zip(blobs, (3, 1), strict=True))
    return images.unsqueeze(1), labels


def _idx(blob: bytes, dimensions: int) -> Tensor:
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(blob[at : at + 4], "big") for at in range(4, start, 4)]
    if blob[:4] != bytes([0, 0, 8, dimensions]) or len(blob) != start + torch.Size(shape).numel():
        raise ValueError(f"not an idx file of bytes with {dimensions} dimensions")
    return _tensor(memoryview(blob)[start:]).reshape(shape)


def read_cifar(blobs: Sequence[bytes]) -> Part:
    """Read CIFAR-10's batch files, one after the other.

    Raises:
        ValueError: A file is no such pickle, or its pixels and labels differ in number.
    """
    parts = [_batch(blob) for blob in blobs]
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


def _batch(blob: bytes) -> Part:
    """Read one batch: a pickled dictionary, whose opcodes are listed here and never run.

    The labels are the small integers before the key ``data``, the pixels the first long string after it.
    """
    opcodes = pickletools.genops(blob)
    before = itertools.takewhile(lambda step: step[1] != "data", opcodes)
    labels = bytes(cast(int, argument) for opcode, argument, _ in before if opcode.name == "BININT1")
    at = next((at for opcode, _, at in opcodes if opcode.name == "BINSTRING"), None)
    if at is None:
        raise ValueError("not a batch file of CIFAR-10")
    start = at + 5  # the opcode and four bytes of length come first
    size = int.from_bytes(blob[at + 1 : start], "little")
    if size != len(labels) * 3 * 32 * 32:
        raise ValueError(f"{len(labels)} labels, but {size} bytes of pixels")
    return _tensor(memoryview(blob)[start : start + size]).reshape(-1, 3, 32, 32), _tensor(labels)


def _tensor(values: bytes | memoryview) -> Tensor:
    # A bytearray, because a tensor can be written to and bytes must not be.
    return torch.frombuffer(bytearray(values), dtype=torch.uint8)
