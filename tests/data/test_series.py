import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from kdcompress.data.series import series
from kdcompress.errors import DataError

START = pd.Timestamp("2024-01-01")
MINUTE = pd.Timedelta(minutes=1)


def points(count=400, columns=("value",), anomalies=(), steps=None):
    """A series whose values are the numbers of its points, times a factor for each column."""
    minutes = np.arange(count) if steps is None else np.cumsum([0, *steps])
    values = {name: np.arange(count) * (index + 1.0) for index, name in enumerate(columns)}
    label = np.zeros(count, int)
    for first, last in anomalies:
        label[first : last + 1] = 1
    return pd.DataFrame({"timestamp": START + minutes * MINUTE, **values, "label": label})


def write(folder, frame):
    frame.to_csv(folder / "it.csv", index=False)
    return str(folder / "it.csv")


def build(folder, frame, **options):
    return series(path=write(folder, frame), **{"label": "label", "window": 16, "stride": 4, **options})


def firsts(part):
    return part[:, 0, 0].long().tolist()


def test_windows_are_cut_along_time(tmp_path):
    data = build(tmp_path, points(columns=("a", "b")))
    assert data.input_shape == (2, 16)
    assert data.train.dtype == torch.float32
    assert data.train.is_contiguous()
    assert torch.equal(data.train[3, 0], torch.arange(12.0, 28.0))
    assert torch.equal(data.train[3, 1], 2 * data.train[3, 0])
    assert np.diff(firsts(data.test)).tolist() == [4] * (len(data.test) - 1)


@pytest.mark.parametrize("options", [{}, {"stride": 1}, {"stride": 16}, {"train": 0.7}, {"window": 40, "stride": 7}])
def test_no_point_is_in_two_parts_and_no_anomaly_is_learned_from(tmp_path, options):
    anomalies = [(40, 45), (180, 180), (300, 330)]
    data = build(tmp_path, points(anomalies=anomalies), **options)
    train, validation, test = ({int(v) for v in part.flatten()} for part in (data.train, data.validation, data.test))
    labelled = {point for first, last in anomalies for point in range(first, last + 1)}
    assert not labelled & (train | validation)
    assert not train & validation
    window = options.get("window", 16)
    assert max(train) < min(validation)
    assert max(validation) + window < min(test) + 1
    for sample, label in zip(data.test, data.labels.tolist(), strict=True):
        assert label == int(bool({int(v) for v in sample.flatten()} & labelled))
    assert set(data.labels.tolist()) == {0, 1}


def test_early_windows_with_an_anomaly_are_counted(tmp_path):
    data = build(tmp_path, points(anomalies=[(40, 45)]), stride=4)
    overlapping = [first for first in range(0, 185, 4) if first <= 45 and first + 15 >= 40]
    assert any(f"{len(overlapping)} windows that overlap an anomaly" in note for note in data.notes)
    assert not data.labels.any()


def test_without_labels_all_windows_are_normal(tmp_path):
    data = series(path=write(tmp_path, points(anomalies=[(300, 310)])), columns=("value",), window=16)
    assert not data.labels.any()


def test_intervals_are_labels_with_both_ends(tmp_path):
    frame = points(anomalies=[(250, 260), (340, 350)])
    by_points = build(tmp_path, frame)
    spans = [[str(START + a * MINUTE), str(START + b * MINUTE)] for a, b in ((250, 260), (340, 350))]
    (tmp_path / "i.json").write_text(json.dumps(spans))
    (tmp_path / "many.json").write_text(json.dumps({"it.csv": [], f"{tmp_path.name}/it.csv": spans, "x.csv": []}))
    (tmp_path / "i.csv").write_text("\n".join(["start,end", *(",".join(one) for one in spans)]))
    for name in ("i.json", "many.json", "i.csv"):
        data = build(tmp_path, frame.drop(columns="label"), label=None, intervals=str(tmp_path / name))
        assert data.digest() == by_points.digest()


def test_times_may_be_numbers(tmp_path):
    frame = points(anomalies=[(250, 260)]).assign(timestamp=np.arange(400) * 0.5)
    (tmp_path / "i.json").write_text("[[125, 130.0]]")
    data = build(tmp_path, frame.drop(columns="label"), label=None, intervals=str(tmp_path / "i.json"))
    assert data.digest() == build(tmp_path, frame).digest()


def test_zones_are_heeded(tmp_path):
    frame = points(anomalies=[(250, 260)])
    (tmp_path / "i.json").write_text(json.dumps([["2024-01-01T06:10:00+02:00", "2024-01-01 04:20:00.000000"]]))
    data = build(tmp_path, frame.drop(columns="label"), label=None, intervals=str(tmp_path / "i.json"))
    assert data.digest() == build(tmp_path, frame).digest()


def test_the_place_is_no_part_of_the_digest(tmp_path, tmp_path_factory):
    here = build(tmp_path, points(anomalies=[(300, 310)]))
    other = tmp_path_factory.mktemp("z") / "elsewhere"
    shutil.copytree(tmp_path, other)
    assert series(path=str(other / "it.csv"), label="label", window=16, stride=4).digest() == here.digest()


STEPS = [1] * 99 + [5] + [1] * 149 + [-3] + [1] * 149


def test_no_window_reaches_across_a_gap(tmp_path):
    frame = points(steps=STEPS)
    split = build(tmp_path, frame, gaps="split", stride=1)
    for part in (split.train, split.validation, split.test):
        for sample in part[:, 0]:
            assert not (sample[0] < 100 <= sample[-1])
            assert not (sample[0] < 250 <= sample[-1])
    assert any("time makes 2 steps that no window" in note for note in split.notes)


def test_a_bridge_leads_over_gaps_but_not_back_in_time(tmp_path):
    bridged = build(tmp_path, points(steps=STEPS), gaps="bridge", stride=1)
    assert any(sample[0] < 100 <= sample[-1] for sample in bridged.train[:, 0])
    assert not any(sample[0] < 250 <= sample[-1] for sample in bridged.test[:, 0])
    assert any("time makes 1 steps that no window" in note for note in bridged.notes)


@pytest.mark.parametrize(
    ("steps", "match"),
    [
        (
            STEPS,
            r"it\.csv: from row 100 to row 101 time steps 5 times as far as usual, as in 1 more places; data\.gaps",
        ),
        ([1] * 100 + [0] + [1] * 298, "from row 101 to row 102 time stands still, as in 0 more places; keep one row"),
        ([-1] * 399, "from row 1 to row 2 time goes back"),
    ],
)
def test_unusual_steps_fail_unless_asked_otherwise(tmp_path, steps, match):
    with pytest.raises(DataError, match=match):
        build(tmp_path, points(steps=steps))


def gap(frame):
    frame.loc[6, "value"] = np.nan
    return frame


@pytest.mark.parametrize(
    ("change", "options", "match"),
    [
        (gap, {}, r"column 'value', row 7: nan, as in 0 more rows \(allowed: finite"),
        (lambda f: f.assign(value=[*["1.5"] * 399, "x"]), {}, "column 'value', row 400: 'x' is no number"),
        (lambda f: f.assign(value="x"), {}, r"column 'value' holds no numbers \(data\.columns"),
        (
            lambda f: f.assign(value=1.0),
            {},
            r"column 'value': the same in all rows.*; name the others in data\.columns",
        ),
        (lambda f: f.assign(value=1e300 + f["value"]), {}, "row 1: 1e[+]300"),
        (lambda f: f.assign(timestamp=["x", *f["timestamp"][1:]]), {}, r"column 'timestamp', row 1: 'x' is no time"),
        (
            lambda f: f.rename(columns={"timestamp": "Time"}),
            {},
            r"data\.timestamp: no column 'timestamp'; did you mean",
        ),
        (lambda f: f, {"columns": ("valeu",)}, "no column 'valeu'; did you mean 'value'"),
        (lambda f: f.assign(label=2), {}, "column 'label': row 1 has 2, neither"),
        (lambda f: f, {"window": 200}, "are 1 windows of 200 .* the first 200, and 0 to test from point 400 on"),
        (lambda f: f, {"window": 100, "train": 0.45, "stride": 20}, "no training window ends before validation begins"),
        (lambda f: f.assign(label=1), {}, "there are 0 windows of 16 without an anomaly among the first 200"),
        (lambda f: f[["timestamp", "label"]], {}, "no column of values beside 'timestamp'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, change, options, match):
    with pytest.raises(DataError, match=match):
        build(tmp_path, change(points()), **options)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "not a JSON file"),
        ('{"its.csv": []}', r"no key that .*it\.csv ends with; did you mean 'its\.csv'"),
        ("[[1, 2, 3]]", r"expected a list of \[start, end\]"),
        ("3", r"expected a list of \[start, end\]"),
        ("[[1, 2]]", "1 is no time such as"),
        ('[["2024-01-01", "soon"]]', "'soon' is no time"),
        ('[["2025-01-01", "2025-01-02"]]', "interval 1 has no point of the series in it"),
    ],
)
def test_what_is_wrong_with_intervals_is_said(tmp_path, content, match):
    (tmp_path / "i.json").write_text(content)
    with pytest.raises(DataError, match=match):
        build(tmp_path, points(), label=None, columns=("value",), intervals=str(tmp_path / "i.json"))


def test_what_is_a_label_by_its_name_is_no_value(tmp_path):
    with pytest.raises(DataError, match=r"column 'label' looks like a label: name it in data\.label"):
        build(tmp_path, points(), label=None)


def test_one_kind_of_labels_is_enough(tmp_path):
    with pytest.raises(DataError, match=r"data\.label and data\.intervals both"):
        build(tmp_path, points(), intervals="i.json")
    with pytest.raises(DataError, match="cannot read the intervals: No such file"):
        build(tmp_path, points(), label=None, columns=("value",), intervals=str(tmp_path / "i.json"))
