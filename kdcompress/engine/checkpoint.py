"""The state of a stage between two epochs, as tensors and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

import safetensors.torch
from torch import Tensor


class Slot(Protocol):
    """Where one training's checkpoint is kept; writing replaces the last one or does nothing."""

    def read(self) -> bytes | None:
        """Return the last checkpoint, or None."""

    def write(self, checkpoint: bytes, row: dict[str, Any] | None) -> None:
        """Keep a checkpoint, and the history row of the epoch that it ends; None in the middle of one."""


@dataclass(frozen=True)
class Snapshot:
    """Where a stage stands: tensors by path, after ``epoch`` complete epochs of the stage with index ``stage``.

    ``state`` has the numbers of the epoch under way: ``batch``, ``retries`` and ``seconds``.
    """

    stage: int
    epoch: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Return the snapshot in the safetensors format."""
        metadata = {"state": json.dumps({"stage": self.stage, "epoch": self.epoch, **self.state})}
        return safetensors.torch.save({name: value.contiguous() for name, value in self.tensors.items()}, metadata)

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """Read what `to_bytes` wrote."""
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        state = json.loads(header["__metadata__"]["state"])
        return cls(state.pop("stage"), state.pop("epoch"), safetensors.torch.load(data), state)

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors below a path, named from there."""
        return {name.removeprefix(prefix): v for name, v in self.tensors.items() if name.startswith(prefix)}
