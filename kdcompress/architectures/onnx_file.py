"""An exported model as a detector: frozen, batched, and in the bundle as the bytes that it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.foreign import Foreign, foreign, registered
from kdcompress.architectures.scoring import Preparation, Score, offered, scored
from kdcompress.errors import InputError
from kdcompress.pinned import Pinned, pinned
from kdcompress.types import Detector, Outputs, Pair

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}
_KEPT = ("tensor(float)", "tensor(double)", "tensor(float16)")


@dataclass(frozen=True)
class Sized(Pinned):
    """A file whose size is known too: a bundle that is loaded has to know how large a graph it holds."""

    bytes: Annotated[int, Field(ge=0)] | None = None


def _sized(given: str | Sized) -> Sized:
    named = Sized(given) if isinstance(given, str) else given
    if named.sha256 is not None and named.bytes is not None:
        return named
    known = pinned(Pinned(named.file, named.sha256))
    try:
        return Sized(known.file, known.sha256, len(known.read()))
    except InputError as error:
        raise ValueError(str(error)) from error


OnnxFile: TypeAlias = Annotated[str | Sized, AfterValidator(_sized)]
"""A file's path or a `Sized`."""


class OnnxModel(Detector, Foreign):
    """A graph that onnxruntime computes; its results have the names that they have in the file."""

    content: Tensor

    def __init__(self, file: Pinned, size: int, score: Score, preparation: Preparation) -> None:
        super().__init__()
        self.file, self.how, self.preparation = file, score, preparation
        self.register_buffer("content", torch.zeros(size, dtype=torch.uint8))
        if file.file is not None and self.content.device.type != "meta":
            self.content.copy_(torch.frombuffer(bytearray(file.read()), dtype=torch.uint8))
        self.session: Any = None
        self.number = registered(self._compute, lambda: [shape for _, shape in self._results()])

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxModel:
        """Return one with a session of its own: it cannot be copied."""
        twin = OnnxModel(Pinned(None, self.file.sha256), len(self.content), self.how, self.preparation)
        twin.load_state_dict(self.state_dict())
        return twin.train(self.training).to(self.content.device)

    def prepare(self, raw: Tensor) -> Tensor:
        """Return what the graph sees."""
        x = self.preparation(raw)
        return x.round().to(torch.uint8) if self._input().type == "tensor(uint8)" else x

    def forward(self, x: Tensor) -> Outputs:
        """Return the graph's results of floating type."""
        names = [name for name, _ in self._results()]
        return offered(dict(zip(names, foreign(x, self.number), strict=True)), self.how)

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the score [N], as it was said to come from the outputs."""
        return scored(x, outputs, self.how)

    def _session(self) -> Any:  # noqa: ANN401 - onnxruntime has no types
        if self.session is None:
            # onnxruntime takes long to load, and only this needs it.
            import onnxruntime

            known = self.content.device.type != "meta"
            graph = self.content.cpu().numpy().tobytes() if known else self.file.read()
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 3
            try:
                self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common class
                reason = str(error).partition("\n")[0]
                # A bundle holds one file, and what lies beside it could be anywhere.
                hint = " (its weights lie in a file beside it: export it with external_data=False)"
                said = f"onnxruntime cannot load it: {reason[:200]}{hint if 'xternal data' in reason else ''}"
                raise InputError(f"{self.file.file or 'the ONNX model'}: {said}") from None
            self._check()
        return self.session

    def _check(self) -> None:
        inputs = self.session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _TYPES:
            said = ", ".join(f"{one.name} {one.type}" for one in inputs)
            raise InputError(f"{self.file.file}: one input of {', '.join(_TYPES)} is expected, not {said}")

    def _input(self) -> Any:  # noqa: ANN401
        return self._session().get_inputs()[0]

    def _results(self) -> list[tuple[str, tuple[int, ...]]]:
        """Return names and shapes, for one sample, of the results that are numbers for each sample."""
        found = [
            (one.name, tuple(int(side) for side in one.shape[1:]))
            for one in self._session().get_outputs()
            if one.type in _KEPT and one.shape and all(isinstance(side, int) for side in one.shape[1:])
        ]
        if not found:
            said = ", ".join(f"{one.name} {one.type} {one.shape}" for one in self._session().get_outputs())
            raise InputError(f"{self.file.file}: no result of floating type and known shape for each sample: {said}")
        return found

    def _compute(self, x: np.ndarray) -> list[np.ndarray]:
        session, own = self._session(), self._input()
        names = [name for name, _ in self._results()]
        fixed = own.shape[0] if own.shape and isinstance(own.shape[0], int) else len(x)
        parts = []
        for start in range(0, len(x), max(1, fixed)):
            part = x[start : start + fixed]
            # A graph of a fixed batch is given whole ones: the last is filled up with its first sample.
            whole = np.concatenate([part, np.repeat(part[:1], fixed - len(part), 0)]) if len(part) < fixed else part
            try:
                results = session.run(names, {own.name: whole.astype(_TYPES[own.type])})
            except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common class
                reason = str(error).partition("\n")[0]
                raise InputError(f"{self.file.file or 'the ONNX model'}: onnxruntime cannot run it: {reason}") from None
            parts.append([one[: len(part)] for one in results])
        return [np.concatenate(each) for each in zip(*parts, strict=True)]


@ARCHITECTURES.register("onnx")
def onnx(
    input_shape: tuple[int, ...],
    *,
    file: OnnxFile,
    width: Annotated[float, Field(ge=1, le=1)] = 1.0,
    score: Score = "score",
    preparation: Preparation = Preparation(scale="raw"),
) -> Pair:
    """An exported ONNX model, as it is: a teacher.

    What it computes is not counted; its time is measured. A bundle has the whole file in it. Nothing is trained
    through it, so that it cannot be a student or be trained along.

    Args:
        input_shape: of one raw sample.
        file: its path.
        width: 1: it cannot be narrowed.
        score: result that is the score, or {distance: [ONE, OTHER]} of two, or {reconstruction: ONE} of one and the
            input, both mean squares.
        preparation: what it sees of raw data: scale (raw, unit, symmetric, imagenet), size, channels.

    Raises:
        InputError: for a file that onnxruntime cannot load, or that has no such results.
    """
    source = _sized(file)
    assert source.bytes is not None, "it was filled in"
    return Pair(OnnxModel(source, source.bytes, score, preparation))
