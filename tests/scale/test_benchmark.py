import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from kdcompress import suite as suites
from kdcompress.errors import InputError
from kdcompress.reporting.files import write_suite
from kdcompress.scale import benchmark
from kdcompress.scale.local import Ended, Here
from kdcompress.scale.tasks import ready, tasks
from kdcompress.suitedir import SuiteDir
from tests.recipes import TINY

SUITE = {
    **copy.deepcopy(TINY),
    "name": "small",
    "teacher": {**TINY["teacher"], "seed": 0},
    "grid": {"student.width": [0.5], "seed": [0, 1, 2]},
}


def parsed(**changes):
    return suites.parse({**copy.deepcopy(SUITE), **changes})


def prepare(suite, root, *, jobs=1, only=None, fresh=False):
    return benchmark.prepare(suite, root, device="cpu", jobs=jobs, only=only, observe=lambda _: None, fresh=fresh)


def run(work):
    return [one for one in benchmark.run(work, plugin_files=()) if isinstance(one, Ended)]


def command(folder):
    return [sys.executable, "-m", "kdcompress", "benchmark", folder / "small.yaml", "--out", folder, "--jobs", "1"]


def summary(folder):
    """Return the summary without what is measured in time."""
    plain = json.loads((folder / "small" / "summary.json").read_text())
    for group in plain["groups"]:
        assert group.pop("timing")["cell_seconds"] > 0
    return plain


def epochs(folder, cell):
    """Return a cell's history by arm, stage and epoch."""
    return {(row["arm"], row["stage"], row["epoch"]): row for row in SuiteDir(folder).history(cell)}


def write(folder, **changes):
    folder.mkdir(exist_ok=True)
    (folder / "small.yaml").write_text(yaml.safe_dump({**copy.deepcopy(SUITE), **changes}, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a suite that was run without a stop."""
    folder = write(tmp_path_factory.mktemp("suite"))
    subprocess.run(command(folder), check=True, capture_output=True)
    return folder


def test_every_cell_is_one_file_and_the_shared_teacher_was_trained_once(undisturbed):
    folder = undisturbed / "small"
    cells = sorted(path.name for path in folder.glob("small_*.json"))
    assert cells == [f"small_width-0.5_seed-{s}.json" for s in range(3)]
    results = [json.loads((folder / name).read_text()) for name in cells]
    assert {one["schema"] for one in results} == {1}
    assert len({one["digest"] for one in results}) == 3
    assert {one["machine"]["threads"] for one in results} == {1}
    assert len(list((folder / "runs" / "small-teacher").iterdir())) == 1
    assert {path.name for path in folder.iterdir()} >= {"summary.json", "report.md", "report.html", "report.csv"}


def test_the_summary_is_of_the_cells(undisturbed):
    found = summary(undisturbed)
    assert found["cells"] == {"all": 3, "done": 3, "failed": {}}
    assert [group["values"] for group in found["groups"]] == [{"student.width": 0.5}]
    cells = [json.loads((undisturbed / "small" / f"small_width-0.5_seed-{s}.json").read_text()) for s in range(3)]
    mean = sum(one["student"]["auroc"] for one in cells) / 3
    assert found["groups"][0]["student"]["mean"] == pytest.approx(mean, abs=1e-12)
    assert found["groups"][0]["student"]["n"] == 3
    assert found["groups"][0]["sizes"]["student_macs"] == cells[0]["student"]["macs"]


def test_killed_twice_the_same_command_comes_to_the_same_summary(undisturbed, tmp_path):
    folder = write(tmp_path)
    for wanted in (1, 2):
        with subprocess.Popen(command(folder), stderr=subprocess.PIPE, start_new_session=True) as process:
            deadline = time.monotonic() + 120
            while len(list(folder.glob("small/small_*.json"))) < wanted and time.monotonic() < deadline:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
    assert len(list(folder.glob("small/small_*.json"))) == 2
    subprocess.run(command(folder), check=True, capture_output=True)
    assert summary(folder) == summary(undisturbed)


def test_what_is_done_is_not_done_again_not_even_without_its_run(undisturbed, tmp_path):
    work = prepare(parsed(), undisturbed)
    assert work.left == ()
    only = prepare(parsed(), tmp_path, only="*seed-[12]")
    names = [one.name for one in only.left if one.kind == "cell"]
    assert names == ["small_width-0.5_seed-1", "small_width-0.5_seed-2"]
    assert [one.kind for one in only.left] == ["teacher", "cell", "cell"]
    with pytest.raises(InputError, match=r"--only \*sed-1: no cell has such a name"):
        prepare(parsed(), tmp_path, only="*sed-1")


def test_cells_of_one_shape_begin_together(undisturbed, tmp_path):
    """Three cells of one seed's teacher: their students come to what they come to alone, up to rounding."""
    work = prepare(parsed(together=3), tmp_path)
    assert [one.kind for one in work.left] == ["teacher", "cell", "cell", "cell", "together"]
    work.suitedir.write_manifest(work.manifest)
    waiting, ended = list(work.left), {}
    while waiting:
        waiting.remove(task := ready(waiting, ended))
        # What a process of its own does, without the seconds that a process takes to start.
        benchmark.job(task, lambda *_: None, suitedir=work.suitedir, device="cpu", plugin_files=())
        ended[task.name] = None
    for cell in work.manifest.cells:
        found, alone = (epochs(root / "small", cell.name) for root in (tmp_path, undisturbed))
        assert found.keys() == alone.keys()
        steps = (("student", "step 1: frozen"), ("control", "step 1: alone"))
        begun = {place for place, row in found.items() if row.get("together") == 3}
        assert begun == {(*step, epoch) for step in steps for epoch in (0, 1)}
        for place, row in found.items():
            assert row["losses"] == pytest.approx(alone[place]["losses"], rel=1e-2)


def test_only_cells_alike_begin_together(tmp_path):
    grid = {"student.width": [0.5, 0.25], "seed": [0, 1, 2]}
    left = prepare(parsed(grid=grid, together=2), tmp_path).left
    several = [[name for name, _ in one.cells] for one in left if one.kind == "together"]
    assert several == [[f"small_width-{width}_seed-{seed}" for seed in (0, 1)] for width in (0.5, 0.25)]
    waits = {one.name: one.needs[1:] for one in left if one.kind == "cell"}
    assert waits["small_width-0.5_seed-1"] == ("small_width-0.5_seed-0 and 1 more, together",)
    assert waits["small_width-0.5_seed-2"] == ()


def test_cells_begin_by_themselves_where_some_of_them_are_not_asked_for(tmp_path):
    left = prepare(parsed(together=3), tmp_path, only="*seed-[12]").left
    assert [one.kind for one in left] == ["teacher", "cell", "cell"]
    assert all(name.startswith("teacher") for one in left for name in one.needs)


def test_the_report_is_rebuilt_from_the_cells_alone(undisturbed, tmp_path):
    for path in (undisturbed / "small").glob("*.json*"):
        if path.name != "summary.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    write_suite(SuiteDir(tmp_path), ("md", "json", "csv"))
    for name in ("report.md", "summary.json", "report.csv"):
        assert (tmp_path / name).read_bytes() == (undisturbed / "small" / name).read_bytes()
    drawn = write_suite(SuiteDir(tmp_path), ("svg",))
    assert [path.name for path in drawn] == ["report-suite-synthetic.svg", "report-suite-gains.svg"]


def test_results_of_other_settings_are_not_mixed_in(undisturbed):
    other = parsed(evaluation={"false_positive_rate": 0.1})
    with pytest.raises(
        InputError, match=r"holds small_width-0.5_seed-0 of other settings .*: --fresh starts over beside it"
    ):
        prepare(other, undisturbed)


def test_fresh_starts_beside_what_is_there_and_the_newest_goes_on(undisturbed, tmp_path):
    place = tmp_path / "small"
    shutil.copytree(undisturbed / "small", place)
    again = prepare(parsed(), tmp_path, fresh=True)
    assert again.suitedir.path == tmp_path / "small-2"
    assert len(again.left) == 4
    again.suitedir.write_manifest(again.manifest)
    assert prepare(parsed(), tmp_path).suitedir.path == tmp_path / "small-2"
    assert prepare(parsed(), tmp_path, fresh=True).suitedir.path == tmp_path / "small-3"
    assert len(list(place.glob("small_*.json"))) == 3


def test_a_suite_that_is_called_like_a_second_run_of_another_is_left_alone(undisturbed, tmp_path):
    for name in ("small", "small-2026-11-24"):
        shutil.copytree(undisturbed / "small", tmp_path / name)
    other = SuiteDir(tmp_path / "small-2")
    other.path.mkdir()
    other.write_manifest(SuiteDir(undisturbed / "small").manifest().model_copy(update={"name": "small-2"}))
    assert prepare(parsed(), tmp_path).suitedir.path == tmp_path / "small"
    assert prepare(parsed(), tmp_path, fresh=True).suitedir.path == tmp_path / "small-3"


def test_a_first_run_may_be_fresh_too(tmp_path):
    assert prepare(parsed(), tmp_path, fresh=True).suitedir.path == tmp_path / "small"


def test_a_digest_is_that_of_the_run(undisturbed):
    for task in tasks(parsed()):
        folder = "small" if task.kind == "cell" else "small-teacher"
        assert (undisturbed / "small" / "runs" / folder / task.digest / "result.json").exists()


def test_every_problem_of_every_cell_is_named_before_anything_is_trained():
    wrong = parsed(grid={"student.width": [0.5, 0.6], "student.depht": [2], "seed": [0, 1]})
    with pytest.raises(InputError, match="^suite: student.depht: unknown key 'depht'; did you mean 'depth'[^\n]*$"):
        tasks(wrong)


def test_a_failed_cell_is_told_and_tried_again(tmp_path):
    one = parsed(grid={"student.width": [0.5], "seed": [0]})
    work = prepare(one, tmp_path)
    blocker = work.suitedir.runs / "small" / work.left[1].digest
    blocker.parent.mkdir(parents=True)
    blocker.touch()
    ended = run(work)
    assert ended[0].why is None
    assert "cannot make" in ended[1].why
    assert work.suitedir.failed() == {"small_width-0.5_seed-0": ended[1].why}
    assert "cannot make" in (work.suitedir.path / "report.md").read_text()
    blocker.unlink()
    again = prepare(one, tmp_path)
    assert [done.why for done in run(again)] == [None, None]
    assert again.suitedir.failed() == {}


def test_a_lock_holds_settings_and_may_only_grow(tmp_path):
    lock = tmp_path / "small.lock"
    few = prepare(parsed(grid={"student.width": [0.5], "seed": [0]}), tmp_path).manifest
    all_of_them = prepare(parsed(), tmp_path).manifest
    other = prepare(parsed(evaluation={"false_positive_rate": 0.1}), tmp_path).manifest
    benchmark.check_lock(lock, other)
    benchmark.write_lock(lock, few)
    benchmark.check_lock(lock, few)
    with pytest.raises(InputError, match="small_width-0.5_seed-1 is not locked"):
        benchmark.check_lock(lock, all_of_them)
    benchmark.write_lock(lock, all_of_them)
    benchmark.check_lock(lock, few)
    before = lock.read_bytes()
    with pytest.raises(InputError, match=r"small_width-0.5_seed-0 is locked as \w+, its settings now give"):
        benchmark.check_lock(lock, other)
    with pytest.raises(InputError, match="is locked as"):
        benchmark.write_lock(lock, other)
    assert lock.read_bytes() == before


def test_several_machines_have_the_jobs_that_fit_each(tmp_path):
    class Machines(Here):
        def machines(self, device):
            return (8, 5)

    def fitting(jobs, **engine):
        suite = parsed(engine={**TINY["engine"], **engine})
        work = benchmark.prepare(
            suite, tmp_path, device="cpu", jobs=jobs, only=None, observe=lambda _: None, engine=Machines()
        )
        return work.jobs, work.threads

    assert fitting(None) == (13, 1)
    assert fitting(None, threads=3) == (3, 4)
    assert fitting(None, threads=None) == (2, 5)
    assert fitting(4) == (4, 2)
    assert fitting(100) == (100, 1)


def test_jobs_are_as_many_as_threads_leave_room_for(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert (prepare(parsed(), tmp_path, jobs=None).jobs, prepare(parsed(), tmp_path, jobs=None).threads) == (8, 1)
    two = parsed(engine={**TINY["engine"], "threads": 3})
    assert prepare(two, tmp_path, jobs=None).jobs == 2
    unset = parsed(engine={"precision": "fp32"})
    assert prepare(unset, tmp_path, jobs=None).jobs == 1
    assert prepare(unset, tmp_path, jobs=4).threads == 2
