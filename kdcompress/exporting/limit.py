"""The threshold of a file: the bundle's own or another, and what held-out normals say of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kdcompress.bundle import Bundle
from kdcompress.errors import InputError
from kdcompress.evaluation import score
from kdcompress.evaluation.thresholds import chosen, false_alarms, thinned
from kdcompress.exporting.inputs import Inputs
from kdcompress.exporting.metadata import Metadata


@dataclass(frozen=True)
class Limit:
    """Which threshold a file has: the bundle's, where nothing is set, or as one of three says.

    Attributes:
        false_positive_rate: wanted of new normals.
        quantile: of held-out normals' scores.
        value: the threshold itself.
        p_values: whether the file keeps scores of held-out normals.
    """

    false_positive_rate: float | None = None
    quantile: float | None = None
    value: float | None = None
    p_values: bool = False

    @property
    def asked(self) -> list[float]:
        """What is set of the three."""
        return [one for one in (self.false_positive_rate, self.quantile, self.value) if one is not None]


def limited(bundle: Bundle, limit: Limit, given: Inputs) -> tuple[Bundle, np.ndarray | None]:
    """Return a bundle with the wanted threshold, and its scores of held-out normals [n], where there are any.

    Raises:
        InputError: where more than one threshold is wanted, or normals are and there are none.
    """
    asked = limit.asked
    if len(asked) > 1:
        raise InputError("give one of --false-positive-rate, --quantile, --threshold")
    scores = score(bundle.detector, given.normals) if given.normals is not None and len(given.normals) else None
    if scores is None and (limit.p_values or (asked and limit.value is None)):
        raise InputError(
            "a threshold by a rate or a quantile, and p-values, need held-out normals of the data that the detector "
            "was trained on, and they are not on this machine; say which with --set data..., or give --threshold"
        )
    if not asked:
        return bundle, scores
    value = limit.value
    if value is None:
        assert scores is not None, "refused above"
        value = chosen(scores, limit.false_positive_rate, limit.quantile)
    return replace(bundle, manifest=replace(bundle.manifest, threshold=value)), scores


def told(metadata: Metadata, scores: np.ndarray | None, *, keep: bool) -> Metadata:
    """Return metadata with what scores of held-out normals [n] say of the threshold, and with the scores themselves."""
    if scores is None:
        return metadata
    found = false_alarms(scores, metadata.threshold) if metadata.threshold is not None else None
    return replace(metadata, false_alarms=found, normals=tuple(map(float, thinned(scores))) if keep else None)
