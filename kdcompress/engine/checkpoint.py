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

    def write(self, checkpoint: bytes, row: dict[str, Any]) -> None:
        """Keep a checkpoint, and the history row of the epoch that it ends."""


@dataclass(frozen=True)
class Snapshot:
    """Tensors by path, after ``epoch`` complete epochs of the stage with index ``stage``."""

    stage: int
    epoch: int
    tensors: dict[str, Tensor]

    def to_bytes(self) -> bytes:
        """Return the snapshot in the safetensors format."""
        metadata = {"state": json.dumps({"stage": self.stage, "epoch": self.epoch})}
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.tensors.items()}
        return safetensors.torch.save(tensors, metadata)

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """Read what `to_bytes` wrote."""
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        state = json.loads(header["__metadata__"]["state"])
        return cls(state["stage"], state["epoch"], safetensors.torch.load(data))

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors below a path, named from there."""
        return {name.removeprefix(prefix): v for name, v in self.tensors.items() if name.startswith(prefix)}
