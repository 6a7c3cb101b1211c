"""What is committed under benchmarks/results is what its suite says, and its reports are made from its cells."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kdcompress import plugins, suite
from kdcompress.reporting.files import write_suite
from kdcompress.results import to_json
from kdcompress.suitedir import SuiteDir
from tests.plugin_files import clean

__all__ = ["clean"]

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SUITES = sorted(BENCHMARKS.glob("*.yaml"))
PUBLISHED = [path for path in SUITES if SuiteDir.holds(BENCHMARKS / "results" / path.stem)]


def lock_of(path):
    return json.loads(path.with_suffix(".lock").read_text())


def test_there_are_suites():
    assert {path.stem for path in SUITES} >= {"pkdgan"}


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_suite_is_well_formed_and_its_lock_names_its_cells(path):
    own = [plugins.load(one) for one in sorted((path.parent / path.stem).glob("*.py"))]
    cells = suite.load(str(path), (), own).cells
    assert set(lock_of(path)["cells"]) == {cell.name for cell in cells}


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_every_cell_has_the_settings_that_were_locked(path):
    folder = SuiteDir(BENCHMARKS / "results" / path.stem)
    manifest, locked = folder.manifest(), lock_of(path)["cells"]
    assert {entry.name: entry.digest for entry in manifest.cells} == locked
    results = folder.results(manifest)
    assert results
    for name, result in results.items():
        assert result.digest == locked[name]
        assert result.protocol.selection == "last"
        assert result.protocol.labels_used_in_training is False
        assert result.protocol.eval_mode is True


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_committed_reports_are_made_from_the_committed_cells(path, tmp_path):
    folder = BENCHMARKS / "results" / path.stem
    write_suite(SuiteDir(folder), ("json", "md", "csv"), tmp_path)
    for name in ("summary.json", "report.md", "report.csv"):
        assert (tmp_path / name).read_text() == (folder / name).read_text(), name


def test_the_tables_of_the_pages_are_those_of_the_reports():
    """`python benchmarks/pages.py` puts them there."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "pages.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert any("<!-- table: " in page.read_text() for page in (BENCHMARKS.parent / "docs").glob("*.md"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_a_published_cell_keeps_no_path_and_its_history_is_there(path):
    folder = SuiteDir(BENCHMARKS / "results" / path.stem)
    for name, result in folder.results(folder.manifest()).items():
        assert not re.search(r"(/home|/root|/tmp|/work)\b", json.dumps(to_json(result)))
        arms = {row["arm"] for row in folder.history(name)}
        # A teacher that is fitted, not trained, has no epochs.
        wanted = {"teacher": result.seconds.teacher > 0, "control": result.control is not None, "student": True}
        assert arms >= {arm for arm, there in wanted.items() if there}
