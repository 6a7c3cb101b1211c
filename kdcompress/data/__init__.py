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
            "Images in folders: train/good, test/good and test/<kind of defect>, as in MVTec AD",
        ),
        "table": Entry(
            "kdcompress.data.table:table",
            "Rows of numbers in an NPZ file: ``X`` [N, D] and, if anomalies are known, ``y`` [N]",
        ),
        "adbench": Entry(
            "kdcompress.data.table:adbench",
            "A classical table of ADBench: half of the normals to learn from, all else for the test",
        ),
        "synthetic": Entry(
            "kdcompress.data.synthetic:synthetic",
            "Blobs against blobs under a grating, made on the spot for tests",
        ),
    },
)
