import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from kdcompress.data.manifest import manifest
from kdcompress.errors import DataError

COUNT = 20


@pytest.fixture
def file(tmp_path):
    """Twenty images, grey as their number, every fourth an anomaly."""
    for index in range(COUNT):
        place = tmp_path / "images" / f"{index % 3}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 9), index, np.uint8)).save(place / f"{index}.png")
    return tmp_path / "list.csv"


def path_of(index):
    return f"images/{index % 3}/{index}.png"


def write(file, rows, header="path,label"):
    file.write_text("\n".join([header, *rows]) + "\n")
    return str(file)


def labelled(file):
    return write(file, [f"{path_of(index)},{int(index % 4 == 0)}" for index in range(COUNT)])


def values(part):
    return set(part[:, 0, 0, 0].tolist())


def test_images_are_parted_by_shares(file):
    data = manifest(path=labelled(file), validation=0.25)
    assert data.input_shape == (1, 8, 9)
    assert (len(data.train), len(data.validation), len(data.test)) == (9, 3, 8)
    assert values(data.test[data.labels == 1]) == {0, 4, 8, 12, 16}
    assert not {value for value in values(data.train) | values(data.validation) if value % 4 == 0}
    assert values(data.train) | values(data.validation) | values(data.test) == set(range(COUNT))


def test_images_are_parted_as_the_file_says_and_no_anomaly_is_trained_on(file):
    split = ["train"] * 10 + ["validation"] * 3 + ["test"] * 7
    rows = [f"{path_of(index)},{int(index % 4 == 0)},{split[index]}" for index in range(COUNT)]
    data = manifest(path=write(file, rows, "path,label,split"))
    assert values(data.train) == {1, 2, 3, 5, 6, 7, 9}
    assert values(data.validation) == {10, 11}
    assert values(data.test) == set(range(13, 20))
    assert any("4 anomalies for training or validation are left out" in note for note in data.notes)


def test_without_labels_all_are_normal(file):
    data = manifest(path=write(file, map(path_of, range(COUNT)), "path"))
    assert not data.labels.any()
    assert len(data.test) == 4


def test_labels_in_words(file):
    rows = [f"{path_of(index)},{'torn' if index % 4 == 0 else 'fine'}" for index in range(COUNT)]
    data = manifest(path=write(file, rows), normal="fine", anomaly="torn")
    assert data.digest() == manifest(path=labelled(file)).digest()


def test_the_place_is_no_part_of_the_digest(file, tmp_path_factory):
    here = manifest(path=labelled(file))
    other = tmp_path_factory.mktemp("z") / "elsewhere"
    shutil.copytree(file.parent, other)
    there = manifest(path=str(other / "list.csv"))
    assert torch.equal(here.train, there.train)
    assert here.digest() == there.digest()


@pytest.mark.parametrize(
    ("rows", "header", "match"),
    [
        (["images/0/0.pgn"], "path", r"column 'path', row 1: .*0\.pgn is not there; did you mean '0\.png'"),
        ([path_of(1), "images/2/../1/1.png"], "path", r"row 2: .* is named in row 1 already"),
        ([f"{path_of(1)},0", ",0"], "path,label", "column 'path', row 2: empty"),
        ([f"{path_of(1)},train", f"{path_of(2)},"], "path,split", "column 'split': row 2: ''"),
        ([path_of(1)], "file", "no column 'path'"),
        ([f"{path_of(1)},0"], "path,Label", "column 'Label' is to be named 'label'"),
        ([f"{path_of(1)},train"], "path,splits", "column 'splits' is to be named 'split'"),
        ([f"{path_of(1)},2"], "path,label", r"column 'label': row 1 has 2, neither data.normal \(0\)"),
        ([f"{path_of(1)},training"], "path,split", r"column 'split': row 1: 'training'; did you mean 'train'"),
        ([path_of(1)], "path", "1 normal images, at least 2 are needed"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(file, rows, header, match):
    with pytest.raises(DataError, match=match):
        manifest(path=write(file, rows, header))


def test_other_endings_are_refused(file):
    file.with_suffix(".txt").write_text("path\n")
    with pytest.raises(DataError, match=r"unknown kind of file \(allowed endings: \.csv\)"):
        manifest(path=str(file.with_suffix(".txt")))


def test_bad_images_are_skipped_with_their_rows(file):
    (file.parent / path_of(4)).write_bytes(b"no image")
    data = manifest(path=labelled(file), on_bad_image="skip")
    assert values(data.test[data.labels == 1]) == {0, 8, 12, 16}
    assert "1 of 20 images are left out" in data.notes[0]
