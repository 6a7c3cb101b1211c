import numpy as np
import pytest
import torch

from kdcompress.data import DATASETS
from kdcompress.errors import DataError, MissingDataError


def rows(count=40, anomalies=8, columns=3):
    values = np.arange(count * columns, dtype=np.float64).reshape(count, columns)
    return values, np.r_[np.zeros(count - anomalies, np.int64), np.ones(anomalies, np.int64)]


def saved(folder, **arrays):
    np.savez(folder / "it.npz", **arrays)
    return str(folder / "it.npz")


def build(path, **options):
    return DATASETS["table"](path=path, **options)


def as_set(tensor):
    return {tuple(row) for row in tensor.tolist()}


def test_normals_are_parted_and_all_anomalies_are_tested(tmp_path):
    values, labels = rows()
    data = build(saved(tmp_path, X=values, y=labels), test=0.25, validation=0.25)
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 6, 16)
    assert as_set(data.test[data.labels == 1]) == {tuple(row) for row in values[labels == 1].tolist()}
    normals = [as_set(part) for part in (data.train, data.validation, data.test[data.labels == 0])]
    assert set.union(*normals) == {tuple(row) for row in values[labels == 0].tolist()}
    assert sum(map(len, normals)) == 32
    assert data.train.dtype == torch.float32
    assert data.input_shape == (3,)


def test_the_parts_are_the_same_always_whatever_the_values(tmp_path):
    values, labels = rows()
    one = build(saved(tmp_path, X=values, y=labels))
    other = build(saved(tmp_path, X=values + 1, y=labels))
    assert torch.equal(one.train + 1, other.train)


def test_without_labels_all_rows_are_normal(tmp_path):
    data = build(saved(tmp_path, X=rows()[0]))
    assert not data.labels.any()
    assert len(data.test) == 20


def test_training_normals_can_be_held_to_a_number(tmp_path):
    values, labels = rows()
    path = saved(tmp_path, X=values, y=labels)
    whole, some = build(path, validation=0.25), build(path, validation=0.25, most=12)
    assert (len(some.train), len(some.validation)) == (9, 3)
    assert torch.equal(whole.test, some.test)
    assert as_set(some.train) | as_set(some.validation) < as_set(whole.train) | as_set(whole.validation)


def test_bytes_do_not_wrap_around(tmp_path):
    data = build(saved(tmp_path, X=np.full((20, 2), 255, np.uint8)))
    assert data.train.max() == 255


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros(3)}, r"X: missing.*arrays in it: y"),
        ({"x": np.zeros((3, 2))}, "X: missing; did you mean 'x'"),
        ({"X": np.zeros(3)}, r"X: expected numbers \[N, D\], found float64 \[3\]"),
        ({"X": np.array([["a"]])}, "X: expected numbers"),
        ({"X": np.zeros((4, 2)), "y": np.array([-1, 1, 1, 1])}, r"y: expected 0 \(normal\) or 1 \(anomaly\)"),
        ({"X": np.zeros((4, 2)), "y": np.zeros(3)}, r"y: expected .* for each of 4 rows, found \[3\]"),
        ({"X": np.zeros((4, 2)), "y": np.ones(4)}, r"y: 0 normal rows \(y = 0\), at least 2"),
        ({"X": np.array([[0, 0], [1, np.nan], [1, 1]])}, "1 values are not finite .* row 1, column 1: nan"),
        ({"X": np.array([[0, 1e300], [1, 1]])}, "not finite in float32, the first in row 0, column 1"),
    ],
)
def test_what_is_no_table_is_said_with_its_place(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        build(saved(tmp_path, **arrays))


def test_a_missing_file_has_its_neighbours_named(tmp_path):
    saved(tmp_path, X=np.zeros((4, 2)))
    with pytest.raises(DataError, match=r"its\.npz: no such file; did you mean 'it\.npz'"):
        build(str(tmp_path / "its.npz"))


def test_a_pickle_is_not_run(tmp_path):
    np.savez(tmp_path / "it.npz", X=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="not an NPZ file of plain arrays"):
        build(str(tmp_path / "it.npz"))


def test_a_single_array_is_no_table(tmp_path):
    np.save(tmp_path / "it.npy", np.zeros((4, 2)))
    with pytest.raises(DataError, match="a single array"):
        build(str(tmp_path / "it.npy"))


def test_adbench_says_where_it_looked(tmp_path):
    with pytest.raises(MissingDataError, match=r"cardio is not at .*adbench.6_cardio\.npz"):
        DATASETS["adbench"](root=str(tmp_path))


def test_adbench_is_its_table_by_name(tmp_path):
    (tmp_path / "adbench").mkdir()
    values, labels = rows()
    np.savez(tmp_path / "adbench" / "42_WBC.npz", X=values, y=labels)
    data = DATASETS["adbench"](set="WBC", root=str(tmp_path))
    assert (data.name, data.normal_class) == ("adbench", "WBC")
    assert len(data.test) == 16 + 8
