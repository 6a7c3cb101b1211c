"""Tables as people have them: read, or refused with what to do."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from kdcompress.data.frame import numbers, read_frame
from kdcompress.data.manifest import manifest
from kdcompress.data.series import series
from kdcompress.data.stream import samples
from kdcompress.data.table import table
from kdcompress.errors import DataError

ROWS = pd.DataFrame(
    {"a": np.arange(40) / 8, "b": np.arange(40)[::-1] / 4, "fault": (np.arange(40) % 5 == 0).astype(int)}
)


def written(tmp_path, content, name="it.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(path, match, **options):
    with pytest.raises(DataError, match=match):
        table(path=str(path), **{"label": "fault", **options})


def test_a_mark_at_the_head_blank_lines_and_old_line_ends_change_nothing(tmp_path):
    plain = table(path=str(written(tmp_path, ROWS.to_csv(index=False))), label="fault").digest()
    for text in (
        "\ufeff" + ROWS.to_csv(index=False),
        "\n\r\n" + ROWS.to_csv(index=False),
        ROWS.to_csv(index=False, lineterminator="\r"),
    ):
        assert table(path=str(written(tmp_path, text)), label="fault").digest() == plain


@pytest.mark.parametrize(("mark", "how"), [(";", "sep=';', decimal=','"), ("\t", r"sep='\t'"), ("|", "sep='|'")])
def test_what_other_marks_part_is_refused_with_what_writes_commas(tmp_path, mark, how):
    text = ROWS.to_csv(index=False, sep=mark, decimal="," if mark == ";" else ".")
    path = written(tmp_path, text)
    with pytest.raises(DataError) as refusal:
        table(path=str(path), label="fault")
    assert f"it.csv: its columns are parted by {mark!r} (allowed: commas" in str(refusal.value)
    assert how in str(refusal.value)
    # What is advised, done.
    read = pd.read_csv(path, **eval(f"dict({how})"))
    read.to_csv(tmp_path / "other.csv", index=False)
    plain = table(path=str(written(tmp_path, ROWS.to_csv(index=False))), label="fault")
    assert table(path=str(tmp_path / "other.csv"), label="fault").digest() == plain.digest()
    with pytest.raises(DataError, match=r"it\.csv: its columns are parted by"):
        list(samples([str(written(tmp_path, text))], (2,), "float32"))


@pytest.mark.parametrize("name", ["it.tsv", "it.txt", "it.xlsx", "it", "it.csv.gz"])
def test_other_endings_are_refused_with_those_allowed(tmp_path, name):
    path = written(tmp_path, ROWS.to_csv(index=False, sep="\t"), name)
    refused(path, rf"{name}: unknown kind of file \(allowed endings: \.csv, \.parquet, \.npz\); .*sep='.t'", label=None)
    refused(tmp_path, "unknown kind of file")
    (tmp_path / "folder.csv").mkdir()
    refused(tmp_path / "folder.csv", r"folder\.csv: a folder, not a file")


@pytest.mark.parametrize("value", ["1,5", "-0,25", "1,234.5", "1.234,5", "7,5%"])
def test_numbers_with_commas_are_not_taken_for_words(tmp_path, value):
    path = written(tmp_path, ROWS.assign(b=value).to_csv(index=False))
    refused(path, rf"it\.csv: column 'b', row 1: '{value}' \(a number has a point, and no comma")
    assert table(path=str(path), label="fault", without=("b",)).input_shape == (1,)
    assert numbers(pd.DataFrame({"a": ["red, green", "x,1", "10.0.0.1"]}), path, "a") is None


def test_decimal_commas_without_quotes_are_told(tmp_path):
    refused(written(tmp_path, "a,b\n1,5,2,5\n1,5,2,5\n"), r"more fields than its header \(a number has a point")
    refused(written(tmp_path, "a,b\n1,2\n1,5,2\n"), r"line 3, saw 3 \(a number has a point")


@pytest.mark.parametrize("first", ["0.5,-2.25,1.5,x", "0.5,0,1.0,0.7,x", "1,2,3", "1.5,1.5,2"])
def test_a_first_row_of_a_missing_header_is_not_taken_for_names(tmp_path, first):
    path = written(tmp_path, f"{first}\n" * 3)
    refused(path, r"it\.csv: the first row has numbers; a header with the columns' names is expected")


@pytest.mark.parametrize("header", ["site,2019,2018,2020", "label,400.0,402.5,405.0", "q,0.9,0.5", "x,7"])
def test_numbers_in_order_beside_words_are_a_header(tmp_path, header):
    assert list(read_frame(written(tmp_path, f"{header}\n{header}\n")).columns) == header.split(",")


@pytest.mark.parametrize(("name", "others"), [("", {}), ("Unnamed: 0", {"label": "fault"})])
def test_pandas_running_number_is_not_learned_from(tmp_path, name, others):
    path = written(tmp_path, ROWS.rename_axis(name).to_csv() if name else ROWS.to_csv())
    refused(path, rf"column '{name}' has no name of its own, as pandas' running number .*index=False", **others)
    found = table(path=str(path), label="fault", without=(name,))
    assert found.input_shape == (2,)
    assert table(path=str(path), label="fault", columns=("a", name)).input_shape == (2,)
    timed = pd.DataFrame({"timestamp": np.arange(400), "v": np.sin(np.arange(400))})
    with pytest.raises(DataError, match=r"column '' has no name of its own.*name the values in data\.columns"):
        series(path=str(written(tmp_path, timed.to_csv())))


def test_truth_values_are_numbers_with_and_without_gaps(tmp_path):
    flags = [True, None, *[True, False] * 19]
    path = written(tmp_path, ROWS.assign(flag=flags).to_csv(index=False))
    refused(path, r"row 2, column 'flag': nan; .*data\.missing")
    assert table(path=str(path), label="fault", missing="drop").input_shape == (3,)


def test_a_named_index_of_parquet_is_a_column_like_any_other(tmp_path):
    ROWS.set_index("a").to_parquet(tmp_path / "it.parquet")
    ROWS[ROWS.a >= 0].to_parquet(tmp_path / "other.parquet")
    found = [table(path=str(tmp_path / name), label="fault").digest() for name in ("it.parquet", "other.parquet")]
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    "column",
    [pd.date_range("2024-01-01", periods=40), [datetime.date(2024, 1, 1 + n % 28) for n in range(40)], ["x"] * 40],
    ids=["times", "dates", "words"],
)
def test_dates_and_words_are_left_out_and_refused_where_they_are_asked_for(tmp_path, kind, column):
    path = tmp_path / f"it.{kind}"
    rows = ROWS.assign(when=column)
    rows.to_csv(path, index=False) if kind == "csv" else rows.to_parquet(path)
    found = table(path=str(path), label="fault")
    assert found.notes == (f"{path}: left out, for they hold no numbers: when",)
    refused(path, r"column 'when' holds no numbers, but (2024|x).*allowed: columns", columns=("a", "when"))


@pytest.mark.parametrize("value", [1, np.nan, None, Decimal(2)])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_empty_and_constant_columns_are_named_with_how_to_leave_them_out(tmp_path, kind, value):
    path = tmp_path / f"it.{kind}"
    rows = ROWS.assign(still=[value] * 40)
    rows.to_csv(path, index=False) if kind == "csv" else rows.to_parquet(path)
    refused(path, r"column 'still': the same in all rows, or empty, so of no use; leave it out with data\.without")
    refused(path, r"column 'still': .*leave it out of data\.columns", columns=("a", "still"))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_told(tmp_path, encoding):
    path = written(tmp_path, ROWS.rename(columns={"a": "größe"}).to_csv(index=False).encode(encoding))
    refused(path, r"it\.csv: not in UTF-8: .*encoding='latin-1'\)\.to_csv")


def test_a_table_of_five_thousand_columns_is_read(tmp_path):
    values = np.arange(20 * 5000).reshape(20, 5000) % 997 + 0.5
    path = written(tmp_path, pd.DataFrame(values).add_prefix("c").to_csv(index=False))
    assert table(path=str(path)).input_shape == (5000,)


def test_a_series_says_what_to_do_about_its_times(tmp_path):
    rows = pd.DataFrame({"timestamp": np.arange(400), "v": np.sin(np.arange(400)), "still": np.nan})
    for change, match in (
        (rows[::-1], "row 1 to row 2 time goes back, as in 398 more places; sort the rows by time"),
        (pd.concat([rows[:9], rows[8:]]), "row 9 to row 10 time stands still, .*; keep one row of each time"),
        (rows.drop(index=7), r"row 7 to row 8 time steps 2 times as far as usual, as in 0 more places; data\.gaps"),
    ):
        with pytest.raises(DataError, match=match):
            series(path=str(written(tmp_path, change.to_csv(index=False))), columns=("v",))
    with pytest.raises(DataError, match=r"column 'still': empty, so of no use; name the others in data\.columns"):
        series(path=str(written(tmp_path, rows.to_csv(index=False))))


def test_a_manifests_labels_by_another_name_are_not_overlooked(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="column 'is_anomaly' looks like a label: it is to be named 'label'"):
        manifest(path=str(written(tmp_path, "path,is_anomaly\nphotos/0.png,1\n")))
    with pytest.raises(DataError, match=r"row 1: .*photos is a folder \(allowed: image files\)"):
        manifest(path=str(written(tmp_path, "path\nphotos\n")))
