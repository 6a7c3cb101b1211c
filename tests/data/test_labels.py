import numpy as np
import pytest

from kdcompress.data.labels import marked
from kdcompress.errors import DataError


@pytest.mark.parametrize(
    ("cells", "normal", "anomaly"),
    [
        ([0, 1, 0], 0, 1),
        ([0.0, 1.0, 0.0], 0, 1),
        ([False, True, False], 0, 1),
        ([np.int64(0), np.int64(1), np.int64(0)], False, True),
        (["0", " 1", "0 "], 0, 1),
        (["ok", "defect", "ok"], "ok", "defect"),
        ([1, -1, 1], 1, -1),
    ],
)
def test_what_means_the_same_is_spelled_alike(cells, normal, anomaly):
    found = marked(cells, normal, anomaly, "here")
    assert found.tolist() == [0, 1, 0]
    assert found.dtype == np.int64


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        (
            ["ok", "ok", "torn"],
            r"here: row 3 has torn, neither data.normal \(ok\) nor .* \(bad\).* ok \(2\), torn \(1\)",
        ),
        (["ok", None], r"row 2 has no value, neither .*: ok \(1\), empty \(1\)"),
        (["ok", float("nan")], "row 2 has no value"),
        (["OK"], "row 1 has OK, neither"),
    ],
)
def test_other_labels_are_named_with_their_row_and_counts(cells, match):
    with pytest.raises(DataError, match=match):
        marked(cells, "ok", "bad", "here")


def test_two_values_are_needed():
    with pytest.raises(DataError, match=r"data\.normal and data\.anomaly are both 1; two values"):
        marked([1], 1, "1", "here")
