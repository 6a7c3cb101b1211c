"""Images in folders: MVTec AD's layout, or normals in one folder and anomalies in another, with a user's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from kdcompress.data import DATASETS
from kdcompress.data.images import ENDINGS, OnBadImage, Side, listed, unread
from kdcompress.data.listing import Listing, one_class
from kdcompress.data.one_class import OneClassData
from kdcompress.data.split import Share
from kdcompress.errors import DataError, near
from kdcompress.signature import Later


@DATASETS.register("folder")
def folder(
    *,
    root: str,
    size: Side | None = None,
    validation: Share = 0.1,
    test: Annotated[Share, Later()] = 0.2,
    on_bad_image: Annotated[OnBadImage, Later()] = "fail",
) -> OneClassData:
    """Images in folders: MVTec AD's train/good and test/<kind of defect>, or normal and anomaly.

    uint8 [N, C, H, W], C as the files have it: 1 grey, 2 grey with transparency, 3 colour, 4 with transparency. 16-bit
    grey becomes 8-bit by the range of the type, 0..65535 to 0..255; images are turned as their EXIF data say. What lies
    in train/good is normal, less the share ``validation``; what lies in test/good is tested as normal, what lies in any
    other folder below test as an anomaly. Where there is a folder normal and none named train, it is the other layout:
    the share ``test`` of the images in normal is tested with all that are in anomaly, if there is such a folder. That
    share of train/good is tested where there is no test. Without ``size`` all images have to be of one size. Folders
    are searched at any depth; links to folders are not followed.

    Args:
        root: the folder that train and test, or normal and anomaly, lie in, from the current folder.
        size: side of the square that every image is resized to (bilinear, antialiased); unset, none is resized.
        validation: share of the training normals that is held out.
        test: share of the normals that is tested, where they lie in one folder.
        on_bad_image: what is done about a file that cannot be read: fail, or skip it and say how many there were.

    Raises:
        DataError: A folder is missing or has no images, a file is no image that can be read, or the images differ
            in size or channels.
    """
    top = _existing(Path(root).expanduser(), "data.root")
    one_place = (top / "normal").is_dir() and not (top / "train").exists()
    listing = _normal_and_anomaly(top) if one_place else _train_and_test(top)
    return one_class(
        "folder", str(top), listing, size=size, test=test, validation=validation, on_bad_image=on_bad_image
    )


def _train_and_test(top: Path) -> Listing:
    normal, tested = _images(_existing(top / "train" / "good", "the training normals' folder")), top / "test"
    if not tested.exists():
        others = [path.name for path in top.iterdir() if path.is_dir() and path.name != "train"]
        if guess := near("test", others):
            raise DataError(f"{tested}: not there{guess} (wanted below data.root: train and, if anything is, test)")
        return Listing(normal, [0] * len(normal), notes=unread(top / "train" / "good"))
    kinds = sorted(path for path in _existing(tested, "the test folder").iterdir() if path.is_dir())
    if tested / "good" not in kinds:
        raise DataError(
            f"{tested}: no folder 'good' with the normal test images{near('good', [k.name for k in kinds])} (where "
            "none are set apart: normal and anomaly below data.root, in place of train and test)"
        )
    of_kind = [(file, int(kind.name != "good")) for kind in kinds for file in _images(kind)]
    labels = [0] * len(normal) + [label for _, label in of_kind]
    return Listing(
        [*normal, *(file for file, _ in of_kind)],
        labels,
        ["train"] * len(normal) + ["test"] * len(of_kind),
        unread(top / "train" / "good", *kinds),
    )


def _normal_and_anomaly(top: Path) -> Listing:
    normal, place = _images(top / "normal"), top / "anomaly"
    others = [path.name for path in top.iterdir() if path.is_dir() and path.name != "normal"]
    if not place.is_dir() and (guess := near("anomaly", others)):
        raise DataError(f"{place}: not there{guess} (wanted below data.root: normal and, if any are known, anomaly)")
    anomalous = _images(place) if place.is_dir() else []
    return Listing([*normal, *anomalous], [0] * len(normal) + [1] * len(anomalous), notes=unread(top / "normal", place))


def _existing(path: Path, what: str) -> Path:
    if not path.is_dir():
        beside = sorted(one.name for one in path.parent.iterdir() if one.is_dir()) if path.parent.is_dir() else []
        raise DataError(
            f"{path}: {what} is {'a file' if path.exists() else 'not there'}{near(path.name, beside)} (wanted below "
            "data.root: train/good and, if anything is set apart, test/good and test/<kind of defect>; or normal and, "
            "if any are known, anomaly)"
        )
    return path


def _images(place: Path) -> list[Path]:
    """Return the image files of a folder and of those below it, in the order of their names."""
    if not (found := listed(place)):
        there = "".join(f"; {note}" for note in unread(place))
        raise DataError(f"{place}: no images in it (allowed endings: {', '.join(ENDINGS)}){there}")
    return found
