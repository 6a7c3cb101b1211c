import os
import signal
import subprocess
import sys
import time

import pytest

from kdcompress.recipe import parse
from kdcompress.scale import local
from kdcompress.scale.local import At, Begun, Ended, Moved
from kdcompress.scale.tasks import Task, ready
from tests.recipes import TINY
from tests.scale import jobs

RECIPE = parse(TINY)


def task(name, *needs, kind="cell"):
    return Task(name, RECIPE, "recipe", "0" * 12, needs, kind)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(jobs.FOLDER, str(tmp_path))
    return tmp_path


def test_a_teacher_comes_before_the_cells_that_need_it():
    waiting = [task("a", "t"), task("t", kind="teacher"), task("b")]
    assert ready(waiting, {}).name == "t"
    assert ready([waiting[0], waiting[2]], {}).name == "b"
    assert ready([waiting[0]], {}) is None
    assert ready([waiting[0]], {"t": True}).name == "a"
    assert ready([task("a", "t", "u")], {"t": True}) is None


def test_tasks_run_side_by_side_and_tell_where_they_are():
    happenings = list(local.run([task("a"), task("b")], jobs.meet, 2, 1))
    assert {type(one) for one in happenings} == {Begun, Moved, Ended}
    assert [one.at for one in happenings if isinstance(one, Moved)] == [At("student", "working")] * 2
    assert all(one.why is None and one.seconds > 0 for one in happenings if isinstance(one, Ended))


def test_whatever_ends_a_task_the_others_go_on(folder):
    names = ["input", "bug", "killed", "exits", "fine"]
    ended = {
        one.task.name: one.why
        for one in local.run([task(name) for name in names], jobs.by_name, 2, 1)
        if isinstance(one, Ended)
    }
    assert ended["input"] == "a bad value"
    assert ended["bug"].startswith("unexpected ZeroDivisionError: a bug (")
    assert "jobs.py:" in ended["bug"]
    assert ended["killed"] == "its process was killed by SIGKILL (out of memory?)"
    assert ended["exits"] == "its process ended with exit code 7"
    assert ended["fine"] is None
    assert (folder / "fine").exists()


def test_cells_fail_with_their_teachers_reason(folder):
    tasks = [task("input teacher", kind="teacher"), task("a", "input teacher"), task("b")]
    ended = {one.task.name: one.why for one in local.run(tasks, jobs.by_name, 2, 1) if isinstance(one, Ended)}
    assert ended == {"input teacher": "a bad value", "a": "its teacher failed: a bad value", "b": None}
    assert not (folder / "a").exists()


def test_cells_that_could_not_begin_together_begin_by_themselves(folder):
    tasks = [task("input of both", kind="together"), task("a", "input of both"), task("b", "input of both")]
    ended = {one.task.name: one.why for one in local.run(tasks, jobs.by_name, 2, 1) if isinstance(one, Ended)}
    assert ended == {"input of both": "a bad value", "a": None, "b": None}
    assert (folder / "a").exists()


def test_stopping_lets_every_process_save(folder):
    happenings = local.run([task("a"), task("b")], jobs.forever, 2, 1)
    moved = 0
    while moved < 2:
        moved += isinstance(next(happenings), Moved)
    happenings.close()
    assert (folder / "a-stopped").exists()
    assert (folder / "b-stopped").exists()


def test_processes_end_when_their_parent_is_killed(folder):
    code = (
        "from kdcompress.scale import local; from tests.scale import jobs; from tests.scale.test_local import task\n"
        "for one in local.run([task('a')], jobs.forever, 1, 1): print(type(one).__name__, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        while "Moved" not in parent.stdout.readline():
            pass
        os.kill(parent.pid, signal.SIGKILL)
    for _ in range(100):
        if (folder / "a-stopped").exists():
            return
        time.sleep(0.1)
    pytest.fail("the process went on without its parent")
