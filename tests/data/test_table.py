import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch

from kdcompress import signature
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
        ({"X": 3.0}, r"X: expected numbers \[N, D\], found float64 \[\]"),
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


def frame(count=40, anomalies=8):
    drawn = np.random.default_rng(0)
    kinds = np.r_[np.zeros(count - anomalies, int), np.ones(anomalies, int)]
    columns = {"a": drawn.normal(size=count), "b": drawn.integers(0, 99, count), "kind": kinds}
    return pd.DataFrame({**columns, "who": [f"p{index}" for index in range(count)]})


def written(folder, rows, ending="csv"):
    path = folder / f"it.{ending}"
    if ending == "csv":
        rows.to_csv(path, index=False)
    else:
        rows.to_parquet(path)
    return str(path)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_files_with_names_give_what_arrays_give(tmp_path, ending):
    rows = frame()
    plain = build(saved(tmp_path, X=rows[["a", "b"]].to_numpy(), y=rows["kind"].to_numpy()))
    named = build(written(tmp_path, rows, ending), label="kind")
    assert named.digest() == plain.digest()
    assert named.notes == (f"{tmp_path}/it.{ending}: left out, for they hold no numbers: who",)
    ordered = build(written(tmp_path, rows, ending), label="kind", columns=("b", "a"))
    assert torch.equal(ordered.train, plain.train.flip(1))
    assert not ordered.notes


def test_the_place_of_a_file_is_no_part_of_its_digest(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    here, there = written(tmp_path, frame()), written(tmp_path / "x" / "y", frame())
    assert build(here, label="kind").digest() == build(there, label="kind").digest()
    assert build(here, label="kind").digest() != build(here, without=("kind",)).digest()


def test_columns_are_left_out_by_name_and_labels_are_no_features(tmp_path):
    path = written(tmp_path, frame())
    assert build(path).input_shape == (3,)
    assert build(path, label="kind").input_shape == (2,)
    assert build(path, label="kind", without=("b",)).input_shape == (1,)


def test_labels_of_ones_own(tmp_path):
    rows = frame().assign(kind=lambda all_: all_["kind"].map({0: "fine", 1: "torn"}))
    data = build(written(tmp_path, rows), label="kind", normal="fine", anomaly="torn")
    assert int(data.labels.sum()) == 8
    with pytest.raises(DataError, match=r"column 'kind': row 1 has fine, neither data.normal \(0\) nor"):
        build(written(tmp_path, rows), label="kind")


def test_a_split_column_is_kept_to(tmp_path):
    rows = frame().assign(part=["train"] * 10 + ["validation"] * 5 + ["test"] * 15 + ["train"] * 10)
    data = build(written(tmp_path, rows), label="kind", split="part")
    assert (len(data.train), len(data.validation), len(data.test)) == (12, 5, 15)
    assert any("8 anomalies for training" in note for note in data.notes)
    with pytest.raises(DataError, match=r"data\.most: not with data\.split"):
        build(written(tmp_path, rows), label="kind", split="part", most=5)


GAPS = [3, 20, 35]


def with_gaps(rows):
    rows.loc[GAPS, "a"] = np.nan
    return rows


@pytest.mark.parametrize(("missing", "statistic"), [("median", np.median), ("mean", np.mean)])
def test_gaps_are_filled_in_by_training_rows_alone(tmp_path, missing, statistic):
    rows = frame().assign(a=lambda all_: all_["a"].where(all_["kind"] == 0, 1e6), b=range(40))
    data = build(written(tmp_path, with_gaps(rows)), label="kind", missing=missing)
    trained = [index for index in data.train[:, 1].long().tolist() if index not in GAPS]
    expected = np.float32(statistic(rows["a"].to_numpy()[trained]))
    values = {int(index): value for value, index in torch.cat([data.train, data.validation, data.test]).tolist()}
    assert [values[index] for index in GAPS] == [expected] * 3
    assert values[0] == np.float32(rows["a"][0])
    assert any(f"3 missing values are the {missing}" in note for note in data.notes)


def test_rows_with_gaps_are_dropped_and_the_others_stay_where_they_are(tmp_path):
    path = written(tmp_path, with_gaps(frame()))
    data = build(path, label="kind", missing="drop")
    assert len(data.train) + len(data.validation) + len(data.test) == 37
    assert any("3 of 40 rows are left out" in note for note in data.notes)
    assert int(data.labels.sum()) == 7


def test_a_gap_fails_unless_asked_otherwise(tmp_path):
    path = written(tmp_path, with_gaps(frame()))
    with pytest.raises(DataError, match=r"it\.csv: 3 values are not finite .* row 4, column 'a': nan; .*data\.missing"):
        build(path, label="kind")


@pytest.mark.parametrize("name", ["label", "Anomaly", "is_outlier"])
def test_what_is_a_label_by_its_name_is_not_learned_from(tmp_path, name):
    path = written(tmp_path, frame().rename(columns={"kind": name}))
    with pytest.raises(DataError, match=rf"column '{name}' looks like a label: name it in data\.label, or"):
        build(path)
    assert build(path, label=name).input_shape == build(path, without=(name,)).input_shape == (2,)
    assert build(path, columns=("a", "b", name)).input_shape == (3,)


@pytest.mark.parametrize(
    ("change", "options", "match"),
    [
        ({"a": ["1"] * 5 + ["12,5"] + ["2"] * 34}, {}, r"column 'a', row 6: '12,5' is no number, as are 0 more of 40"),
        ({"a": [1.0] * 39 + [np.inf]}, {}, r"1 values are not finite in float32, the first in row 40, column 'a': inf"),
        ({"a": [1.0] * 39 + [np.inf]}, {"missing": "median"}, "row 40, column 'a': inf; fill them in or leave"),
        ({"a": 1}, {}, r"column 'a': the same in all rows, or empty, so of no use; leave it out with data\.without"),
        ({"a": np.nan, "b": 2}, {}, "columns 'a', 'b': the same in all rows"),
        ({}, {"columns": ("a", "bb")}, r"data\.columns: no column 'bb'; did you mean 'b'\? \(the columns: a, b, kind"),
        ({}, {"label": "Kind"}, r"data\.label: no column 'Kind'; did you mean 'kind'"),
        ({}, {"split": "kin"}, r"data\.split: no column 'kin'; did you mean 'kind'"),
        ({}, {"without": ("c",)}, r"data\.without: no column 'c'"),
        ({}, {"columns": ("a", "who")}, "column 'who' holds no numbers"),
        ({}, {"columns": ("a", "a")}, r"data\.columns: 'a' is named twice"),
        ({}, {"columns": ("a", "kind"), "label": "kind"}, r"'kind' is the label, the split or left out"),
        ({}, {"split": "who"}, "column 'who': row 1: 'p0' .*allowed: train, validation, test"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_place(tmp_path, change, options, match):
    path = written(tmp_path, frame().assign(**change))
    with pytest.raises(DataError, match=match):
        build(path, **options)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "it.csv: empty; a header and rows are expected"),
        (b"a,b\n", "it.csv: no rows in it"),
        (b"1,2\n3,4\n", "the first row has numbers; a header"),
        (b"a,b\n1,2,3\n4,5,6\n", "its rows have more fields than its header"),
        (b"a,b\n1,2\n4,5,6\n", "not a CSV file, or a damaged one: .*line 3"),
        (b"a,a\n1,2\n4,5\n", "two columns are named 'a'"),
        (b"a;b\n1;2\n4;5\n", "its columns are parted by ';' .*commas"),
        (b"\xff\xfe\x00a,b\n", "not in UTF-8"),
    ],
)
def test_what_is_no_csv_file_is_said(tmp_path, content, match):
    (tmp_path / "it.csv").write_bytes(content)
    with pytest.raises(DataError, match=match):
        build(str(tmp_path / "it.csv"))


def test_what_is_no_parquet_file_is_said(tmp_path):
    (tmp_path / "it.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(DataError, match="not a PARQUET file"):
        build(str(tmp_path / "it.parquet"))
    with pytest.raises(DataError, match=r"no such file; did you mean 'it\.parquet'"):
        build(str(tmp_path / "its.parquet"))


def test_parquet_has_other_kinds_of_columns(tmp_path):
    rows = frame().assign(
        flag=[True, False] * 20,
        day=pd.date_range("2024-01-01", periods=40),
        grade=pd.Categorical(["x", "y"] * 20),
        price=[Decimal("1.5"), Decimal("2.5")] * 20,
        whole=pd.array([1, None] * 20, dtype="Int64"),
        other=pd.array([3, 4] * 20, dtype="Int64"),
    )
    data = build(written(tmp_path, rows.drop(columns="whole"), "parquet"), label="kind")
    assert data.input_shape == (5,)
    assert "day, grade" in data.notes[0]
    assert set(data.train[:, 3].tolist()) == {1.5, 2.5}
    with pytest.raises(DataError, match="the same in all rows"):
        build(written(tmp_path, rows, "parquet"), label="kind")


def test_options_for_names_are_not_for_arrays(tmp_path):
    with pytest.raises(DataError, match=r"data\.label: for files that have it \(\.csv, \.parquet\), not for arrays"):
        build(saved(tmp_path, X=rows()[0]), label="y")


def test_without_pandas_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DataError, match=r"needs pandas .*pip install 'kdcompress\[tables\]'"):
        build(written_plain(tmp_path))


def written_plain(folder):
    (folder / "it.csv").write_text("a\n1\n2\n")
    return str(folder / "it.csv")


def test_options_that_came_later_leave_old_digests_as_they_were():
    assert set(signature.resolved(DATASETS["table"], {"path": "x"})) == {"path", "test", "validation", "most"}
    assert signature.resolved(DATASETS["table"], {"path": "x", "normal": "ok"})["normal"] == "ok"
    assert set(signature.resolved(DATASETS["adbench"], {})) == {"set", "test", "validation", "most", "root"}
    assert set(signature.resolved(DATASETS["folder"], {"root": "x"})) == {"root", "size", "validation"}


def test_numbers_that_float32_cannot_tell_apart_are_said(tmp_path):
    rows = [f"{20240000000 + i},{i}" for i in range(60)]
    (tmp_path / "it.csv").write_text("\n".join(["when,value", *rows]))
    (note,) = DATASETS["table"](path=str(tmp_path / "it.csv")).notes
    assert "column 'when' has 60 different numbers, " in note
    assert "in float32" in note


def test_words_that_pandas_takes_for_gaps_are_labels(tmp_path):
    kinds = ["None", "null"] + ["None"] * 18
    lines = ["a,kind,part", *(f"{row},{kind},train" if row else f"{row},{kind},test" for row, kind in enumerate(kinds))]
    (tmp_path / "it.csv").write_text("\n".join(lines) + "\n")
    data = build(str(tmp_path / "it.csv"), label="kind", normal="None", anomaly="null", columns=["a"])
    assert data.test[data.labels == 1].tolist() == [[1.0]]
    assert len(data.train) + len(data.validation) + len(data.test) == 20


def test_numbers_stay_labels_beside_a_gap(tmp_path):
    (tmp_path / "it.csv").write_text("a,y\n1,0.0\n2,1.0\n3,\n")
    with pytest.raises(DataError, match=r"row 3 has no value, .* the values there: 0 \(1\), 1 \(1\), empty \(1\)"):
        build(str(tmp_path / "it.csv"), label="y")
