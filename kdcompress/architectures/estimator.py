"""Detectors of scikit-learn and PyOD, fitted inside the run: teachers for students that need neither."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.foreign import Foreign, foreign, registered
from kdcompress.architectures.rows import RowDetector, evenly, row_size
from kdcompress.errors import InputError, unknown
from kdcompress.signature import AtMostNormals
from kdcompress.types import Outputs, Pair

SKLEARN = {
    "EllipticEnvelope": "sklearn.covariance",
    "GaussianMixture": "sklearn.mixture",
    "IsolationForest": "sklearn.ensemble",
    "KernelDensity": "sklearn.neighbors",
    "LocalOutlierFactor": "sklearn.neighbors",
    "OneClassSVM": "sklearn.svm",
}
"""scikit-learn's, and where they are; ``score_samples`` of all of them is high for normals."""
_PYOD = "pyod."


class Estimator(RowDetector, Foreign):
    """A detector that is fitted to the normals that it keeps: again from a bundle, which has them and no pickle."""

    fitted = True
    rows: Tensor
    count: Tensor

    def __init__(self, size: int, kept: int, name: str, options: dict[str, Any], seed: int) -> None:
        super().__init__(size)
        self.name, self.options, self.seed = name, options, seed
        self.register_buffer("rows", torch.zeros(kept, size))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.known: tuple[bytes, Any] | None = None
        self.number = registered(self._compute, lambda: [()])

    def __deepcopy__(self, memo: dict[int, Any]) -> Estimator:
        """Return one that fits itself again: what is fitted may not be copied, and its number is its own."""
        twin = Estimator(self.size, len(self.rows), self.name, self.options, self.seed)
        twin.load_state_dict(self.state_dict())
        twin.train(self.training).to(self.rows.device)
        return twin

    def calibrate(self, chunks: Iterable[Tensor]) -> None:
        """Keep training normals, evenly from their whole where there is not room for all, and fit to them."""
        rows = torch.cat([chunk.clone() for chunk in chunks])
        room = len(self.rows)
        rows = evenly(rows, room)
        self.rows[: len(rows)].copy_(rows)
        self.count.fill_(len(rows))

    def forward(self, x: Tensor) -> Outputs:
        """Return ``anomaly`` [N], what the detector says, higher for anomalies."""
        return {"anomaly": foreign(x, self.number)[0]}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return what the detector says."""
        return outputs["anomaly"]

    def _compute(self, x: np.ndarray) -> list[np.ndarray]:
        if not int(self.count):
            # Until it is calibrated: scores that differ, as an untrained network's do.
            return [np.square(x).mean(1)]
        return [anomaly(self._fitted(), x, "options")]

    def _fitted(self) -> Any:  # noqa: ANN401
        rows = self.rows[: int(self.count)].detach().cpu().numpy()
        content = rows.tobytes()
        if self.known is None or self.known[0] != content:
            try:
                self.known = (content, made(self.name, self.options, self.seed).fit(rows))
            except (TypeError, ValueError) as error:
                reason = str(error).partition("\n")[0]
                raise InputError(f"options: {self.name} cannot be fitted to {len(rows)} normals: {reason}") from error
        return self.known[1]


def made(name: str, options: dict[str, Any], seed: int) -> Any:  # noqa: ANN401 - sklearn has no types
    """Return an estimator that is not fitted.

    Raises:
        InputError: for an unknown one, or options that it does not take.
    """
    build = _class(name)
    known = inspect.signature(build).parameters
    if strange := [key for key in options if key not in known]:
        raise InputError(f"options: {unknown(f'option of {name}', strange[0], known)}")
    if options.get("novelty") is False:
        raise InputError(f"options.novelty: without it {name} cannot score new samples (allowed: true)")
    fixed = {"random_state": seed} if "random_state" in known else {}
    fixed |= {"novelty": True} if "novelty" in known else {}
    try:
        estimator = build(**{**fixed, **options})
        # scikit-learn looks at values when it fits; where it does, a run would be on its way already.
        getattr(estimator, "_validate_params", lambda: None)()
    except (TypeError, ValueError) as error:
        raise InputError(f"options: {name} refuses them: {error}") from error
    return estimator


def _class(name: str) -> Any:  # noqa: ANN401
    if name in SKLEARN:
        return getattr(importlib.import_module(SKLEARN[name]), name)
    if name.startswith(_PYOD):
        return _of_pyod(name.removeprefix(_PYOD))
    raise InputError(f"of: {unknown('estimator', name, SKLEARN)}; or pyod.NAME for one of PyOD's")


def _of_pyod(name: str) -> Any:  # noqa: ANN401
    """Return a class of PyOD's: its modules have their classes' names in small letters."""
    try:
        base = importlib.import_module("pyod.models.base").BaseDetector
    except ImportError:
        raise InputError(f"of: pyod.{name} needs PyOD, which is not installed (pip install pyod)") from None
    try:
        found = getattr(importlib.import_module(f"pyod.models.{name.lower()}"), name) if name.isidentifier() else None
    except (ImportError, AttributeError) as error:
        raise InputError(f"of: pyod.{name}: PyOD has no such detector, or lacks what it needs: {error}") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise InputError(f"of: pyod.{name}: no detector of PyOD's")
    return found


def anomaly(estimator: Any, x: np.ndarray, where: str) -> np.ndarray:  # noqa: ANN401
    """Return scores that are higher for anomalies: PyOD's are, scikit-learn's the other way round.

    Raises:
        InputError: where it has no scores of new samples; ``where`` says whose they would be.
    """
    kind = type(estimator).__name__
    try:
        if hasattr(estimator, "score_samples"):
            return -np.asarray(estimator.score_samples(x))
        if type(estimator).__module__.startswith(_PYOD):
            return np.asarray(estimator.decision_function(x))
    except (AttributeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{where}: {kind} cannot score new samples: {reason}") from error
    hint = ": fit it with novelty=True" if getattr(estimator, "novelty", None) is False else ""
    raise InputError(
        f"{where}: {kind} cannot score new samples{hint} (allowed: detectors with score_samples, as scikit-learn's, or "
        "PyOD's)"
    )


@ARCHITECTURES.register("estimator")
def estimator(
    input_shape: tuple[int, ...],
    *,
    of: str,
    width: Annotated[float, Field(ge=1, le=1)] = 1.0,
    options: dict[str, Any] = {},  # noqa: B006 - never changed
    kept: Annotated[int, Field(ge=2, le=1_000_000), AtMostNormals()] = 10_000,
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
) -> Pair:
    """A detector of scikit-learn or PyOD, fitted to the training normals: a teacher.

    Samples of any shape are rows of numbers, scaled by the training normals. A bundle has the normals that it was
    fitted to, and it is fitted to them again when it is loaded: what it was is never unpickled. It is made by the
    strategy ``fitted``. What it computes is not counted; its time is measured.

    Args:
        input_shape: of one raw sample, e.g. (D,).
        of: IsolationForest, LocalOutlierFactor, OneClassSVM, EllipticEnvelope, GaussianMixture or KernelDensity, or
            pyod.NAME for one of PyOD's.
        width: 1: it cannot be narrowed.
        options: what it is made with, by its own names.
        kept: training normals that it is fitted to, at most.
        seed: its random state, where it has one.

    Raises:
        InputError: for an unknown detector or options that it does not take.
    """
    made(of, options, seed)
    return Pair(Estimator(row_size("estimator", input_shape), kept, of, dict(options), seed))
