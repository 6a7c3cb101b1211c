"""Samples given from Python are what the same samples in a file are."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import kdcompress as kd
from kdcompress.data import DATASETS
from kdcompress.data.table import table
from kdcompress.errors import InputError
from kdcompress.seeding import derive

ROWS = np.random.default_rng(derive(0, "samples")).normal(size=(60, 4))
LABELS = (np.arange(60) % 6 == 0).astype(int)
IMAGES = (ROWS.repeat(16, 1).reshape(60, 1, 8, 8) * 40 + 128).clip(0, 255).astype(np.uint8)
STUDENT = {"name": "mlp_ae", "width": 0.5}
STRATEGY = {"name": "scratch", "epochs": 1, "batch_size": 16}


def same(one, other):
    fields = ("train", "validation", "test", "labels")
    return all(torch.equal(getattr(one, field), getattr(other, field)) for field in fields)


class Stream(IterableDataset):
    """A data set of torch without a length."""

    def __iter__(self):
        return iter(zip(ROWS, LABELS, strict=True))


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (torch.tensor(ROWS), torch.tensor(LABELS)),
        (pd.DataFrame(ROWS, columns=list("abcd")), pd.Series(LABELS)),
        (ROWS.tolist(), LABELS.astype(bool).tolist()),
        (TensorDataset(torch.tensor(ROWS), torch.tensor(LABELS)), None),
        (Stream(), None),
        (((row, label) for row, label in zip(ROWS, LABELS, strict=True)), None),
    ],
    ids=["tensor", "pandas", "lists", "data set", "iterable data set", "generator"],
)
def test_whatever_holds_them_the_samples_are_the_same(given, labels):
    found, plain = kd.samples(given, labels), kd.samples(ROWS, LABELS)
    assert found.name == plain.name
    assert same(found.data, plain.data)


COLOUR = np.random.default_rng(derive(0, "colour")).integers(0, 256, (60, 8, 9, 3), dtype=np.uint8)
TABLE = pd.DataFrame(ROWS, columns=list("abcd"))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_pillow_are_those_of_their_pixels(channels):
    pixels = COLOUR[..., 0] if channels == 1 else COLOUR
    given = [Image.fromarray(one) for one in pixels]
    stacked = COLOUR[..., :channels].transpose(0, 3, 1, 2)
    assert kd.samples(given).name == kd.samples(stacked).name
    pairs = list(zip(given, LABELS, strict=True))
    assert kd.samples(pairs).name == kd.samples(stacked, LABELS).name


def test_a_data_set_without_labels_has_samples_and_no_tuples():
    assert kd.samples(TensorDataset(torch.tensor(ROWS))).name == kd.samples(ROWS).name


def test_numbers_of_any_type_are_float32():
    rows = torch.tensor(ROWS)
    for kind in (torch.bfloat16, torch.float16, torch.int64):
        assert kd.samples(rows.to(kind)).name == kd.samples(rows.to(kind).float()).name


def test_images_and_windows_with_few_of_something_are_no_images_with_channels_last():
    shapes = [(1, 8, 8), (3, 8, 4), (4, 16, 3), (16, 4, 4), (3, 2, 2)]
    assert [kd.samples(np.zeros((20, *shape), np.uint8)).data.input_shape for shape in shapes] == shapes
    for shape in [(64, 3), (3, 64), (64, 1)]:
        assert kd.samples(np.zeros((20, *shape))).data.input_shape == shape


def test_shares_are_those_of_a_table(tmp_path):
    np.savez(tmp_path / "it.npz", X=ROWS, y=LABELS)
    file, given = table(path=str(tmp_path / "it.npz")), kd.samples(ROWS, LABELS).data
    sizes = [(len(one.train), len(one.validation), int(one.labels.sum()), len(one.test)) for one in (file, given)]
    assert sizes[0] == sizes[1]
    assert int(given.labels.sum()) == LABELS.sum()


def test_a_test_of_its_own_is_tested_whole_and_anomalies_are_not_learned_from():
    found = kd.samples(ROWS, LABELS, test=ROWS[:7], test_labels=LABELS[:7], validation=0.2).data
    assert torch.equal(found.test, torch.tensor(ROWS[:7]).float())
    assert found.labels.tolist() == LABELS[:7].tolist()
    assert (len(found.train), len(found.validation)) == (40, 10)
    learned = {tuple(row) for row in torch.cat([found.train, found.validation]).tolist()}
    assert learned == {tuple(row) for row in torch.tensor(ROWS[LABELS == 0]).float().tolist()}
    assert found.notes == ("samples: 10 anomalies for training are left out",)


def test_the_caller_may_change_his_array_afterwards():
    mine = ROWS.astype(np.float32)
    found = kd.samples(mine)
    before = found.data.digest()
    mine[:] = 0
    assert found.data.digest() == before


def test_other_samples_have_another_name():
    assert len({kd.samples(ROWS).name, kd.samples(ROWS, LABELS).name, kd.samples(ROWS + 1).name}) == 3


def test_a_run_learns_from_an_array_as_it_is_and_is_read_the_second_time(tmp_path, monkeypatch):
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    teacher = {"architecture": {"name": "mlp_ae"}, "strategy": STRATEGY}
    again = {"name": "reconstruction", "epochs": 1, "batch_size": 16}
    found = [kd.distill(data=ROWS, teacher=teacher, student=STUDENT, strategy=again, out=tmp_path) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0].student.auroc is None
    assert found[0].data.train + found[0].data.validation == 30


def test_samples_replace_what_a_recipe_says_of_data(tmp_path, monkeypatch):
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    source = {"data": {"name": "digits", "normal_class": 8}, "student": {"name": "conv_ae"}, "strategy": STRATEGY}
    found = kd.distill(source, data=kd.samples(IMAGES, LABELS), out=tmp_path)
    assert found.data.name == "samples"
    assert found.student.auroc is not None


def test_the_readmes_example_of_arrays_and_a_network_of_ones_own_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    page = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
    (code,) = (one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "kd.samples" in one)
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Sigmoid())
    known = {"kd": kd, "images": IMAGES, "labels": LABELS, "network": network}
    exec(code.replace('"epochs": 30', '"epochs": 1').replace("50_000", "9_000"), known)
    assert known["result"].student.macs <= 9_000
    assert known["result"].student.auroc is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"train": "rows.csv"}, "train: expected an array, .*, not 'rows.csv' .*'path': FILE"),
        ({"train": Path("rows.csv")}, r"train: expected an array, .*rows\.csv'\) .*'path': FILE"),
        ({"train": COLOUR}, r"uint8 \[60, 8, 9, 3\] looks like \[N, H, W, C\].*x\.transpose\(0, 3, 1, 2\)"),
        ({"train": torch.tensor(COLOUR / 255)}, r"\[60, 8, 9, 3\] looks like \[N, H, W, C\].*x\.permute"),
        ({"train": list(COLOUR[..., :1])}, r"uint8 \[60, 8, 9, 1\] looks like \[N, H, W, C\]"),
        ({"train": ROWS[:, :, None, None]}, r"float64 \[60, 4, 1, 1\]: images are uint8"),
        ({"train": DataLoader(TensorDataset(torch.tensor(ROWS)), 8)}, r"a DataLoader .*allowed: .*LOADER\.dataset"),
        ({"test": DataLoader(ROWS)}, "test: a DataLoader gives batches"),
        ({"train": (ROWS, LABELS)}, r"train: a tuple of two \(allowed: kd\.samples\(\.\.\., labels="),
        ({"train": [Image.new("L", (9, 9)), Image.new("RGB", (9, 9))]}, r"item 1 is \[3, 9, 9\], and item 0 is \[1, 9"),
        ({"train": [Image.new("F", (9, 9))] * 9}, r"samples: train: item 0: pixels of mode F \(allowed"),
        ({"train": [{"image": one} for one in ROWS]}, r"train: item 0: dict \(allowed: an array"),
        ({"train": [(one, 0, 0) for one in ROWS]}, r"train: item 0: tuple of 3 \(allowed: .*pair"),
        ({"train": ["a.png", "b.png"]}, "train: item 0: str"),
        ({"train": scipy.sparse.csr_matrix(ROWS)}, r"train: sparse \(allowed: dense"),
        ({"train": torch.tensor(ROWS).to_sparse()}, r"train: sparse \(allowed: dense"),
        ({"train": np.ma.masked_less(ROWS, 0)}, "train: some values are masked"),
        ({"train": TABLE.assign(c=TABLE.c.where(TABLE.index > 1))}, "train: column 'c': 2 of 60 values are missing"),
        ({"train": TABLE.assign(Label=LABELS)}, "train: column 'Label' looks like a label: give it as labels"),
        (
            {"train": TABLE.assign(bad=LABELS), "labels": pd.Series(LABELS, name="bad")},
            "'bad' is a value, and the labels",
        ),
        ({"train": ROWS[:, 0]}, r"train: float64 \[60\] \(allowed: rows \[N, D\], windows"),
        ({"train": ROWS[:0]}, r"train: float64 \[0, 4\]"),
        ({"train": IMAGES / 255}, r"train: float64 \[60, 1, 8, 8\]: images are uint8"),
        ({"train": IMAGES[:, 0]}, r"train: uint8 \[60, 8, 8\]: .* add an axis, x\[:, None\]"),
        ({"train": [[1, 2], [3]]}, r"train: item 1 is \[1\], and item 0 is \[2\]"),
        ({"train": np.where(ROWS > 2, np.nan, ROWS)}, r"train: \d+ values are not finite in float32, the first at"),
        ({"train": ROWS * 1e60}, r"train: \d+ values are not finite"),
        ({"train": pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})}, "train: column 'b' holds no numbers"),
        ({"labels": LABELS[:5]}, r"labels: expected 0 \(normal\) or 1 .* for each of 60 samples, found \[5\]"),
        ({"labels": LABELS * 2}, r"labels: .* with 0, 2"),
        ({"labels": np.ones(60)}, "labels: 0 normal samples, at least 2 are needed"),
        ({"labels": np.ones(60), "test": ROWS}, "labels: 0 normal samples, at least 2 are needed"),
        ({"train": list(zip(ROWS, LABELS, strict=True)), "labels": LABELS}, "the items of train have labels already"),
        ({"test": 1.0}, "test: expected samples or a share from 0 up to 1, not 1.0"),
        ({"test_labels": LABELS}, "test_labels: for a test of its own"),
        ({"test": ROWS[:, :3]}, r"test: float32 \[60, 3\] beside train's float32 \[60, 4\]"),
        ({"test": 0.0}, "nothing is left to test"),
        ({"validation": 0}, "validation: expected a share between 0 and 1, not 0"),
    ],
)
def test_wrong_samples_are_refused(arguments, said):
    before = set(DATASETS)
    with pytest.raises(InputError, match=said):
        kd.samples(**{"train": ROWS, **arguments})
    assert set(DATASETS) == before


def test_an_array_that_is_wrong_is_refused_by_distill_too(tmp_path):
    with pytest.raises(InputError, match="samples: train: expected an array"):
        kd.distill(data="rows.csv", student=STUDENT, strategy=STRATEGY, out=tmp_path)
