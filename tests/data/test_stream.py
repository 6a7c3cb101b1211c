import io
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kdcompress.data.stream import samples
from kdcompress.errors import DataError, InputError


def read(path, shape=(3,), dtype="float32"):
    return list(samples([str(path)], shape, dtype))


def csv(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text", ["1,2,3\n4,5,6e1\n", "a,b,c\n1,2,3\n4,5,6e1\n", "\ufeffa,b,c\r\n1,2,3\r\n\r\n4,5,60\r\n"]
)
def test_a_csv_table_with_and_without_a_header(tmp_path, text):
    found = read(csv(tmp_path, text))
    assert [one.values.tolist() for one in found] == [[1, 2, 3], [4, 5, 60]]
    assert [one.row for one in found] == [0, 1]
    assert found[0].values.dtype == np.float32


@pytest.mark.parametrize("first", ["1,n/a,3", "?,2,x", ",2,", ",,"])
def test_a_first_row_with_a_number_is_a_bad_row_and_no_header(tmp_path, first):
    found = read(csv(tmp_path, f"{first}\n4,5,6\n"))
    assert [(one.row, one.values is None) for one in found] == [(0, True), (1, False)]
    assert "row 0, column" in found[0].problem


def test_the_header_that_pandas_gives_columns_without_names_is_none_of_the_rows(tmp_path):
    pd.DataFrame(np.arange(6.0).reshape(2, 3)).to_csv(tmp_path / "t.csv", index=False)
    told = []
    found = list(samples([str(tmp_path / "t.csv")], (3,), "float32", told=told.append))
    assert [one.values.tolist() for one in found] == [[0, 1, 2], [3, 4, 5]]
    assert told == [f"{tmp_path / 't.csv'}: its first row is 0 to 2, taken for the header that pandas writes"]


@pytest.mark.parametrize(("first", "size"), [("0", 1), ("0,1,3", 3), ("0.0,1.0,2.0", 3)])
def test_other_numbers_in_the_first_row_are_data(tmp_path, first, size):
    told = []
    path = csv(tmp_path, f"{first}\n{first}\n")
    assert len(list(samples([str(path)], (size,), "float32", told=told.append))) == 2
    assert not told


def test_columns_of_words_are_left_out(tmp_path):
    found = read(csv(tmp_path, "name,a,when,b,c\nx,1,mon,2,3\ny,4,tue,5,6\n"))
    assert [one.values.tolist() for one in found] == [[1, 2, 3], [4, 5, 6]]


def test_a_gap_at_the_top_does_not_make_a_column_of_words(tmp_path):
    first, second = read(csv(tmp_path, "a,b,c\n1,,3\n4,5,6\n"))
    assert first.values is None
    assert "row 0, column b: expected a number, found ''" in first.problem
    assert second.values.tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("x", "expected a number, found 'x'"),
        ("1_0", "expected a number, found '1_0'"),
        ("nan", "finite number, found nan"),
        ("1e39", "found 1e\\+39"),
    ],
)
def test_a_bad_row_late_in_a_table_is_one_bad_sample(tmp_path, cell, said):
    rows = [f"{i},{i},{i}" for i in range(40)]
    rows[30] = f"1,{cell},2"
    found = read(csv(tmp_path, "\n".join(rows)))
    assert [one.row for one in found if one.values is None] == [30]
    with pytest.raises(DataError, match=said):
        raise DataError(found[30].problem)


@pytest.mark.parametrize("row", ["1,2", "1,5,2,3", "1,2,3,"])
@pytest.mark.parametrize("place", [3, 30])
@pytest.mark.parametrize("head", ["", "a,b,c\n"])
def test_a_row_with_more_or_fewer_fields_is_one_bad_sample(tmp_path, row, place, head):
    rows = [f"{i},{i},{i}" for i in range(40)]
    rows[place] = row
    found = read(csv(tmp_path, head + "\n".join(rows)))
    assert [one.row for one in found if one.values is None] == [place]
    said = f"row {place}: expected 3 fields as in the first row, found {row.count(',') + 1}"
    assert said in found[place].problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "2 numeric columns: a, b; the detector takes 3 numbers a row"),
        ("1,2,3,4\n", "4 numeric columns: 0, 1, 2, 3; the detector takes 3"),
        ("", "no rows"),
        ("a,b,c\n", "t.csv: no rows, only a header"),
        ("id,a,b,c\n" + "1,,2,3\n" * 30, "column 'a' is empty in the first 20 rows: --columns names"),
        ("id,a,b,c\n1,n/a,2,3\n", "column 'a' is empty in the first 1 rows"),
        ("1,2,3,\n4,5,6,\n", "column '3' is empty in the first 2 rows"),
        ("a,b,c,d\n1,2,3,4,5\n", "row 0: expected 4 fields as in the first row, found 5"),
        ("code,a,b,c\nx,1,2,3\n7,1,2,3\n", "4 numeric columns: code, a, b, c; the detector takes 3"),
    ],
)
def test_a_table_that_does_not_fit_is_told(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read(csv(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a,b,c\n1,2,3\n4,"5,6\n7,8,9\n', "line 4: a quote that was opened in a line before is never closed"),
        ('a,b,c\n1,2,3\n4,"5"5,6\n', "line 3: a quote is closed within a cell"),
    ],
)
def test_a_quote_does_not_take_the_rest_of_a_table_with_it_unseen(tmp_path, text, said):
    path = csv(tmp_path, text)
    with pytest.raises(DataError, match=f"t.csv: not a CSV table: {said}"):
        read(path)
    last = list(samples([str(path)], (3,), "float32", skip=True))[-1]
    assert said in last.problem


@pytest.mark.parametrize("names", [["a", "b", "c"], ["0", "1", "2"]])
def test_a_parquet_table_is_read_as_a_csv_table_is(tmp_path, names):
    rows = np.random.default_rng(0).normal(size=(5000, 3))
    frame = pd.DataFrame(rows, columns=names).assign(when="mon")
    frame.loc[4999, names[1]] = np.nan
    frame.to_parquet(tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet")
    assert [one.row for one in found] == list(range(5000))
    assert np.array_equal(np.stack([one.values for one in found[:-1]]), rows[:-1].astype(np.float32))
    assert found[-1].values is None


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_are_taken_by_name_in_the_order_that_is_wanted(tmp_path, ending):
    path = tmp_path / f"t.{ending}"
    frame = pd.DataFrame({"id": [7, 8], "c": [3, 6], "a": [1, 4], "b": [2.5, 5.5]})
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    found = list(samples([str(path)], (3,), "float32", ("a", "b", "c")))
    assert [one.values.tolist() for one in found] == [[1, 2.5, 3], [4, 5.5, 6]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b,cc\n1,2,3\n", r"--columns: no column 'c'; did you mean 'cc'\? \(the columns: a, b, cc\)"),
        ("a,b,c,c\n1,2,3,4\n", "--columns: two columns are called 'c'"),
        ("1,2,3\n", "--columns: no header, so no 'a'"),
    ],
)
def test_a_name_that_is_not_there_is_told(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        list(samples([str(csv(tmp_path, text))], (3,), "float32", ("a", "b", "c")))


@pytest.mark.parametrize(
    ("name", "columns", "said"),
    [
        ("t.csv", "aba", "--columns: 'a' is named twice"),
        ("t.npz", "abc", r"--columns: t.npz has no named columns \(allowed: .csv, .parquet, or '-' for CSV on stdin\)"),
        ("images", "abc", "--columns: images has no named columns"),
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_names_that_mean_nothing_are_told_before_anything_is_read(name, columns, said, skip):
    with pytest.raises(InputError, match=said):
        next(samples(["-", name], (3,), "float32", tuple(columns), skip=skip))


def test_more_names_than_the_detector_takes_are_told(tmp_path):
    path = csv(tmp_path, "a,b,c,d\n1,2,3,4\n")
    with pytest.raises(DataError, match="4 columns: a, b, c, d; the detector takes 3 numbers a row"):
        list(samples([str(path)], (3,), "float32", ("a", "b", "c", "d")))


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more"])
def test_a_damaged_parquet_table_is_told(tmp_path, content):
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(DataError, match="t.parquet: not a Parquet file, or a damaged one"):
        read(tmp_path / "t.parquet")


@pytest.mark.parametrize("text", ["1,2,3\n", "\ufeff1,2,3\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_csv_table_on_stdin(monkeypatch, text, encoding):
    stdin = io.TextIOWrapper(io.BytesIO(text.encode()), encoding=encoding)
    monkeypatch.setattr("sys.stdin", stdin)
    (found,) = samples(["-"], (3,), "float32")
    assert (found.file, found.row, found.values.tolist()) == ("stdin", 0, [1, 2, 3])
    assert not stdin.closed


def test_a_closed_stdin_is_told(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DataError, match="stdin: closed"):
        list(samples(["-"], (3,), "float32"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_table_is_what_numpy_wrote(tmp_path, save):
    rows = np.random.default_rng(0).standard_normal((150, 3))
    save(tmp_path / "t.npz", X=rows, y=np.zeros(150))
    found = read(tmp_path / "t.npz")
    assert np.array_equal(np.stack([one.values for one in found]), rows.astype(np.float32))
    assert [one.row for one in found] == list(range(150))


def test_images_in_an_npz_table(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 4, 5), dtype=np.uint8)
    np.savez(tmp_path / "t.npz", X=images)
    assert np.array_equal(np.stack([one.values for one in read(tmp_path / "t.npz", (1, 4, 5), "uint8")]), images)
    np.savez(tmp_path / "t.npz", X=images / 255)
    with pytest.raises(DataError, match=r"takes uint8 \[N, 1, 4, 5\], found float64"):
        read(tmp_path / "t.npz", (1, 4, 5), "uint8")


def test_a_value_that_is_not_finite_is_one_bad_sample(tmp_path):
    rows = np.ones((5, 3))
    rows[2, 1] = np.inf
    np.savez(tmp_path / "t.npz", X=rows)
    assert [one.problem for one in read(tmp_path / "t.npz") if one.problem] == [
        f"{tmp_path / 't.npz'}: row 2, column 1: expected a finite number, found inf"
    ]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"Z": np.ones((2, 3))}, r"X: missing \(the arrays in it: Z\)"),
        ({"X": np.ones((2, 4))}, r"takes float32 \[N, 3\], found float64 \[2, 4\]"),
        ({"X": np.array([[1, "a", None]], object)}, "expected numbers"),
        ({"X": np.array([["1", "2", "3"]])}, "expected numbers"),
        ({"X": np.ones((3, 4)).T}, "Fortran order"),
    ],
)
def test_an_npz_table_that_does_not_fit_is_told(tmp_path, arrays, said):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(DataError, match=said):
        read(tmp_path / "t.npz")


def test_damaged_and_missing_tables_are_told(tmp_path):
    np.savez(tmp_path / "t.npz", X=np.ones((100, 3)))
    whole = (tmp_path / "t.npz").read_bytes()
    (tmp_path / "t.npz").write_bytes(whole[:500])
    with pytest.raises(DataError, match="damaged"):
        read(tmp_path / "t.npz")
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "no.npz")
    with pytest.raises(DataError, match="cannot read"):
        read(tmp_path / "no.csv")


def test_a_table_larger_than_its_share_of_memory_streams(tmp_path):
    """40 MB in the file; a hundredth of it at a time."""
    with zipfile.ZipFile(tmp_path / "t.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("X.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (50_000, 100)})
        for _ in range(50):
            file.write(np.ones((1000, 100)).tobytes())
    tracemalloc.start()
    count = sum(1 for _ in samples([str(tmp_path / "t.npz")], (100,), "float32"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 50_000
    assert most < 2_000_000


def test_images_and_folders_are_converted_to_the_detectors_input(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    (tmp_path / "a").mkdir()
    Image.fromarray(colour).save(tmp_path / "a" / "x.png")
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (found,) = read(tmp_path, (3, 6, 5), "uint8")
    assert np.array_equal(found.values, colour.transpose(2, 0, 1))
    assert found.row is None
    (grey,) = read(tmp_path / "a" / "x.png", (1, 6, 5), "uint8")
    assert np.array_equal(grey.values[0], np.asarray(Image.fromarray(colour).convert("L")))
    (small,) = read(tmp_path, (3, 3, 4), "uint8")
    resized = Image.fromarray(colour).resize((4, 3), Image.Resampling.BILINEAR)
    assert np.array_equal(small.values, np.asarray(resized).transpose(2, 0, 1))


def test_a_damaged_image_is_one_bad_sample(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no")
    (found,) = read(tmp_path, (1, 4, 4), "uint8")
    assert found.values is None
    assert "not an image" in found.problem
    (two,) = read(tmp_path / "x.png", (2, 4, 4), "uint8")
    assert two.problem


def test_paths_that_do_not_fit_are_told(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        read(tmp_path / "no", (1, 4, 4), "uint8")
    with pytest.raises(DataError, match="no images in it"):
        read(tmp_path, (1, 4, 4), "uint8")
    with pytest.raises(DataError, match=r"takes samples of shape \(3,\), not images"):
        read(tmp_path)


def test_what_is_wrong_with_a_whole_file_is_one_bad_sample_where_asked(tmp_path):
    np.savez(tmp_path / "cut.npz", X=np.ones((100, 3)))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:500])
    (tmp_path / "wide.csv").write_text("1,2,3,4\n")
    (tmp_path / "latin.csv").write_bytes(b"1,2,3\n1,2,\xe9\n")
    (tmp_path / "good.csv").write_text("1,2,3\n")
    names = [
        str(tmp_path / name) for name in ("cut.npz", "no.csv", "no.npz", "no", "wide.csv", "latin.csv", "good.csv")
    ]
    found = list(samples(names, (3,), "float32", skip=True))
    assert [one.file for one in found if one.values is None] == names[:-1]
    assert all(one.problem.startswith(one.file) for one in found if one.values is None)
    assert found[-1].file == names[-1]
    assert found[-1].values.tolist() == [1, 2, 3]


def test_an_npz_table_without_rows_is_told(tmp_path):
    np.savez(tmp_path / "t.npz", X=np.ones((0, 3)))
    with pytest.raises(DataError, match="t.npz: X: no rows"):
        read(tmp_path / "t.npz")


def test_a_bare_array_is_told_what_would_do(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"x\.npy: a bare array \(allowed: .*an NPZ has it as X"):
        list(samples([str(tmp_path / "x.npy")], (3,), "float32"))
