import json
import os
import typing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdcompress.data.nab import NabSeries, nab
from kdcompress.errors import MissingDataError

ALL = typing.get_args(NabSeries)


def made(root, name="nyc_taxi"):
    top = root / "nab"
    (top / "realKnownCause").mkdir(parents=True)
    (top / "labels").mkdir()
    when = pd.date_range("2014-07-01", periods=1000, freq="30min")
    frame = pd.DataFrame({"timestamp": when, "value": np.sin(np.arange(1000))})
    frame.to_csv(top / "realKnownCause" / f"{name}.csv", index=False)
    windows = {f"realKnownCause/{name}.csv": [[f"{when[700]}.000000", f"{when[720]}.000000"]], "x/y.csv": []}
    (top / "labels" / "combined_windows.json").write_text(json.dumps(windows))


def test_the_layout_is_that_of_the_repository(tmp_path):
    made(tmp_path)
    data = nab(root=str(tmp_path), window=32, stride=8)
    assert (data.name, data.normal_class, data.input_shape) == ("nab", "nyc_taxi", (1, 32))
    # Windows from point 532 on, of which those from 669 to 720 reach into the interval.
    firsts = range(536, 969, 8)
    assert data.labels.tolist() == [int(first + 31 >= 700 and first <= 720) for first in firsts]


def test_what_is_missing_is_said_with_where_it_was_looked_for(tmp_path):
    with pytest.raises(MissingDataError, match=r"nyc_taxi wants .*nab.realKnownCause.nyc_taxi\.csv: put that file"):
        nab(root=str(tmp_path))
    made(tmp_path)
    (tmp_path / "nab" / "labels" / "combined_windows.json").unlink()
    with pytest.raises(MissingDataError, match=r"nab.labels.combined_windows\.json"):
        nab(root=str(tmp_path))


@pytest.mark.parametrize("name", ALL)
def test_the_real_series_have_anomalies_to_test_and_normals_to_learn_from(name):
    root = os.environ.get("KDCOMPRESS_DATA")
    if not root or not (Path(root) / "nab").is_dir():
        pytest.skip("NAB is not on this machine: set KDCOMPRESS_DATA")
    data = nab(series=name, root=root)
    assert set(data.labels.tolist()) == {0, 1}
    assert len(data.train) > 30
    assert data.train.isfinite().all()
