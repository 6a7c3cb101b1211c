import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdcompress.data import vision
from tests.data.tiny_files import cifar_batch, idx

CLASSES = 10


def md5(content):
    return hashlib.md5(content).hexdigest()


def write(source, root, contents):
    """Write the files and return the source that expects just them."""
    folder = root / source.folder
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return replace(
        source,
        train={name: md5(contents[name]) for name in source.train},
        test={name: md5(contents[name]) for name in source.test},
    )


@pytest.fixture(autouse=True)
def no_network(request, monkeypatch):
    """A test that would download fails instead."""

    def refuse(title, folder):
        raise AssertionError(f"download of {title}")

    monkeypatch.setattr(vision, "download", refuse)


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
    """MNIST with 60 training images, 30 test images and the root of its files."""
    rng = np.random.default_rng(0)
    contents = {}
    for part, count in (("train", 60), ("t10k", 30)):
        images = rng.integers(0, 256, (count, 4, 5), dtype=np.uint8)
        contents[f"{part}-images-idx3-ubyte"] = idx(images)
        contents[f"{part}-labels-idx1-ubyte"] = idx((np.arange(count) % CLASSES).astype(np.uint8))
    monkeypatch.setattr(vision, "MNIST", write(vision.MNIST, tmp_path, contents))
    return tmp_path


@pytest.fixture
def tiny_cifar(tmp_path, monkeypatch):
    """CIFAR-10 with 20 images a file, and the root of its files."""
    rng = np.random.default_rng(0)
    contents = {
        name: cifar_batch(np.arange(20) % CLASSES, rng.integers(0, 256, (20, 3072), dtype=np.uint8))
        for name in (*vision.CIFAR10.train, *vision.CIFAR10.test)
    }
    monkeypatch.setattr(vision, "CIFAR10", write(vision.CIFAR10, tmp_path, contents))
    return tmp_path


@pytest.fixture
def rows():
    """The samples of a tensor as a set, to compare parts of a data set by content."""

    def of(images: torch.Tensor) -> set[bytes]:
        return {image.numpy().tobytes() for image in images}

    return of
