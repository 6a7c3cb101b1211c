import json
import os
import pickle
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import kdcompress as kd
from kdcompress.errors import InputError
from kdcompress.scale import benchmark, cluster, local
from kdcompress.scale.local import At, Ended, Moved
from kdcompress.suitedir import SuiteDir
from tests.recipes import TINY
from tests.scale import jobs
from tests.scale.test_benchmark import command, parsed, write
from tests.scale.test_local import task

TIMES = {"seconds", "latency_ms", "peak_memory_bytes", "latency_batch_1", "latency_batch_64", "images_per_second"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(jobs.FOLDER, str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def place():
    """A cluster of this machine."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'kdcompress[ray]'")
    with cluster.opened("ray", None) as place:
        yield place


def run(place, tasks, job, folder):
    return place.run(tasks, job, 2, 1, device="cpu", folder=folder)


def without_times(plain):
    if isinstance(plain, dict):
        return {key: without_times(value) for key, value in plain.items() if key not in TIMES}
    return [without_times(one) for one in plain] if isinstance(plain, list) else plain


@pytest.mark.parametrize(
    ("engine", "address", "message"),
    [
        ("spark", None, r"--engine spark: unknown engine \(allowed: local, ray\)"),
        ("local", "auto", "--address auto: only a cluster has one: add --engine ray"),
        ("ray", "local", r"--address local: no address \(allowed: auto, HOST:PORT, ray://HOST:PORT\)"),
        ("ray", "http://head:8265", "--address http://head:8265: no address"),
        ("ray", "127.0.0.1:99999999999999999999", "nobody answers there"),
    ],
)
def test_what_is_no_engine_or_no_address_is_refused(engine, address, message):
    with pytest.raises(InputError, match=message), cluster.opened(engine, address):
        pass
    with pytest.raises(InputError, match=message):
        kd.benchmark({**TINY, "grid": {"seed": [0]}}, engine=engine, address=address)


def test_an_address_where_nobody_listens_is_refused_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with (
            pytest.raises(InputError, match=f"--address {address}: nobody answers there"),
            cluster.opened("ray", address),
        ):
            pass


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    message = r"--engine ray: Ray is not installed: pip install 'kdcompress\[ray\]'"
    with pytest.raises(InputError, match=message), cluster.opened("ray", None):
        pass


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"version": "0.0.1"}, "kdcompress is .* there and 0.0.1 here: install the same"),
        ({"mark": "another"}, "does not see .*: --out must be on a file system that all share"),
        ({"token": "/nowhere/.cluster"}, "does not see /nowhere: --out must be"),
        ({"folder": "/nowhere"}, "does not see /nowhere, the working folder"),
    ],
)
def test_a_machine_that_cannot_do_it_says_why(folder, changed, message):
    (folder / ".cluster").write_text("mark")
    given = {"version": kd.__version__, "folder": str(Path.cwd()), "token": str(folder / ".cluster"), "mark": "mark"}
    said = cluster._place()().begin(**{**given, **changed}, environment={}, packed=pickle.dumps(None))
    with pytest.raises(InputError, match=f"a machine of the cluster: {message}"):
        raise InputError(said)


@pytest.mark.slow
def test_tasks_run_side_by_side_on_a_cluster_and_tell_where_they_are(place, folder):
    happenings = list(run(place, [task("a"), task("b")], jobs.meet, folder))
    assert [one.at for one in happenings if isinstance(one, Moved)] == [At("student", "working")] * 2
    assert all(one.why is None and one.seconds > 0 for one in happenings if isinstance(one, Ended))
    assert not (folder / ".cluster").exists()


@pytest.mark.slow
def test_whatever_ends_a_task_on_a_cluster_the_others_go_on(place, folder):
    tasks = [task(name) for name in ("input", "killed", "fine")]
    ended = {one.task.name: one.why for one in run(place, tasks, jobs.by_name, folder) if isinstance(one, Ended)}
    killed = "its process was killed by SIGKILL (out of memory?)"
    assert ended == {"input": "a bad value", "killed": killed, "fine": None}


@pytest.mark.slow
def test_a_worker_that_dies_is_told_and_its_process_saves(place, folder):
    (ended,) = [one for one in run(place, [task("a")], jobs.abandoned, folder) if isinstance(one, Ended)]
    assert ended.why.startswith("its worker on the cluster died: ")
    assert "\n" not in ended.why
    deadline = time.monotonic() + 30
    while not (folder / "a-stopped").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (folder / "a-stopped").exists()


@pytest.mark.slow
def test_stopping_lets_every_process_on_a_cluster_save(place, folder):
    happenings = run(place, [task("a"), task("b")], jobs.forever, folder)
    moved = 0
    while moved < 2:
        moved += isinstance(next(happenings), Moved)
    happenings.close()
    assert (folder / "a-stopped").exists()
    assert (folder / "b-stopped").exists()


@pytest.mark.slow
def test_a_machine_of_another_version_stops_everything_with_one_message(place, folder, monkeypatch):
    monkeypatch.setattr(cluster, "__version__", "0.0.1")
    with pytest.raises(InputError, match="and 0.0.1 here: install the same"):
        list(run(place, [task("a"), task("b")], jobs.by_name, folder))


@pytest.mark.slow
def test_a_cluster_without_the_device_is_refused(place):
    if any(gpus for _, gpus in place._nodes):
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="--engine ray: no machine of it has a CPU and a GPU to offer"):
        place.machines("cuda")


@pytest.mark.slow
def test_cells_of_a_cluster_are_those_of_this_machine_to_the_bit(place, tmp_path):
    for name, engine in (("here", local.HERE), ("there", place)):
        work = benchmark.prepare(
            parsed(), tmp_path / name, device="cpu", jobs=1, only="*seed-[01]", observe=lambda _: None, engine=engine
        )
        assert [one.why for one in benchmark.run(work, plugin_files=()) if isinstance(one, Ended)] == [None] * 3
    here, there = (SuiteDir(tmp_path / name / "small") for name in ("here", "there"))
    cells = [entry.name for entry in here.manifest().cells if here.result(entry)]
    assert len(cells) == 2
    for cell in cells:
        found, wanted = (json.loads((one.path / f"{cell}.json").read_text()) for one in (there, here))
        assert without_times(found) == without_times(wanted)
        assert without_times(list(there.history(cell))) == without_times(list(here.history(cell)))
    bundles = {path.relative_to(here.path): path.read_bytes() for path in here.path.rglob("*.safetensors")}
    assert bundles
    assert all((there.path / path).read_bytes() == content for path, content in bundles.items())


@pytest.mark.slow
def test_the_command_prints_json_alone_and_what_is_done_needs_no_cluster(tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install 'kdcompress[ray]'")
    folder = write(tmp_path, grid={"student.width": [0.5], "seed": [0]})
    arguments = [*command(folder), "--engine", "ray", "--json"]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["cells"] == {"all": 1, "done": 1, "failed": {}}
    assert done.stderr == ""
    # An address without a cluster behind it: nobody is asked.
    with socket.create_server(("127.0.0.1", 0)) as server:
        again = [*arguments, "--address", f"127.0.0.1:{server.getsockname()[1]}"]
        assert subprocess.run(again, check=True, capture_output=True, text=True).stdout == done.stdout


@pytest.mark.slow
def test_usage_is_never_reported(place):
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
