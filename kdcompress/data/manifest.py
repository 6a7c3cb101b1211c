"""Images that a CSV file names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from kdcompress.data import DATASETS
from kdcompress.data.frame import read_frame, words
from kdcompress.data.images import OnBadImage, Side
from kdcompress.data.labels import Label, is_named, marked
from kdcompress.data.listing import Listing, one_class
from kdcompress.data.one_class import OneClassData
from kdcompress.data.split import Share
from kdcompress.errors import DataError, near


@DATASETS.register("manifest")
def manifest(
    *,
    path: str,
    size: Side | None = None,
    test: Annotated[float, Field(ge=0, lt=1)] = 0.2,
    validation: Share = 0.1,
    normal: Label = 0,
    anomaly: Label = 1,
    on_bad_image: OnBadImage = "fail",
) -> OneClassData:
    """Images that a CSV file names: path and, if known, label and split.

    uint8 [N, C, H, W] of images as `folder` reads them. The column ``path`` is from the CSV file's own folder;
    ``label`` says what an image is, and without it all are normal; ``split`` says train, validation or test. Without
    ``split`` the share ``test`` of the normals is tested with all anomalies; without any validation in it the share
    ``validation`` of the training normals is held out. Anomalies for training are left out.

    Args:
        path: the CSV file, from the current folder.
        size: side of the square that every image is resized to (bilinear, antialiased); unset, none is resized.
        test: share of the normals that is tested, where there is no column split.
        validation: share of the training normals that is held out, where split holds out none.
        normal: the label of normal images.
        anomaly: the label of anomalies.
        on_bad_image: what is done about a file that cannot be read: fail, or skip it and say how many there were.

    Raises:
        DataError: A file is missing, named twice or no image that can be read, a label is neither of the two, or the
            images differ in size or channels.
    """
    file = Path(path).expanduser()
    frame = read_frame(file, (".csv",))
    _spelled(list(frame.columns), file)
    files = [file.parent / str(one).strip() for one in words(frame, file, "path", "the images' column")]
    _distinct(files, file)
    labels, split, where = [0] * len(files), None, f"{file}"
    if "label" in frame.columns:
        where = f"{file}: column 'label'"
        labels = marked(words(frame, file, "label", "data.label"), normal, anomaly, where).tolist()
    if "split" in frame.columns:
        where = f"{file}: column 'split'"
        split = [str(one).strip() for one in words(frame, file, "split", "data.split")]
    return one_class(
        "manifest",
        where,
        Listing(files, labels, split),
        size=size,
        test=test,
        validation=validation,
        on_bad_image=on_bad_image,
    )


def _spelled(columns: list[str], where: Path) -> None:
    """Refuse columns that are meant but spelled otherwise: without a label, anomalies would be trained on.

    Raises:
        DataError: with the name that is wanted.
    """
    for name in columns:
        wanted = name.strip().lower().removesuffix("s")
        if wanted in ("label", "split") and wanted not in columns:
            raise DataError(f"{where}: column '{name}' is to be named '{wanted}'")
        if is_named(name) and "label" not in columns:
            raise DataError(f"{where}: column '{name}' looks like a label: it is to be named 'label'")


def _distinct(files: list[Path], where: Path) -> None:
    """Refuse files that are not there, and such that are named twice: one image could be learned from and tested.

    Raises:
        DataError: with the row.
    """
    rows: dict[Path, int] = {}
    for row, one in enumerate(files, 1):
        if one == where.parent:
            raise DataError(f"{where}: column 'path', row {row}: empty")
        if one.is_dir():
            raise DataError(f"{where}: column 'path', row {row}: {one} is a folder (allowed: image files)")
        if not one.is_file():
            beside = [other.name for other in one.parent.iterdir()] if one.parent.is_dir() else []
            raise DataError(f"{where}: column 'path', row {row}: {one} is not there{near(one.name, beside)}")
        first = rows.setdefault(one.resolve(), row)
        if first != row:
            raise DataError(f"{where}: column 'path', row {row}: {one} is named in row {first} already")
