"""ADBench's classical tables, as files of the user's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kdcompress.data import DATASETS
from kdcompress.data.one_class import OneClassData
from kdcompress.data.rows import arrays, one_class
from kdcompress.data.split import Share
from kdcompress.data.vision import data_root
from kdcompress.errors import MissingDataError

AdbenchSet = Literal[
    "annthyroid",
    "breastw",
    "cardio",
    "fault",
    "Ionosphere",
    "letter",
    "mammography",
    "musk",
    "pendigits",
    "satellite",
    "satimage-2",
    "smtp",
    "WBC",
]
_NUMBERS: dict[str, int] = {
    "annthyroid": 2,
    "breastw": 4,
    "cardio": 6,
    "fault": 12,
    "Ionosphere": 18,
    "letter": 20,
    "mammography": 23,
    "musk": 25,
    "pendigits": 28,
    "satellite": 30,
    "satimage-2": 31,
    "smtp": 34,
    "WBC": 42,
}


@DATASETS.register("adbench")
def adbench(
    *,
    set: AdbenchSet = "cardio",  # noqa: A002 - the word that its users use
    test: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    validation: Share = 0.1,
    most: Annotated[int, Field(ge=2)] | None = None,
    root: str | None = None,
) -> OneClassData:
    """A classical table of ADBench: half of the normals to learn from, all else for the test.

    float32 [N, D], as `table` reads them. The files are those of ADBench (``6_cardio.npz``, ...), in adbench below
    ``root``, else below $KDCOMPRESS_DATA, else below ~/.cache/kdcompress/data; nothing is fetched.

    Source: S. Han et al., ADBench, NeurIPS 2022 (BSD-2-Clause; the sets have terms of their own).

    Args:
        set: which table.
        test: share of the normals that is tested.
        validation: share of the training normals that is held out.
        most: training normals at most, those held out among them; the others are not used. Unset, all are.
        root: folder of the sets; unset, $KDCOMPRESS_DATA or the user's cache.
    """
    path = data_root(root) / "adbench" / f"{_NUMBERS[set]}_{set}.npz"
    if not path.is_file():
        raise MissingDataError(
            f"ADBench's {set} is not at {path}: put that file of ADBench's repository there, or say where "
            "the folder adbench is with the option data.root=FOLDER or with the environment variable KDCOMPRESS_DATA"
        )
    return one_class("adbench", set, path, arrays(path), test, validation, most, "fail")
