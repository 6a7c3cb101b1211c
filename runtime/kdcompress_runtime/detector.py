"""A detector from a file."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdcompress_runtime.errors import FileError, InputError, ScoreError, SelfTestError
from kdcompress_runtime.file import metadata, read
from kdcompress_runtime.inputs import checked
from kdcompress_runtime.metadata import finite

_TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(double)": "float64"}
_NUMBERS = tuple(
    f"tensor({one})"
    for one in (
        *("float16", "float", "double"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    )
)
"""What a score may be, in ONNX's words."""

_MOST_THREADS = 1024
_QUIET = 4
"""onnxruntime's level for what ends the process: all else comes as an exception too."""


class Detector:
    """An exported anomaly detector.

    Attributes:
        metadata: what kdcompress wrote into the file; None for a file of another tool.
        input_shape: of one sample; None where any size goes.
        dtype: of the input.
        threshold: above it a score means anomaly; None where none is known.
    """

    def __init__(
        self,
        session: Any,  # noqa: ANN401 - onnxruntime has no types
        score_output: str,
        threshold: float | None,
        said: Mapping[str, Any] | None,
    ) -> None:
        """Use `load`."""
        (given,) = session.get_inputs()
        self.metadata = said
        self.threshold = threshold
        self.input_shape = tuple(one if isinstance(one, int) else None for one in given.shape[1:])
        self.dtype: np.dtype[Any] = np.dtype(_TYPES[given.type])
        self._session, self._input, self._output = session, given.name, score_output

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        score_output: str | None = None,
        threshold: float | None = None,
        threads: int | None = None,
    ) -> Detector:
        """Read an ONNX file.

        Args:
            path: the file.
            score_output: which output is the score: needed for a file that kdcompress did not write.
            threshold: above it a score means anomaly; None for the file's own.
            threads: that one score may use; None for onnxruntime's choice.

        Raises:
            FileError: where the file is missing, cut off, altered, of a newer format, or keeps weights elsewhere.
            InputError: where an option is not allowed.
        """
        _check_options(path, threshold, threads)
        data = read(path)
        said = metadata(data, path)
        if said is None and score_output is None:
            raise FileError(
                f"{path}: it has no metadata of kdcompress: it was cut off, or another tool wrote it; then say which "
                "of its outputs is the score: score_output=..."
            )
        session = _session(data, path, threads)
        outputs = {output.name: output.type for output in session.get_outputs()}
        wanted = score_output or "score"
        if wanted not in outputs:
            raise FileError(f"{path}: no output '{wanted}' (allowed: {', '.join(outputs)})")
        if outputs[wanted] not in _NUMBERS:
            raise FileError(f"{path}: the output '{wanted}' is {outputs[wanted]}, a score is a tensor of numbers")
        inputs = session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _TYPES:
            listed = ", ".join(f"{one.name}: {one.type}" for one in inputs)
            raise FileError(f"{path}: expected one input of {', '.join(_TYPES)}, found {listed or 'none'}")
        if said is not None:
            _check_input(said["input"], inputs[0], path)
        if threshold is None and said is not None:
            threshold = said["threshold"]
        return cls(session, wanted, None if threshold is None else float(threshold), said)

    def score(self, batch: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401 - whatever numpy takes
        """Return the anomaly scores float32 [N]; higher is more anomalous.

        Args:
            batch: images uint8 [N, C, H, W], or paths of image files; rows of numbers [N, D].

        Raises:
            InputError: where the batch does not fit the detector.
            ScoreError: where a score is not finite: what is NaN lies above no threshold, and would pass for normal.
        """
        found = self._scores(checked(batch, self.input_shape, self.dtype))
        if not (whole := np.isfinite(found)).all():
            first = int(np.argmin(whole))
            raise ScoreError(
                f"{np.sum(~whole)} of {len(found)} scores are not finite, the first is {found[first]}, of sample "
                f"{first}: its numbers are too large for the detector, or the file computes what has no value for it"
            )
        return found

    def predict(self, batch: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
        """Return a decision for each sample, int64 [N]: 0 normal, 1 anomaly.

        Raises:
            InputError: as `score`, and where no threshold is known.
            ScoreError: as `score`.
        """
        if self.threshold is None:
            raise InputError("there is no threshold in the file: give one, Detector.load(..., threshold=...)")
        # In float64: numpy would round the threshold to the scores' float32.
        return (self.score(batch).astype(np.float64) > self.threshold).astype(np.int64)

    def p_value(self, batch: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
        """Return p-values float64 [N] that samples are normal: the share of normals that score as high, or higher.

        It is (1 + #{scores of held-out normals >= score}) / (1 + their number), at least 1/1000 for 999 of them.

        Raises:
            InputError: as `score`, and where the file keeps no scores of held-out normals.
            ScoreError: as `score`.
        """
        known = None if self.metadata is None else self.metadata.get("normals")
        if known is None:
            raise InputError(
                "the file keeps no scores of held-out normals: export it with kdcompress export --p-values"
            )
        lower = np.searchsorted(np.sort(known), self.score(batch).astype(np.float64))
        found: np.ndarray[Any, Any] = (1 + len(known) - lower) / (1 + len(known))
        return found

    def self_test(self) -> float:
        """Score the inputs in the file, and return the largest difference from the scores that stand beside them.

        Raises:
            SelfTestError: where it is more than the file allows, so that this device computes something else.
        """
        if self.metadata is None:
            raise SelfTestError("the file has no self-test: kdcompress did not write it")
        test, known = self.metadata["self_test"], self.metadata["input"]
        wanted = np.asarray(test["scores"], np.float64)
        raw = np.frombuffer(base64.b64decode(test["inputs"]), np.dtype(known["dtype"]).newbyteorder("<"))
        found = self._scores(raw.astype(known["dtype"]).reshape(len(wanted), *known["shape"]))
        away = np.abs(found - wanted)
        if not (away <= test["tolerance"]).all():
            raise SelfTestError(
                f"scores differ by up to {away.max():.3g} from those in the file, {test['tolerance']:.3g} is allowed"
            )
        return float(away.max())

    def _scores(self, raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        try:
            (found,) = self._session.run([self._output], {self._input: raw})
        except Exception as error:  # noqa: BLE001 - its errors have no common class
            raise FileError(f"onnxruntime cannot run the file: {error}") from error
        if found.shape not in ((len(raw),), (len(raw), 1)):
            raise FileError(
                f"the output '{self._output}' is {list(found.shape)} for {len(raw)} samples, a score is [N]"
            )
        with np.errstate(over="ignore"):
            return np.asarray(found.reshape(len(raw)), np.float32)


def _check_options(path: object, threshold: object, threads: object) -> None:
    if not isinstance(path, (str, Path)):
        raise InputError(f"path: expected the path of a file, found {path!r:.80}")
    if threshold is not None and not finite(threshold):
        raise InputError(f"threshold: expected a finite number, or None for the file's own, found {threshold!r:.80}")
    whole = isinstance(threads, (int, np.integer)) and not isinstance(threads, bool) and 1 <= threads <= _MOST_THREADS
    if threads is not None and not whole:
        raise InputError(
            f"threads: expected a whole number from 1 to {_MOST_THREADS:,}, or None for onnxruntime's choice, "
            f"found {threads!r:.80}"
        )


def _check_input(said: Mapping[str, Any], given: Any, path: str | Path) -> None:  # noqa: ANN401
    """Compare what the metadata say of the input with the graph's: the self-test is made of the former."""
    sides, dtype = given.shape[1:], _TYPES[given.type]
    fits = len(sides) == len(said["shape"]) and said["dtype"] == dtype
    if not fits or any(isinstance(have, int) and have != want for want, have in zip(said["shape"], sides, strict=True)):
        raise FileError(
            f"{path}: its metadata are damaged: input is {said['dtype']} {said['shape']} there, {dtype} {sides} in its "
            "graph"
        )


def _session(data: bytes, path: str | Path, threads: int | None) -> Any:  # noqa: ANN401
    # It takes longer to load than all else here.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    if threads is not None:
        options.intra_op_num_threads = options.inter_op_num_threads = int(threads)
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - its errors have no common class
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise FileError(f"{path}: onnxruntime cannot run it: {said[0]}") from error
