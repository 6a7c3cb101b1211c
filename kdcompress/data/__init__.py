"""The data sets that a recipe can name; listing them imports neither torch nor torchvision."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kdcompress.registry import Entry, Registry

if TYPE_CHECKING:
    from kdcompress.data.one_class import OneClassData

DATASETS: Registry[Callable[..., OneClassData]] = Registry(
    "data set",
    {
        "digits": Entry(
            "kdcompress.data.digits:digits", "8x8 handwritten digits, embedded: one class against the rest"
        ),
        "mnist": Entry("kdcompress.data.vision:mnist", "28x28 handwritten digits: one class against the rest"),
        "fashion_mnist": Entry(
            "kdcompress.data.vision:fashion_mnist", "28x28 articles of clothing: one class against the rest"
        ),
        "cifar10": Entry("kdcompress.data.vision:cifar10", "32x32 colour photographs: one class against the rest"),
        "folder": Entry(
            "kdcompress.data.folder:folder",
            "Images in folders: MVTec AD's train/good and test/<kind of defect>, or normal and anomaly",
        ),
        "manifest": Entry(
            "kdcompress.data.manifest:manifest", "Images that a CSV file names: path and, if known, label and split"
        ),
        "series": Entry(
            "kdcompress.data.series:series",
            "Windows of a time series in a CSV file: [N, C, L], the earlier ones to learn from",
        ),
        "nab": Entry(
            "kdcompress.data.nab:nab", "Windows of a series of NAB, the Numenta Anomaly Benchmark, with known causes"
        ),
        "table": Entry(
            "kdcompress.data.table:table",
            "Rows of numbers: a CSV or Parquet file, or an NPZ file with ``X`` [N, D] and, if known, ``y`` [N]",
        ),
        "adbench": Entry(
            "kdcompress.data.adbench:adbench",
            "A classical table of ADBench: half of the normals to learn from, all else for the test",
        ),
        "synthetic": Entry(
            "kdcompress.data.synthetic:synthetic",
            "Blobs against blobs under a grating, made on the spot for tests",
        ),
    },
)
