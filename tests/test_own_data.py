"""Files of a user's own from one end to the other, first of all without a single anomaly that is known."""

import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import kdcompress as kd
from kdcompress.recipe import parse
from kdcompress.seeding import derive

COMMON = {"engine": {"precision": "fp32", "channels_last": False, "folded": False, "threads": 1}}


@pytest.fixture(autouse=True)
def _no_clock(monkeypatch):
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)


def drawn(name, *shape):
    return np.random.default_rng(derive(0, name)).normal(size=shape)


def write_table(folder):
    rows = pd.DataFrame(drawn("table", 80, 3), columns=["a", "b", "c"])
    rows.loc[[5, 50], "b"] = np.nan
    rows.assign(who="x").to_csv(folder / "it.csv", index=False)
    return {"name": "table", "path": str(folder / "it.csv"), "missing": "drop"}


def write_images(folder):
    (folder / "normal").mkdir()
    values = (drawn("images", 40, 8, 8) * 40 + 128).clip(0, 255).astype(np.uint8)
    for index, image in enumerate(values):
        Image.fromarray(image).save(folder / "normal" / f"{index}.png")
    (folder / "normal" / "broken.png").write_bytes(b"")
    return {"name": "folder", "root": str(folder), "on_bad_image": "skip"}


def write_list(folder):
    write_images(folder)
    (folder / "list.csv").write_text("\n".join(["path", *(f"normal/{index}.png" for index in range(40))]))
    return {"name": "manifest", "path": str(folder / "list.csv")}


def write_series(folder):
    when = pd.date_range("2024-01-01", periods=600, freq="h")
    values = np.sin(np.arange(600) / 5) + 0.1 * drawn("series", 600)
    pd.DataFrame({"timestamp": when, "x": values}).drop(index=100).to_csv(folder / "it.csv", index=False)
    return {"name": "series", "path": str(folder / "it.csv"), "window": 16, "stride": 4, "gaps": "split"}


KINDS = {
    "table": (write_table, "vae", ["2 of 80 rows are left out", "hold no numbers: who"]),
    "folder": (write_images, "conv_ae", ["1 of 41 images are left out"]),
    "manifest": (write_list, "conv_ae", []),
    "series": (write_series, "conv1d_ae", ["1 steps that no window reaches across"]),
}


@pytest.mark.parametrize("strategy", ["frozen", "response"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_distilled_without_anomalies_and_what_is_left_out_is_said_once(tmp_path, kind, strategy):
    write, family, notes = KINDS[kind]
    (tmp_path / "data").mkdir()
    recipe = {
        **COMMON,
        "data": write(tmp_path / "data"),
        "teacher": {"architecture": {"name": family, "base": 8}, "strategy": {"name": "scratch", "epochs": 1}},
        "student": {"name": family, "width": 0.5},
        "strategy": {"name": strategy, "epochs": 1},
    }
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        result = kd.distill(recipe, out=tmp_path / "runs")
    assert result.data.test_anomaly == 0
    assert result.student.auroc is result.kd_gain is result.verdict is None
    assert result.student.fpr_at_threshold is not None
    assert result.compression.macs > 1.5
    assert len({result.counters[name]["macs"] for name in ("torch", "fvcore", "thop")}) == 1
    assert next(tmp_path.glob("runs/run/*/report.html")).stat().st_size > 1000
    said = [str(one.message) for one in warned if "left out" in str(one.message) or "steps" in str(one.message)]
    assert len(said) == len(notes)
    assert all(any(note in text for text in said) for note in notes)


def test_a_data_set_may_be_registered_in_the_script_that_distils(tmp_path, monkeypatch):
    """So arrays and frames that are in memory already need no file."""
    for table in ("_items", "_descriptions"):
        monkeypatch.setattr(kd.DATASETS, table, dict(getattr(kd.DATASETS, table)))
    import torch

    rows = torch.from_numpy(drawn("rows", 90, 4)).float()

    @kd.DATASETS.register("mine")
    def mine():
        """Rows that are in memory."""
        return kd.OneClassData("mine", None, rows[:40], rows[40:50], rows[50:], torch.arange(40) % 2)

    strategy = {"name": "scratch", "epochs": 1}
    result = kd.distill(
        data={"name": "mine"}, student={"name": "mlp_ae"}, strategy=strategy, out=tmp_path, teacher=None, **COMMON
    )
    assert (result.data.name, result.data.test_anomaly) == ("mine", 20)
    assert parse({"name": "x", "data": {"name": "mine"}, "student": {"name": "mlp_ae"}}).data.name == "mine"
