"""One-class data: normals to learn from, normals and anomalies to test with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class OneClassData:
    """Raw data of one detection problem.

    ``train`` and ``validation`` hold normals only, e.g. uint8 images [N, C, H, W]; ``test`` holds both kinds,
    told apart by ``labels`` [N] (0 normal, 1 anomaly). Nothing but the final evaluation reads the labels.
    ``normal_class`` says which problem of a set with several it is: the class that is normal, or a table's name.
    ``notes`` tell the user what was left out or filled in; they are no part of the digest.
    """

    name: str
    normal_class: int | str | None
    train: Tensor
    validation: Tensor
    test: Tensor
    labels: Tensor
    notes: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one raw sample, e.g. (C, H, W)."""
        return tuple(self.train.shape[1:])

    def digest(self) -> str:
        """Return a hash of all samples and labels, so that results name the data that they come from."""
        hasher = hashlib.sha256()
        for part in (self.train, self.validation, self.test, self.labels):
            hasher.update(f"{part.dtype}{tuple(part.shape)}".encode())
            hasher.update(part.contiguous().view(torch.uint8).numpy().data)
        return hasher.hexdigest()
