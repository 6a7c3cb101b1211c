import pickle

import numpy as np
import pytest
import torch

from kdcompress.data.formats import read_cifar, read_idx
from tests.data.tiny_files import cifar_batch, idx

IMAGES = np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5)
LABELS = np.array([7, 3], dtype=np.uint8)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)


def test_idx_is_read_as_it_was_written():
    images, labels = read_idx([idx(IMAGES), idx(LABELS)])
    assert torch.equal(images, torch.from_numpy(IMAGES).unsqueeze(1))
    assert labels.tolist() == [7, 3]


@pytest.mark.parametrize(
    "content",
    [b"", idx(IMAGES)[:-1], idx(IMAGES) + b"x", idx(LABELS), b"\0\0\x0d\3" + idx(IMAGES)[4:], idx(IMAGES)[:9]],
)
def test_idx_of_another_header_or_length_is_refused(content):
    with pytest.raises(ValueError, match="not an idx file of bytes with 3 dimensions"):
        read_idx([content, idx(LABELS)])


def test_batches_are_read_as_pickle_reads_them():
    blobs = [cifar_batch([9, 0, 3], PIXELS), cifar_batch([1, 2, 255], PIXELS[::-1])]
    images, labels = read_cifar(blobs)
    unpickled = [pickle.loads(blob, encoding="latin1") for blob in blobs]
    assert np.array_equal(images.flatten(1), np.concatenate([batch["data"] for batch in unpickled]))
    assert labels.tolist() == sum((batch["labels"] for batch in unpickled), [])
    assert images.shape == (6, 3, 32, 32)
    assert images.is_contiguous()


def test_no_opcode_of_a_batch_is_run(tmp_path):
    marker = tmp_path / "marker"
    command = f"touch {marker}"
    attack = b"cos\nsystem\n(X" + len(command).to_bytes(4, "little") + command.encode() + b"tR0"
    blob = cifar_batch([9, 0, 3], PIXELS, extra=attack)
    images, labels = read_cifar([blob])
    assert labels.tolist() == [9, 0, 3]
    assert not marker.exists()
    pickle.loads(blob, encoding="latin1")
    assert marker.exists(), "the attack does not work, so that the test shows nothing"


@pytest.mark.parametrize("content", [b"", b"\x80\x02}.", cifar_batch([1, 2], PIXELS), b"\xff\xff"])
def test_another_pickle_is_refused(content):
    with pytest.raises(ValueError, match="not a batch file|labels, but|pickle|opcode"):
        read_cifar([content])
