import json

import torch

from kdcompress.environment import describe, known_plans, remember_plans


def test_it_says_what_a_reader_needs_to_repeat_the_run():
    found = describe(torch.device("cpu"), 3)
    assert found["threads"] == 3
    assert found["device"] == "cpu"
    assert found["libraries"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["plans"] == {}
    assert found["plugins"] == {}
    assert describe(torch.device("cpu"), 3, {"mine.py": "0" * 64})["plugins"] == {"mine.py": "0" * 64}
    json.dumps(found, allow_nan=False)


def test_plans_are_kept_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOMPRESS_CACHE", str(tmp_path / "cache"))
    assert known_plans() == {}
    remember_plans({"key": {"fp32 contiguous": 1.5}})
    assert known_plans() == {"key": {"fp32 contiguous": 1.5}}


def test_a_damaged_or_unwritable_cache_is_no_reason_to_stop(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOMPRESS_CACHE", str(tmp_path))
    for damaged in ("{", "[]", "\x00"):
        (tmp_path / "plans.json").write_text(damaged)
        assert known_plans() == {}
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KDCOMPRESS_CACHE", str(tmp_path / "file"))
    remember_plans({"key": {}})
    assert known_plans() == {}
