"""MNIST, Fashion-MNIST and CIFAR-10, from the files that their authors published.

torchvision only fetches them, and is imported for nothing else: its import alone takes longer than loading
does, and its own readers take an idx file of any content, prefer a ``processed`` folder where there is one,
and unpickle CIFAR-10. Here a file is read once, and its md5 is compared before anything interprets it.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdcompress.data import DATASETS
from kdcompress.data.files import read_verified
from kdcompress.data.formats import Part, read_cifar, read_idx
from kdcompress.data.one_class import OneClassData
from kdcompress.data.split import Share, TenClasses, one_vs_rest
from kdcompress.errors import DataError, MissingDataError

_SECONDS_WITHOUT_ANSWER = 20.0


@dataclass(frozen=True)
class Source:
    """A published set: torchvision's name, the folder below the root, the files' md5 and their reader."""

    title: str
    folder: str
    train: Mapping[str, str]
    test: Mapping[str, str]
    read: Callable[[Sequence[bytes]], Part]


MNIST = Source(
    title="MNIST",
    folder="MNIST/raw",
    train={
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    },
    test={
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    read=read_idx,
)
FASHION_MNIST = Source(
    title="FashionMNIST",
    folder="FashionMNIST/raw",
    train={
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    },
    test={
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    read=read_idx,
)
CIFAR10 = Source(
    title="CIFAR10",
    folder="cifar-10-batches-py",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    read=read_cifar,
)


@DATASETS.register("mnist")
def mnist(*, normal_class: TenClasses = 0, validation: Share = 0.1, root: str | None = None) -> OneClassData:
    """28x28 handwritten digits: one class against the rest.

    uint8 [N, 1, 28, 28]. Training: the 5421 to 6742 images of the normal class in the source's training set,
    less the share ``validation``; test: the source's whole test set of 10 000, 892 to 1135 of them normal.
    The files are in MNIST/raw below ``root``, else below $KDCOMPRESS_DATA, else below
    ~/.cache/kdcompress/data, or are fetched there.

    Source: Y. LeCun, C. Cortes and C. Burges, 1998; the authors state no licence.

    Args:
        normal_class: the class that counts as normal.
        validation: share of the training normals that is held out.
        root: folder of the sets; unset, $KDCOMPRESS_DATA or the user's cache.
    """
    return _one_class("mnist", MNIST, normal_class, validation, root)


@DATASETS.register("fashion_mnist")
def fashion_mnist(*, normal_class: TenClasses = 0, validation: Share = 0.1, root: str | None = None) -> OneClassData:
    """28x28 articles of clothing: one class against the rest.

    uint8 [N, 1, 28, 28]. Training: the 6000 images of the normal class in the source's training set, less the
    share ``validation``; test: the source's whole test set of 10 000, 1000 of them normal. The files are in
    FashionMNIST/raw below ``root``, else below $KDCOMPRESS_DATA, else below ~/.cache/kdcompress/data, or are
    fetched there.

    Source: H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, 2017 (MIT licence).

    Args:
        normal_class: the class that counts as normal.
        validation: share of the training normals that is held out.
        root: folder of the sets; unset, $KDCOMPRESS_DATA or the user's cache.
    """
    return _one_class("fashion_mnist", FASHION_MNIST, normal_class, validation, root)


@DATASETS.register("cifar10")
def cifar10(*, normal_class: TenClasses = 0, validation: Share = 0.1, root: str | None = None) -> OneClassData:
    """32x32 colour photographs: one class against the rest.

    uint8 [N, 3, 32, 32]. Training: the 5000 images of the normal class in the source's training set, less the
    share ``validation``; test: the source's whole test set of 10 000, 1000 of them normal. The files are in
    cifar-10-batches-py below ``root``, else below $KDCOMPRESS_DATA, else below ~/.cache/kdcompress/data, or
    are fetched there.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; no licence is stated.

    Args:
        normal_class: the class that counts as normal.
        validation: share of the training normals that is held out.
        root: folder of the sets; unset, $KDCOMPRESS_DATA or the user's cache.
    """
    return _one_class("cifar10", CIFAR10, normal_class, validation, root)


def _one_class(name: str, source: Source, normal_class: int, validation: float, root: str | None) -> OneClassData:
    train, test = load(source, data_root(root))
    return one_vs_rest(name, *train, *test, normal_class=normal_class, validation=validation)


def data_root(root: str | None = None) -> Path:
    """Return the folder of the sets: the option, else $KDCOMPRESS_DATA, else the user's cache folder."""
    try:
        named = root or os.environ.get("KDCOMPRESS_DATA")
        return Path(named).expanduser() if named else _cache()
    except RuntimeError as error:  # no such user, or no home
        raise DataError(f"no folder for the data: {error}; name one as data.root or KDCOMPRESS_DATA") from None


def _cache() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "kdcompress" / "data"


def load(source: Source, root: Path) -> tuple[Part, Part]:
    """Return the training and the test part of a set, fetching the files that are not there.

    Raises:
        DataError: A file is damaged.
        MissingDataError: Files are missing and cannot be fetched.
    """
    expected = {**source.train, **source.test}
    folder = root / source.folder
    found = read_verified(folder, expected)
    missing = {file: md5 for file, md5 in expected.items() if file not in found}
    if missing:
        _fetch(source, root, missing)
        found |= read_verified(folder, missing)
    return source.read([found[file] for file in source.train]), source.read([found[file] for file in source.test])


def _fetch(source: Source, root: Path, missing: Iterable[str]) -> None:
    """Put the missing files in their place, each whole or not at all; what is there is not touched."""
    folder = root / source.folder
    if os.environ.get("KDCOMPRESS_OFFLINE"):
        raise MissingDataError(f"{source.title} is not in {folder}, and KDCOMPRESS_OFFLINE forbids to download it")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as scratch:
            download(source.title, scratch)
            folder.mkdir(parents=True, exist_ok=True)
            for file in missing:
                Path(scratch, source.folder, file).replace(folder / file)
    except Exception as error:  # the network, the disk, the archive: torchvision lets through whatever they raise
        why = " ".join(str(error).split())[:300]
        raise MissingDataError(
            f"{source.title} is not in {folder} (missing: {', '.join(missing)}) and the download failed: {why}\n"
            "Say where it is with the option data.root=FOLDER or with the environment variable KDCOMPRESS_DATA, or use "
            f"the folder ~/.cache/kdcompress/data; the files are looked for in {source.folder} below it"
        ) from error


def download(title: str, folder: str) -> None:
    """Have torchvision fetch a set; what it prints goes to stderr, and only if that is a terminal."""
    from torchvision import datasets

    noise = sys.stderr if sys.stderr.isatty() else io.StringIO()
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS_WITHOUT_ANSWER)  # torchvision itself would wait for ever
    try:
        with contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
            getattr(datasets, title)(folder, download=True)
    finally:
        socket.setdefaulttimeout(patience)
