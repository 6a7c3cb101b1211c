"""A file of `torch.export` as a detector."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.file_model import FileModel, ModelFile, Shape, Sized, sized
from kdcompress.architectures.scoring import Preparation, Score, named
from kdcompress.errors import BundleError, InputError
from kdcompress.pt2archive import refuse_code, without_samples
from kdcompress.types import Pair


class Pt2Model(FileModel):
    """A graph that torch computes."""

    def __init__(self, file: Sized, score: Score, preparation: Preparation, input_shape: Shape) -> None:
        super().__init__(file, score, preparation, input_shape)
        self.program: Any = None
        self.compute: Callable[[torch.Tensor], Any] | None = None

    def share(self, twin: Pt2Model) -> None:
        """Hand on the program and what computes it."""
        twin.program, twin.compute = self.program, self.compute

    def found(self) -> list[tuple[str, Shape]]:
        """Return names and shapes of the results of floating type, as samples of zeros give them."""
        return [(name, tuple(one.shape[1:])) for name, one in self._run(torch.from_numpy(self.zeros())).items()]

    def declared(self) -> tuple[int | None, ...]:
        """Return the sides of the graph's input, samples first; None where any will do."""
        return tuple(side if isinstance(side, int) else None for side in self._placeholder().shape)

    def computed(self, x: np.ndarray) -> list[np.ndarray]:
        """Return the results of a batch."""
        found = self._run(torch.from_numpy(np.ascontiguousarray(x)))
        return [found[name].numpy() for name, _ in self.results()]

    def prepare(self, raw: torch.Tensor) -> torch.Tensor:
        """Return what the graph sees."""
        if not self._placeholder().dtype.is_floating_point:
            self.whole(raw)
        return super().prepare(raw)

    def _run(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        node, compute = self._placeholder(), self._computing()
        try:
            with torch.device("cpu"), torch.inference_mode():
                found = named(compute(x.to(node.dtype)))
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"{self.where}: torch cannot run it: {reason}") from error
        kept = {name: one for name, one in found.items() if one.is_floating_point() and one.ndim and len(one) == len(x)}
        if not kept:
            raise InputError(f"{self.where}: no result of floating type for each sample: {', '.join(found)}")
        return kept

    def _program(self) -> Any:  # noqa: ANN401 - torch's programs are not typed for strict checks
        if self.program is None:
            try:
                data = without_samples(self.graph())
                refuse_code(data, Path(self.where))
            except BundleError as error:
                text = str(error)
                raise InputError(text if self.where in text else f"{self.where}: {text}") from error
            try:
                with warnings.catch_warnings(), torch.device("cpu"):
                    warnings.simplefilter("ignore")
                    self.program = torch.export.load(io.BytesIO(data))
            except Exception as error:  # noqa: BLE001 - torch raises anything on files of other versions
                said = str(error).strip().splitlines() or [type(error).__name__]
                raise InputError(f"{self.where}: torch {torch.__version__} cannot load it: {said[0]}") from error
        return self.program

    def _computing(self) -> Callable[[torch.Tensor], Any]:
        """Return the program's module, made once: it takes longer than a batch of a small network."""
        if self.compute is None:
            with torch.device("cpu"):
                # As a bound method: a module that is an attribute would be a part of this one, and so of its bundle.
                self.compute = self._program().module(check_guards=False).__call__
        return self.compute

    def _placeholder(self) -> Any:  # noqa: ANN401
        program = self._program()
        names = program.graph_signature.user_inputs
        if len(names) != 1:
            raise InputError(f"{self.where}: one input is expected, not {len(names)}: {', '.join(map(str, names))}")
        return next(node.meta["val"] for node in program.graph.nodes if node.name == names[0])


@ARCHITECTURES.register("pt2")
def pt2(
    input_shape: tuple[int, ...],
    *,
    file: ModelFile,
    width: Annotated[float, Field(ge=1, le=1)] = 1.0,
    score: Score = "score",
    preparation: Preparation = Preparation(scale="raw"),
) -> Pair:
    """A model that `torch.export.save` wrote, as it is: a teacher.

    What it computes is not counted; its time is measured. A bundle has the whole file in it. A file in which anything
    could run code is refused; the inputs that it was traced with are not read. Nothing is trained through it.

    Args:
        input_shape: of one raw sample.
        file: its path.
        width: 1: it cannot be narrowed.
        score: result that is the score: a mapping's own name, output, output.0, ...; or {distance: [ONE, OTHER]} of
            two, or {reconstruction: ONE} of one and the input, both mean squares.
        preparation: what it sees of raw data: scale (raw, unit, symmetric, imagenet), size, channels.

    Raises:
        InputError: for a file that torch cannot load, or that has no such results.
    """
    return Pair(Pt2Model(sized(file), score, preparation, input_shape))
