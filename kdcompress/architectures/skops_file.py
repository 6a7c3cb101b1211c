"""A fitted detector of scikit-learn's in a file of skops, which holds no pickle."""

from __future__ import annotations

import io
import os
import re
import zipfile
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from torch import Tensor

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.estimator import anomaly
from kdcompress.architectures.file_model import FileModel, ModelFile, Shape, Sized, sized
from kdcompress.architectures.rows import row_size
from kdcompress.architectures.scoring import Preparation
from kdcompress.errors import InputError, near
from kdcompress.types import Pair

TRUSTED = "KDCOMPRESS_SKOPS_TYPES"
"""Environment variable with types whose code the user lets run, parted as in ``PATH``."""

_NUMBERS = re.compile(
    r"sklearn\.(tree\._tree\.Tree|neighbors\._(kd|ball)_tree\.(KD|Ball)Tree(32|64)?"
    r"|metrics\._dist_metrics\.[A-Za-z]+Distance(32|64)?)"
)
"""Types of scikit-learn's that skops does not trust by itself and that hold numbers alone, and no names of code."""


_USUAL = (
    "sklearn.tree._tree.Tree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
)


class SkopsModel(FileModel):
    """An estimator that was fitted elsewhere; samples of any shape are rows of numbers, as the data have them."""

    def __init__(
        self,
        file: Sized,
        score: str,
        preparation: Preparation,
        input_shape: Shape,
        types: tuple[str, ...] = (),
    ) -> None:
        super().__init__(file, score, preparation, input_shape)
        self.types = types
        self.estimator: Any = None

    def share(self, twin: SkopsModel) -> None:
        """Hand on the estimator."""
        twin.types, twin.estimator = self.types, self.estimator

    def prepare(self, raw: Tensor) -> Tensor:
        """Return rows [N, D]."""
        return super().prepare(raw).flatten(1)

    def found(self) -> list[tuple[str, Shape]]:
        """Return the one result, once it is seen that the estimator can give it."""
        anomaly(self._loaded(), np.zeros((2, *self.sample_shape())), self.where)
        return [("anomaly", ())]

    def declared(self) -> tuple[int | None, ...]:
        """Return the number of features that it was fitted to, behind any number of samples."""
        return (None, getattr(self._loaded(), "n_features_in_", None))

    def computed(self, x: np.ndarray) -> list[np.ndarray]:
        """Return what the estimator says of rows, higher for anomalies."""
        # Its own precision, in which it was fitted as a rule.
        return [anomaly(self._loaded(), x.astype(np.float64), self.where)]

    def _loaded(self) -> Any:  # noqa: ANN401 - what the file holds
        if self.estimator is None:
            self.estimator = _read(self.graph(), self.types, self.where)
        return self.estimator


def _read(content: bytes, types: tuple[str, ...], where: str) -> Any:  # noqa: ANN401
    try:
        from skops.io import get_untrusted_types, loads
    except ImportError:
        raise InputError(f"{where}: needs skops: pip install 'kdcompress[skops]'") from None
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise InputError(
            f"{where}: no file that skops.io.dump wrote (a pickle is never read: load it where you trust it, and write "
            "it with skops.io.dump)"
        )
    try:
        wanted = get_untrusted_types(data=content)
        if lacking := [name for name in wanted if name not in types]:
            raise InputError(
                f"{where}: holds types that skops does not trust by itself and types does not name: "
                f"{', '.join(lacking)} (if you know that the file is yours: types: [{', '.join(wanted)}])"
            )
        return loads(content, trusted=wanted)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - what a damaged file makes skops and scikit-learn raise
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.200}"
        raise InputError(f"{where}: damaged, or of versions that skops cannot read here: {reason}") from error


def _checked(types: tuple[str, ...]) -> tuple[str, ...]:
    """Return types that a recipe or a bundle may name: neither lets code run that its reader does not know of.

    Raises:
        InputError: for one with code, which the user has not named himself.
    """
    named = os.environ.get(TRUSTED, "").split(os.pathsep)
    if unsafe := [one for one in types if not _NUMBERS.fullmatch(one) and one not in named]:
        raise InputError(
            f"types: {', '.join(unsafe)} may be code, which a recipe or a bundle alone cannot let run"
            f"{near(unsafe[0], _USUAL)} (allowed: {', '.join(_USUAL)} and other distances; if you trust the code too, "
            f"set {TRUSTED}={os.pathsep.join(unsafe)})"
        )
    return types


@ARCHITECTURES.register("skops")
def skops(
    input_shape: tuple[int, ...],
    *,
    file: ModelFile,
    types: tuple[str, ...] = (),
    width: Annotated[float, Field(ge=1, le=1)] = 1.0,
    preparation: Preparation = Preparation(scale="raw"),
) -> Pair:
    """A fitted detector that `skops.io.dump` wrote, as it is: a teacher.

    One of scikit-learn's or PyOD's, or a pipeline of scikit-learn's steps. Samples of any shape are rows of numbers, as
    the data have them. It is not fitted again; a bundle has the whole file in it, and is read with the same caution.
    What it computes is not counted; its time is measured.

    Args:
        input_shape: of one raw sample, e.g. (D,).
        file: its path.
        types: what it holds beside the types that skops trusts by itself, by dotted names. Types with code have to be
            named in the environment variable KDCOMPRESS_SKOPS_TYPES too.
        width: 1: it cannot be narrowed.
        preparation: what it sees of raw data: scale (raw, unit, symmetric, imagenet), size, channels.

    Raises:
        InputError: for types that are not trusted, a file that skops cannot read, or one with no such detector.
    """
    row_size("skops", input_shape)
    return Pair(SkopsModel(sized(file), "anomaly", preparation, input_shape, _checked(types)))
