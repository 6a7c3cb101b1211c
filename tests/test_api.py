import json
import subprocess
import sys

import pytest
import torch
import yaml

import kdcompress as kd
from kdcompress.errors import BundleError, InputError
from tests.recipes import TINY

# One process for a cell: there is no teacher to be trained in another.
ALONE = {key: TINY[key] for key in ("name", "data", "student", "engine")} | {"strategy": TINY["teacher"]["strategy"]}


@pytest.mark.parametrize("given", [3, None, b"x"])
def test_a_path_that_is_none_is_refused(given):
    with pytest.raises(InputError, match="path: expected a path, not"):
        kd.load(given)
    with pytest.raises(InputError, match="out: expected a path, not"):
        kd.distill(TINY, out=given)
    if given is not None:
        with pytest.raises(InputError, match="recipe: expected a path, a name or a mapping, not"):
            kd.distill(given)


def test_plugins_may_be_one_file(tmp_path):
    with pytest.raises(InputError, match=r"no_such\.py: no such plug-in file"):
        kd.load("x.safetensors", plugins=str(tmp_path / "no_such.py"))
    with pytest.raises(InputError, match="plugins: expected paths of files, not 3"):
        kd.load("x.safetensors", plugins=3)


def test_a_torch_device_is_a_device(tmp_path):
    with pytest.raises(InputError, match="--device meta: unknown device"):
        kd.distill(TINY, out=tmp_path, device=torch.device("meta"))


def test_a_suite_gives_its_summary_and_is_held_to_its_lock(tmp_path):
    suite = {**ALONE, "name": "small", "grid": {"seed": [0, 1]}}
    found = kd.benchmark(suite, out=tmp_path, only="*seed-1", jobs=1)
    assert found["cells"] == {"all": 2, "done": 1, "failed": {}}
    assert found["groups"][0]["student"]["n"] == 1
    assert found == json.loads((tmp_path / "small" / "summary.json").read_text())
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(suite))
    (tmp_path / "small.lock").write_text(json.dumps({"cells": {"small_seed-1": "0" * 12}}))
    with pytest.raises(InputError, match="small_seed-0 is not locked"):
        kd.benchmark(tmp_path / "small.yaml", out=tmp_path)


def test_what_is_no_suite_is_refused(tmp_path):
    with pytest.raises(InputError, match="suite: expected a path, a name or a mapping, not 3"):
        kd.benchmark(3)
    with pytest.raises(InputError, match="grid: missing: this is one run"):
        kd.benchmark(TINY, out=tmp_path)


def test_a_search_gives_what_it_found_and_goes_on(tmp_path):
    recipe = {**ALONE, "name": "mine", "search": {"student.latent": [4, 6]}}
    found = kd.search(recipe, max_params=3000, trials=1, out=tmp_path)
    assert found == json.loads((tmp_path / "mine-search" / "search.json").read_text())
    assert found["rule"] == "separation"
    assert found["chosen"]["trial"] == "trial-001"
    assert found["chosen"]["auroc"] > 0
    assert kd.search(recipe, max_params=3000, trials=1, out=tmp_path) == found
    again = kd.search(recipe, max_params=3000, trials=1, out=tmp_path, fresh=True)
    assert [one["student"] for one in again["trials"]] == [one["student"] for one in found["trials"]]
    assert (tmp_path / "mine-search-2" / "search.json").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"trials": 0}, "trials: expected a whole number from 1 to 10,000, not 0"),
        ({"jobs": True}, "jobs: expected a whole number"),
        ({"max_macs": -5}, "max_macs: expected a whole number above 0 or None, not -5"),
        ({"max_params": 0.5}, "max_params: expected a whole number"),
        ({"max_macs": True}, "max_macs: expected a whole number"),
        ({"max_latency_ms": float("nan")}, "max_latency_ms: expected a number above 0"),
        ({"source": 3}, "recipe: expected a path, a name or a mapping, not 3"),
    ],
)
def test_a_search_refuses_what_is_none(tmp_path, wrong, said):
    with pytest.raises(InputError, match=said):
        kd.search(**{"source": ALONE, "out": tmp_path, **wrong})


@pytest.mark.parametrize("jobs", [0, -2, 1.5, "2", True, 1025])
def test_a_number_of_jobs_that_is_none_is_refused(jobs, tmp_path):
    suite = {**TINY, "grid": {"seed": [0]}}
    with pytest.raises(InputError, match="jobs: expected a whole number from 1 to 1,024 or None, not"):
        kd.benchmark(suite, out=tmp_path, jobs=jobs)
    with pytest.raises(InputError, match="only: expected a pattern of names or None, not 5"):
        kd.benchmark(suite, out=tmp_path, only=5)


def test_a_script_that_its_processes_cannot_import_is_refused(tmp_path, monkeypatch):
    suite = {**ALONE, "grid": {"seed": [0]}}
    (tmp_path / "script.py").write_text(f"import kdcompress as kd\nkd.benchmark({suite!r}, jobs=1)\n")
    command = [sys.executable, "script.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "InputError: kd.benchmark starts processes that import this script: call it below `if __name__" in ran.stderr
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "<stdin>", raising=False)
    with pytest.raises(InputError, match="import this script, and <stdin> is no file: write it to one"):
        kd.benchmark(suite, out=tmp_path)


def test_an_exported_file_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"student.onnx: an exported file by its name.*allowed: a bundle"):
        kd.load(tmp_path / "student.onnx")
