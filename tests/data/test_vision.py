import gzip
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kdcompress.data import vision
from kdcompress.errors import DataError
from tests.data.tiny_files import cifar_batch

FETCH = vision.download  # the real one, before the fixture that keeps tests off the network replaces it
MNIST_FILES = [*vision.MNIST.train, *vision.MNIST.test]
CIFAR_FILES = [*vision.CIFAR10.train, *vision.CIFAR10.test]
MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.fixture(scope="module")
def real_root():
    root = vision.data_root()
    for source in (vision.MNIST, vision.FASHION_MNIST, vision.CIFAR10):
        for file in (*source.train, *source.test):
            if not any((root / source.folder / name).exists() for name in (file, f"{file}.gz")):
                pytest.skip(f"real data: no {source.folder}/{file} below {root} (set KDCOMPRESS_DATA)")
    return str(root)


def test_root_is_the_option_then_the_environment_then_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("KDCOMPRESS_DATA", raising=False)
    assert vision.data_root() == Path("/home/someone/.cache/kdcompress/data")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert vision.data_root() == Path("/cache/kdcompress/data")
    monkeypatch.setenv("KDCOMPRESS_DATA", "/data")
    assert vision.data_root() == Path("/data")
    assert vision.data_root("~/mine") == Path("/home/someone/mine")


def test_root_of_nobody_is_refused():
    with pytest.raises(DataError, match=r"no folder for the data: .*data\.root or KDCOMPRESS_DATA"):
        vision.data_root("~nobody-of-this-name/data")


def test_tiny_mnist_is_split_by_class(tiny_mnist):
    data = vision.mnist(normal_class=4, validation=0.5, root=str(tiny_mnist))
    assert data.name == "mnist"
    assert (data.train.shape, data.validation.shape, data.test.shape) == ((3, 1, 4, 5), (3, 1, 4, 5), (30, 1, 4, 5))
    assert data.labels.tolist() == [int(i % 10 != 4) for i in range(30)]


def test_tiny_cifar_is_split_by_class(tiny_cifar):
    data = vision.cifar10(normal_class=4, validation=0.5, root=str(tiny_cifar))
    assert (data.train.shape, data.validation.shape, data.test.shape) == (
        (5, 3, 32, 32),
        (5, 3, 32, 32),
        (20, 3, 32, 32),
    )


def test_gzipped_files_will_do(tiny_mnist):
    whole = vision.mnist(root=str(tiny_mnist)).digest()
    for path in (tiny_mnist / "MNIST" / "raw").iterdir():
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert vision.mnist(root=str(tiny_mnist)).digest() == whole


@pytest.mark.parametrize("file", MNIST_FILES)
@pytest.mark.parametrize("damage", [lambda b: b[:-3], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""])
def test_damaged_idx_is_named_and_kept(tiny_mnist, file, damage):
    path = tiny_mnist / "MNIST" / "raw" / file
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    (path.parent / MNIST_FILES[MNIST_FILES.index(file) - 1]).unlink()  # a reason to download, but damage comes first
    with pytest.raises(DataError, match=f"{path} is damaged or not the published file.*delete it"):
        vision.mnist(root=str(tiny_mnist))
    assert path.read_bytes() == before


@pytest.mark.parametrize("file", CIFAR_FILES)
def test_damaged_batch_is_named(tiny_cifar, file):
    path = tiny_cifar / "cifar-10-batches-py" / file
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=f"{path} is damaged or not the published file"):
        vision.cifar10(root=str(tiny_cifar))


def test_batch_that_would_run_code_is_refused_and_not_run(tiny_cifar, tmp_path):
    marker = tmp_path / "marker"
    command = f"touch {marker}"
    attack = b"cos\nsystem\n(X" + len(command).to_bytes(4, "little") + command.encode() + b"tR0"
    path = tiny_cifar / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(cifar_batch([0, 1], np.zeros((2, 3072), np.uint8), extra=attack))
    with pytest.raises(DataError, match=f"{path} is damaged or not the published file"):
        vision.cifar10(root=str(tiny_cifar))
    assert not marker.exists()


def test_missing_set_says_where_it_was_sought_and_why_there_is_no_download(tmp_path, monkeypatch):
    def unreachable(title, folder):
        raise RuntimeError("Error downloading x:\nTried https://example.org, got:\n<Name not known>\n")

    monkeypatch.setattr(vision, "download", unreachable)
    with pytest.raises(DataError, match="MNIST is not in") as caught:
        vision.mnist(root=str(tmp_path))
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"MNIST is not in {tmp_path}/MNIST/raw (missing: train-images-idx3-ubyte, ")
    assert first.endswith("the download failed: Error downloading x: Tried https://example.org, got: <Name not known>")
    assert all(way in second for way in ("data.root", "KDCOMPRESS_DATA", ".cache/kdcompress/data", "MNIST/raw"))
    assert list(tmp_path.iterdir()) == []


def test_only_missing_files_are_fetched_into_their_place(tiny_mnist, monkeypatch):
    folder = tiny_mnist / "MNIST" / "raw"
    published = {path.name: path.read_bytes() for path in folder.iterdir()}
    whole = vision.mnist(root=str(tiny_mnist)).digest()
    gone, kept = folder / MNIST_FILES[0], folder / MNIST_FILES[1]
    gone.unlink()
    kept_since = kept.stat().st_mtime_ns

    def fetch(title, scratch):
        assert title == "MNIST"
        place = Path(scratch, "MNIST", "raw")
        place.mkdir(parents=True)
        for name, content in published.items():
            (place / name).write_bytes(content)

    monkeypatch.setattr(vision, "download", fetch)
    assert vision.mnist(root=str(tiny_mnist)).digest() == whole
    assert kept.stat().st_mtime_ns == kept_since
    assert {path.name for path in folder.iterdir()} == set(MNIST_FILES)
    assert [path.name for path in tiny_mnist.iterdir()] == ["MNIST"]


def test_interrupted_download_leaves_nothing_half_done(tmp_path, monkeypatch):
    def interrupted(title, scratch):
        place = Path(scratch, "MNIST", "raw")
        place.mkdir(parents=True)
        (place / MNIST_FILES[0]).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(vision, "download", interrupted)
    with pytest.raises(KeyboardInterrupt, match="^$"):
        vision.mnist(root=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_root_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="CIFAR10 is not in .*/file/below/cifar-10.*download failed: .*Not a directory"):
        vision.cifar10(root=str(tmp_path / "file" / "below"))


def test_torchvision_fetches_in_silence_and_not_for_ever(tmp_path, monkeypatch, capfd):
    from torchvision import datasets

    seen = []

    def loud(folder, download):
        print("progress")
        print("progress", file=sys.stderr)
        seen.append((folder, download, socket.getdefaulttimeout()))

    monkeypatch.setattr(datasets, "MNIST", loud)
    FETCH("MNIST", str(tmp_path))
    assert seen == [(str(tmp_path), True, 20.0)]
    assert socket.getdefaulttimeout() is None
    assert capfd.readouterr() == ("", "")


def test_torchvision_is_imported_for_a_download_only():
    program = (
        "import sys, kdcompress.data; assert 'torch' not in sys.modules; "
        "import kdcompress.data.vision; assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_md5s_are_torchvision_s():
    from torchvision.datasets import CIFAR10

    assert dict(CIFAR10.train_list) == vision.CIFAR10.train
    assert dict(CIFAR10.test_list) == vision.CIFAR10.test


@pytest.mark.parametrize("normal_class", range(10))
def test_real_mnist_counts(real_root, normal_class):
    data = vision.mnist(normal_class=normal_class, root=real_root)
    assert len(data.train) + len(data.validation) == MNIST_TRAIN[normal_class]
    assert len(data.validation) == round(0.1 * MNIST_TRAIN[normal_class])
    assert int((data.labels == 0).sum()) == MNIST_TEST[normal_class]
    assert int((data.labels == 1).sum()) == 10_000 - MNIST_TEST[normal_class]


@pytest.mark.parametrize(
    ("build", "shape", "normals"),
    [(vision.mnist, (1, 28, 28), 5851), (vision.fashion_mnist, (1, 28, 28), 6000), (vision.cifar10, (3, 32, 32), 5000)],
)
def test_real_sets_are_what_torchvision_reads(real_root, build, shape, normals):
    from torchvision import datasets

    ours = build(normal_class=8, root=real_root)
    title = {vision.mnist: "MNIST", vision.fashion_mnist: "FashionMNIST", vision.cifar10: "CIFAR10"}[build]
    if not (Path(real_root) / "MNIST" / "raw" / MNIST_FILES[0]).exists():
        pytest.skip("torchvision does not read the gzipped files")
    train, test = (getattr(datasets, title)(real_root, train=part) for part in (True, False))

    def images(source):  # torchvision has [N, H, W] or [N, H, W, 3]
        data = torch.as_tensor(source.data)
        return data.unsqueeze(1) if data.ndim == 3 else data.permute(0, 3, 1, 2)

    theirs = images(train)[torch.as_tensor(train.targets) == 8]
    assert ours.input_shape == shape
    assert len(theirs) == normals
    assert torch.equal(ours.test, images(test))
    assert torch.equal(ours.labels == 0, torch.as_tensor(test.targets) == 8)
    together = torch.cat([ours.train, ours.validation]).flatten(1)
    assert sorted(map(bytes, together.numpy())) == sorted(map(bytes, theirs.flatten(1).numpy()))


def test_real_mnist_is_the_one_of_every_release(real_root):
    # Golden: published results rest on it. It may change only together with the package's digest number.
    assert vision.mnist(normal_class=8, root=real_root).digest()[:8] == "06b02807"
