"""How a network of somebody else's is asked: what it sees of raw data, and what of its outputs is the score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from kdcompress.architectures.blocks import IMAGENET
from kdcompress.errors import InputError, unknown
from kdcompress.types import Outputs

Scale: TypeAlias = Literal["raw", "unit", "symmetric", "imagenet"]


@dataclass(frozen=True)
class Distance:
    """The score is the mean squared difference of two outputs."""

    distance: tuple[str, str]


@dataclass(frozen=True)
class Reconstruction:
    """The score is the mean squared difference of an output and the input."""

    reconstruction: str


NAMES = "an output's name: output, or output.0, output.1, ... of a tuple"


def _by_names(given: Any) -> Any:  # noqa: ANN401
    """Refuse numbers with what the outputs are called."""
    inner = list(given.values()) if isinstance(given, Mapping) else [given]
    for one in [each for some in inner for each in (some if isinstance(some, list | tuple) else [some])]:
        if isinstance(one, int | float):
            raise ValueError(f"{one} is not {NAMES}")  # noqa: TRY004 - what pydantic's validators have to raise
    return given


Score: TypeAlias = Annotated[str | Distance | Reconstruction, BeforeValidator(_by_names)]
"""An output's name, or how the score comes from one or two of them."""


@dataclass(frozen=True)
class Preparation:
    """What a network sees of raw data.

    Attributes:
        scale: ``unit`` brings uint8 data to [0, 1], ``symmetric`` to [-1, 1], ``imagenet`` to ImageNet's mean and
            spread of each channel; ``raw`` leaves numbers as they are.
        size: side of the square that images are resized to; None: as they are.
        channels: grey images are repeated to three, colour ones averaged to one; None: as they are.
    """

    scale: Scale = "unit"
    size: Annotated[int, Field(ge=1, le=4096)] | None = None
    channels: Literal[1, 3] | None = None

    def __call__(self, raw: Tensor) -> Tensor:
        """Return what the network sees of raw data [N, ...].

        Raises:
            InputError: where raw data are no images and something here is for images alone.
        """
        x = raw.to(torch.float32)
        if raw.dtype == torch.uint8 and self.scale != "raw":
            x = x / 255
        if raw.ndim != 4 and (self.size is not None or self.channels is not None or self.scale == "imagenet"):
            raise InputError(
                f"preparation: size, channels and imagenet are for images, not for samples of shape {raw.shape[1:]}"
            )
        if self.channels == 3 and x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        if self.channels == 1 and x.shape[1] == 3:
            x = x.mean(1, keepdim=True)
        if self.size is not None and x.shape[-2:] != (self.size, self.size):
            x = nn.functional.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        if self.scale == "symmetric" and raw.dtype == torch.uint8:
            x = 2 * x - 1
        if self.scale == "imagenet":
            mean, spread = (torch.tensor(one, device=x.device)[:, None, None] for one in IMAGENET)
            x = (x - mean) / spread
        return x


def named(found: Any) -> dict[str, Tensor]:  # noqa: ANN401
    """Return what a network returned by names: a mapping's own, else ``output``, or ``output.0``, ``output.1``, ...

    Raises:
        InputError: where there is no tensor in it.
    """
    if isinstance(found, Tensor):
        return {"output": found}
    if isinstance(found, Mapping):
        kept = {str(name): one for name, one in found.items() if isinstance(one, Tensor)}
    elif isinstance(found, tuple | list):
        kept = {f"output.{place}": one for place, one in enumerate(found) if isinstance(one, Tensor)}
    else:
        kept = {}
    if not kept:
        raise InputError(
            f"the network returned {type(found).__name__} without a tensor in it (allowed: a tensor, or "
            "a tuple, a list or a mapping of tensors)"
        )
    return kept


def offered(outputs: Mapping[str, Tensor], score: Score) -> dict[str, Tensor]:
    """Return outputs with those that a score is made of under the names that losses know, too.

    Raises:
        InputError: where one of them is not there.
    """
    found = dict(outputs)
    aliases = {"score_output": score} if isinstance(score, str) else {}
    if isinstance(score, Distance):
        aliases = dict(zip(("latent", "latent_of_reconstruction"), score.distance, strict=True))
    if isinstance(score, Reconstruction):
        aliases = {"reconstruction": score.reconstruction}
    for alias, name in aliases.items():
        if name not in outputs:
            raise InputError(f"score: {unknown('output', name, outputs)}")
        if alias != "score_output":
            found.setdefault(alias, outputs[name])
    return found


def scored(x: Tensor, outputs: Outputs, score: Score) -> Tensor:
    """Return the score [N] that outputs give.

    Raises:
        InputError: where they do not have the shape for it.
    """
    if isinstance(score, str):
        found = outputs[score]
        if found.ndim == 2 and found.shape[1] == 1:
            found = found.squeeze(1)
        if found.ndim != 1:
            every = ", ".join(f"{name} {list(value.shape)}" for name, value in outputs.items())
            raise InputError(
                f"score: output '{score}' is {list(found.shape)}, not one number for each of the samples (allowed: an "
                "output [N] or [N, 1], {distance: [ONE, OTHER]} of two outputs, {reconstruction: ONE} of one and the "
                f"input; there are: {every})"
            )
        return found
    one = x if isinstance(score, Reconstruction) else outputs[score.distance[0]]
    other = outputs[score.reconstruction if isinstance(score, Reconstruction) else score.distance[1]]
    if one.shape != other.shape:
        what = "input" if isinstance(score, Reconstruction) else f"output '{score.distance[0]}'"
        raise InputError(f"score: {what} is {list(one.shape)} and what it is compared with {list(other.shape)}")
    return (one - other).square().flatten(1).mean(1)
