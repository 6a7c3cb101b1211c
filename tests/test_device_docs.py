"""The page's commands run as they stand there, on a run that is shorter."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np
from PIL import Image

from tests import pages

ROOT = pages.DOCS.parent
COMMANDS = pages.commands("device")
(PYTHON,) = pages.blocks("device", "python")
SHORTER = pages.settings(
    "teacher.strategy.epochs=1", "strategy.steps.0.epochs=1", "strategy.steps.1.epochs=1", "control=false"
)
LOOSER = ("--min-spearman", "0.9", "--max-flipped", "0.2", "--max-auroc-lost", "0.1")


def test_its_commands_run_in_their_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("images/x.png")
    assert [shlex.split(line)[1] for line in COMMANDS] == [
        *("distill", "export", "parity", "profile"),
        *("export", "parity", "export", "predict"),
    ]
    pages.run(COMMANDS, lambda words: [*SHORTER(words), *(LOOSER if "int8" in " ".join(words) else ())])
    assert "passed" in capsys.readouterr().out
    assert (tmp_path / "delivery" / "kit" / "model_card.md").exists()
    assert (tmp_path / "scores.csv").read_text().splitlines()[1].startswith("images/x.png,,")
    done = subprocess.run(
        [sys.executable, "-c", PYTHON],
        env={**os.environ, "PYTHONPATH": str(ROOT / "runtime")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"\[\S+ \S+\] \[[01] [01]\]", done.stdout)
    assert_a_table_is_made_of(tmp_path / "runs", tmp_path / "table", monkeypatch)


def assert_a_table_is_made_of(runs, table, monkeypatch):
    """The page's table is made by `benchmarks/device.py`, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("device", ROOT / "benchmarks" / "device.py")
    device = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(device)
    monkeypatch.setattr(device, "STARTS", 1)
    monkeypatch.setattr("kdcompress.exporting.timing._SECONDS", 0.01)
    given = [*map(str, runs.glob("*/*")), "--out", str(table)]
    monkeypatch.setattr(sys, "argv", ["device.py", *given, "--timed"])
    device.main()
    (file,) = table.glob("*_seed-*.json")
    row = json.loads(file.read_text())
    student, teacher, eight = (row["files"][name] for name in ("student", "teacher", "int8"))
    assert student["agreement"]["largest"] <= student["agreement"]["tolerance"]
    assert student["bytes"] < teacher["bytes"]
    assert eight["agreement"]["auroc"] == student["agreement"]["auroc"]
    assert student["cost"]["latency_ms"]["batch_1"]["p50"] > 0
    assert row["start_seconds"] > 0
    lines = (table / "report.md").read_text().splitlines()
    assert sum(line.startswith("| digits |") for line in lines) == 2
