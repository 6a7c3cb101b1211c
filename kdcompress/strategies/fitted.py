"""Detectors without anything to train."""

from __future__ import annotations

from kdcompress.stage import SCHEDULES, Stage
from kdcompress.strategies import STRATEGIES
from kdcompress.types import Interface


@STRATEGIES.register("fitted")
def fitted(student: Interface, teacher: Interface | None = None) -> tuple[Stage, ...]:
    """Fit a detector that has nothing to train, such as a forest or a memory of normals.

    One stage without any step: `Detector.calibrate` on all training normals. This is how such teachers are made.

    Args:
        student: the detector to fit.
        teacher: not used.
    """
    return (Stage("fitted", 0, 1, (), SCHEDULES["constant"], calibrated=("student",)),)
