"""An ONNX file as a detector."""

from __future__ import annotations

import tempfile
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.file_model import FileModel, ModelFile, Shape, Sized, sized
from kdcompress.architectures.scoring import Preparation, Score
from kdcompress.errors import InputError
from kdcompress.types import Pair

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
_KEPT = ("tensor(float)", "tensor(double)", "tensor(float16)")


class OnnxModel(FileModel):
    """A graph that onnxruntime computes."""

    def __init__(self, file: Sized, score: Score, preparation: Preparation, input_shape: Shape) -> None:
        super().__init__(file, score, preparation, input_shape)
        self.session: Any = None

    def share(self, twin: OnnxModel) -> None:
        """Hand on the session."""
        twin.session = self.session

    def prepare(self, raw: Tensor) -> Tensor:
        """Return what the graph sees."""
        if self._input().type != "tensor(uint8)":
            return super().prepare(raw)
        self.whole(raw)
        return super().prepare(raw).round().to(torch.uint8)

    def found(self) -> list[tuple[str, Shape]]:
        """Return names and shapes of the results of floating type; sides that are not declared, of samples of zeros."""
        outputs = [one for one in self._session().get_outputs() if one.type in _KEPT]
        batch = (self._input().shape or [None])[0]
        if all(_declared(one.shape, batch) for one in outputs):
            found = [(one.name, tuple(one.shape[1:])) for one in outputs]
        else:
            x = self.zeros()
            names = [one.name for one in outputs]
            values = zip(names, self._run(names, x), strict=True)
            found = [(name, one.shape[1:]) for name, one in values if one.ndim and len(one) == len(x)]
        if not found:
            said = ", ".join(f"{one.name} {one.type} {one.shape}" for one in self._session().get_outputs())
            raise InputError(f"{self.where}: no result of floating type for each sample: {said}")
        return found

    def declared(self) -> tuple[int | None, ...]:
        """Return the sides of the graph's input, samples first; None where any will do."""
        return tuple(side if isinstance(side, int) else None for side in self._input().shape or ())

    def computed(self, x: np.ndarray) -> list[np.ndarray]:
        """Return the results of a batch."""
        return self._run([name for name, _ in self.results()], x)

    def _run(self, names: list[str], x: np.ndarray) -> list[np.ndarray]:
        own = self._input()
        try:
            return list(self._session().run(names, {own.name: x.astype(_TYPES[own.type])}))
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common class
            reason = str(error).partition("\n")[0]
            raise InputError(f"{self.where}: onnxruntime cannot run it: {reason}") from None

    def _session(self) -> Any:  # noqa: ANN401 - onnxruntime has no types
        if self.session is None:
            # onnxruntime takes long to load, and only this needs it.
            try:
                import onnxruntime
            except ImportError:
                raise InputError(f"{self.where}: needs onnxruntime: pip install 'kdcompress[export]'") from None
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            # What goes wrong comes as an exception too.
            options.log_severity_level = 4
            try:
                # Weights in another file are looked for in an empty folder: in the current one nobody knows them.
                with tempfile.TemporaryDirectory() as nowhere:
                    options.add_session_config_entry(_WEIGHTS_FOLDER, nowhere)
                    session = onnxruntime.InferenceSession(self.graph(), options, providers=["CPUExecutionProvider"])
            except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common class
                reason = str(error).partition("\n")[0]
                # A bundle holds one file, and what lies beside it could be anywhere.
                hint = " (its weights lie in a file beside it: export it with external_data=False)"
                said = f"onnxruntime cannot load it: {reason[:200]}{hint if 'xternal data' in reason else ''}"
                raise InputError(f"{self.where}: {said}") from None
            inputs = session.get_inputs()
            if len(inputs) != 1 or inputs[0].type not in _TYPES:
                said = ", ".join(f"{one.name} {one.type}" for one in inputs)
                raise InputError(f"{self.where}: one input of {', '.join(_TYPES)} is expected, not {said}")
            self.session = session
        return self.session

    def _input(self) -> Any:  # noqa: ANN401
        return self._session().get_inputs()[0]


def _declared(shape: list[int | str | None], batch: int | str | None) -> bool:
    """Say whether a result's shape is declared, with the input's samples first: what is not, has to be tried."""
    return bool(shape) and batch is not None and shape[0] == batch and all(isinstance(side, int) for side in shape[1:])


@ARCHITECTURES.register("onnx")
def onnx(
    input_shape: tuple[int, ...],
    *,
    file: ModelFile,
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
    return Pair(OnnxModel(sized(file), score, preparation, input_shape))
