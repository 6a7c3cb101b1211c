"""NAB's series with known causes, as files of the user's."""

from __future__ import annotations

from typing import Literal, TypeAlias

from kdcompress.data import DATASETS
from kdcompress.data.clock import Gaps
from kdcompress.data.one_class import OneClassData
from kdcompress.data.series import Stride, Window, read_points
from kdcompress.data.split import Share
from kdcompress.data.vision import data_root
from kdcompress.data.windows import one_class
from kdcompress.errors import MissingDataError

NabSeries: TypeAlias = Literal[
    "ambient_temperature_system_failure",
    "cpu_utilization_asg_misconfiguration",
    "machine_temperature_system_failure",
    "nyc_taxi",
    "rogue_agent_key_hold",
]


@DATASETS.register("nab")
def nab(
    *,
    series: NabSeries = "nyc_taxi",
    window: Window = 64,
    stride: Stride = 16,
    train: Share = 0.5,
    validation: Share = 0.2,
    gaps: Gaps = "bridge",
    root: str | None = None,
) -> OneClassData:
    """Windows of a series of NAB, the Numenta Anomaly Benchmark, with known causes.

    float32 [N, 1, L], cut and parted as `series` does it: by time, and not as NAB scores detectors. The files are NAB's
    realKnownCause/<series>.csv and labels/combined_windows.json, in nab below ``root``, else below $KDCOMPRESS_DATA,
    else below ~/.cache/kdcompress/data; nothing is fetched. NAB's labels are wide, and some are debatable; some series
    have gaps, and machine_temperature_system_failure an hour twice.

    Source: S. Ahmad et al., Unsupervised real-time anomaly detection for streaming data, Neurocomputing 2017 (MIT).

    Args:
        series: which one.
        window: points in a window, L.
        stride: points from one window's start to the next one's.
        train: share of the points to learn from.
        validation: share of the training windows that is held out: the last ones.
        gaps: as for `series`; by default windows take one point after another, as NAB's detectors do.
        root: folder of the sets; unset, $KDCOMPRESS_DATA or the user's cache.
    """
    top = data_root(root) / "nab"
    path, labels = top / "realKnownCause" / f"{series}.csv", top / "labels" / "combined_windows.json"
    for file in (path, labels):
        if not file.is_file():
            raise MissingDataError(
                f"NAB's {series} wants {file}: put that file of NAB's repository there, or say where the folder nab is "
                "with the option data.root=FOLDER or with the environment variable KDCOMPRESS_DATA"
            )
    points = read_points(path, "timestamp", ("value",), None, labels, gaps)
    return one_class("nab", series, path, points, window=window, stride=stride, train=train, validation=validation)
