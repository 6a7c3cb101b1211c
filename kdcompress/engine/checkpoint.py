"""The state of a stage between two epochs, as tensors and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import safetensors.torch
from torch import Tensor, nn

from kdcompress.stage import SideName
from kdcompress.types import Pair


def weights(parts: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return the tensors of parts by their path in a snapshot."""
    return {f"part/{name}/{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}


def kept(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies that no further step changes."""
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}


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

    @classmethod
    def before(cls, stage: int, pairs: Mapping[SideName, Pair]) -> Snapshot:
        """Return the state of pairs that are about to begin a stage."""
        parts = {f"{side}.{name}": part for side, pair in pairs.items() for name, part in pair.parts().items()}
        return cls(stage, 0, kept(weights(parts)), {})

    @property
    def begun(self) -> bool:
        """Say whether the stage has a state of its own, beside the weights that it starts from."""
        return bool(self.state)

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
