"""An exported model as a detector: frozen, batched, and in the bundle as the bytes that it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, TypeAlias, TypeVar

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from kdcompress.architectures.foreign import Foreign, foreign, registered
from kdcompress.architectures.scoring import Preparation, Score, offered, scored
from kdcompress.errors import InputError
from kdcompress.pinned import Pinned, pinned
from kdcompress.types import Detector, Outputs

T = TypeVar("T", bound="FileModel")
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Sized(Pinned):
    """A file whose size is known too: a bundle that is loaded has to know how large a graph it holds."""

    bytes: Annotated[int, Field(ge=0)] | None = None


def sized(given: str | Sized) -> Sized:
    """Return a file as an option names it with hash and size, which are found where they are not given."""
    named = Sized(given) if isinstance(given, str) else given
    if named.sha256 is not None and named.bytes is not None:
        return named
    known = pinned(Pinned(named.file, named.sha256))
    try:
        return Sized(known.file, known.sha256, len(known.read()))
    except InputError as error:
        raise ValueError(str(error)) from error


ModelFile: TypeAlias = Annotated[str | Sized, AfterValidator(sized)]
"""A file's path or a `Sized`."""


class FileModel(Detector, Foreign):
    """A graph in a file; its results have the names that they have there."""

    content: Tensor

    def __init__(self, file: Sized, score: Score, preparation: Preparation, input_shape: Shape) -> None:
        super().__init__()
        assert file.bytes is not None, "its size is known"
        self.file, self.how, self.preparation, self.input_shape = file, score, preparation, input_shape
        self.known: list[tuple[str, Shape]] = []
        self.register_buffer("content", torch.zeros(file.bytes, dtype=torch.uint8))
        self.number = registered(self._compute, lambda: [shape for _, shape in self.results()])

    @abstractmethod
    def found(self) -> list[tuple[str, Shape]]:
        """Return names and shapes, for one sample, of the results that are numbers for each sample."""

    @abstractmethod
    def declared(self) -> tuple[int | None, ...]:
        """Return the sides of the graph's input, samples first; None where any will do."""

    @abstractmethod
    def computed(self, x: np.ndarray) -> list[np.ndarray]:
        """Return these results of a batch of the size that the graph takes."""

    @abstractmethod
    def share(self: T, twin: T) -> None:
        """Hand on what was loaded: it keeps no state, cannot be copied, and not be loaded while a copy is traced."""

    def results(self) -> list[tuple[str, Shape]]:
        """Return what `found` says, asked once.

        Raises:
            InputError: where the graph does not take samples of this shape.
        """
        if not self.known:
            self._check_shape()
            self.known = self.found()
        return self.known

    def fixed(self) -> int | None:
        """Return the only batch size that the graph takes; None where it takes any."""
        return next(iter(self.declared()), None)

    def sample_shape(self) -> Shape:
        """Return the shape of one prepared sample."""
        return tuple(self.prepare(torch.empty((1, *self.input_shape), device="meta")).shape[1:])

    def zeros(self) -> np.ndarray:
        """Return a prepared batch to find out shapes with."""
        return np.zeros((self.fixed() or 2, *self.sample_shape()), np.float32)

    def __deepcopy__(self: T, memo: dict[int, object]) -> T:
        """Return one that computes with the same loaded graph."""
        self.results()
        twin = type(self)(self.file, self.how, self.preparation, self.input_shape)
        twin.load_state_dict(self.state_dict())
        twin.known = self.known
        self.share(twin)
        return twin.train(self.training).to(self.content.device)

    def adapt(self, chunks: Iterable[Tensor]) -> None:
        """Read the file; a bundle has it whole, so only what is made needs it."""
        if self.file.file is not None:
            self.content.copy_(torch.frombuffer(bytearray(self.file.read()), dtype=torch.uint8))

    def graph(self) -> bytes:
        """Return the file's content."""
        return self.file.read() if self.file.file is not None else self.content.cpu().numpy().tobytes()

    @property
    def where(self) -> str:
        """What to call it in messages."""
        return self.file.file or "the exported model"

    def prepare(self, raw: Tensor) -> Tensor:
        """Return what the graph sees."""
        return self.preparation(raw)

    def whole(self, raw: Tensor) -> None:
        """Check that raw data go into a graph that takes whole numbers.

        Raises:
            InputError: where they are scaled first, or are none themselves.
        """
        if self.preparation.scale != "raw":
            raise InputError(
                f"{self.where}: takes whole numbers: scale {self.preparation.scale} has none (allowed: raw)"
            )
        if raw.is_floating_point() and not raw.is_meta and (raw != raw.round()).any():
            raise InputError(f"{self.where}: takes whole numbers, and the data have others")

    def forward(self, x: Tensor) -> Outputs:
        """Return the graph's results of floating type."""
        names = [name for name, _ in self.results()]
        return offered(dict(zip(names, foreign(x, self.number), strict=True)), self.how)

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the score [N], as it was said to come from the outputs."""
        return scored(x, outputs, self.how)

    def _check_shape(self) -> None:
        """Compare the shape that the graph declares with that of a prepared sample."""
        wanted, given = self.declared()[1:], self.sample_shape()
        if not wanted or (
            len(wanted) == len(given) and all(side in (own, None) for side, own in zip(wanted, given, strict=True))
        ):
            return
        options: dict[str, int] = {}
        if len(wanted) == len(given) == 3:
            channels, *sides = wanted
            if sides[0] is not None and sides[0] == sides[1]:
                options["size"] = sides[0]
            if channels is not None and channels in (1, 3) and given[0] in (1, 3):
                options["channels"] = channels
        said = ", ".join(f"{key}: {value}" for key, value in options.items() if getattr(self.preparation, key) != value)
        shown = ", ".join("any" if side is None else str(side) for side in wanted) + "," * (len(wanted) == 1)
        raise InputError(
            f"{self.where}: takes samples of shape ({shown}), and the data have {given} after their preparation"
            + (f"; preparation: {{{said}}} brings them to it" if said else "")
        )

    def _compute(self, x: np.ndarray) -> list[np.ndarray]:
        fixed = self.fixed() or len(x)
        parts = []
        for start in range(0, len(x), max(1, fixed)):
            part = x[start : start + fixed]
            # A graph of a fixed batch is given whole ones: the last is filled up with its first sample.
            whole = np.concatenate([part, np.repeat(part[:1], fixed - len(part), 0)]) if len(part) < fixed else part
            found = self.computed(whole)
            if wrong := [name for (name, _), one in zip(self.results(), found, strict=True) if len(one) != len(whole)]:
                raise InputError(f"{self.where}: output '{wrong[0]}' is not one entry for each of the samples")
            parts.append([one[: len(part)] for one in found])
        return [np.concatenate(each) for each in zip(*parts, strict=True)]
