"""Tasks over the machines of a Ray cluster: each is done there as `local` does it, in a process of its own."""

from __future__ import annotations

import contextlib
import io
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kdcompress import __version__
from kdcompress.engine.plan import device_for
from kdcompress.errors import InputError, KdcompressError
from kdcompress.scale import local
from kdcompress.scale.local import TICK_SECONDS, Ended, Happening, Job
from kdcompress.scale.tasks import Task

_REACH_SECONDS = 5.0
_CONNECT_SECONDS = 60.0
_PROBE = """
import sys, ray
try:
    ray.init(sys.argv[1], log_to_driver=False)
    ray.shutdown()
except Exception as error:
    sys.exit(" ".join(str(error).split()))
"""
_OBJECTS_BYTES = 100 * 2**20
"""Room for Ray's objects in a cluster of our own: results are files."""


@contextlib.contextmanager
def opened(engine: str, address: str | None) -> Iterator[local.Engine]:
    """Return what an engine's name means, ``local`` or ``ray``; a cluster is connected to when it is first needed.

    Without an address it is a cluster of this machine, which ends with the context.

    Raises:
        InputError: where Ray is missing, or there is no such engine or address.
    """
    if engine not in {"local", "ray"}:
        raise InputError(f"--engine {engine:.80}: unknown engine (allowed: local, ray)")
    if engine == "local":
        if address is not None:
            raise InputError(f"--address {address:.80}: only a cluster has one: add --engine ray")
        yield local.HERE
        return
    if address is not None:
        _check(address)
    cluster = Cluster(address)
    try:
        # Ray prints what happens to its processes, a thread does it, and no option turns it off.
        with contextlib.redirect_stdout(io.StringIO()):
            yield cluster
    finally:
        cluster.close()


class Cluster:
    """Machines of a Ray cluster; what is read and written lies where all of them see it."""

    def __init__(self, address: str | None) -> None:
        # Nothing is reported to whoever makes Ray; it asks this when it is imported.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            import ray
        except ImportError:
            raise InputError("--engine ray: Ray is not installed: pip install 'kdcompress[ray]'") from None
        if ray.is_initialized():
            raise InputError("--engine ray: this process uses a cluster already: ray.shutdown() leaves it")
        self._ray: Any = ray
        self._address = address
        self._connected = False

    def check(self, device: str) -> None:
        """Refuse a device that no machine has; which ones have CUDA is known when there is something to do."""
        if device != "cuda":
            device_for(device)

    def machines(self, device: str) -> Sequence[int]:
        """Return the CPUs of each machine that can compute on a device, after connecting.

        Raises:
            InputError: where the cluster cannot be reached, or has none.
        """
        gpus = self._on_gpus(device)
        found = [int(cpus) for cpus, its_gpus in self._nodes if cpus >= 1 and (its_gpus > 0 or not gpus)]
        if not found:
            raise InputError(f"{self._said}: no machine of it has {'a CPU and a GPU' if gpus else 'a CPU'} to offer")
        return found

    def run(
        self, tasks: Sequence[Task], job: Job, jobs: int, threads: int, *, device: str, folder: Path
    ) -> Generator[Happening, None, None]:
        """Do all tasks, as many at a time as have room, each by an actor that has as many CPUs as threads."""
        if not tasks:
            return
        machines = self.machines(device)
        threads = min(threads, max(machines))
        jobs = min(jobs, max(1, sum(cpus // threads for cpus in machines)))
        gpus = sum(gpus for _, gpus in self._nodes) if self._on_gpus(device) else 0
        # Several share a GPU where there are more of them; Ray counts in steps of 1/10000.
        share = math.floor(1e4 / math.ceil(jobs / gpus)) / 1e4 if gpus else 0
        token = folder.absolute() / ".cluster"
        token.write_text(uuid.uuid4().hex)
        try:
            yield from local.run_by(_Actors(self._ray, job, threads, max(machines), share, token), tasks, jobs)
        except ConnectionError as error:
            raise KdcompressError(
                f"{self._said}: the connection is lost ({error}); the same command goes on"
            ) from error
        finally:
            token.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the cluster; one of our own ends."""
        if self._connected:
            self._ray.shutdown()

    @property
    def _said(self) -> str:
        return f"--address {self._address}" if self._address else "--engine ray"

    def _on_gpus(self, device: str) -> bool:
        """Say whether tasks want a GPU; ``auto`` takes them where any machine has one."""
        return device == "cuda" or (device == "auto" and any(gpus for _, gpus in self._nodes))

    @cached_property
    def _nodes(self) -> list[tuple[float, float]]:
        """CPUs and GPUs of each machine."""
        if self._address is not None:
            _probe(self._address)
        own: dict[str, Any] = {"num_cpus": local.cpus(), "include_dashboard": False}
        own["object_store_memory"] = _OBJECTS_BYTES
        handler = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(
                address=self._address or "local",
                log_to_driver=False,
                logging_level="ERROR",
                **({} if self._address else own),
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{self._said}: cannot connect: {' '.join(str(error).split())}") from error
        finally:
            # Ray takes the signal for itself.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)
        self._connected = True
        resources = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return [(has.get("CPU", 0), has.get("GPU", 0)) for has in resources]


def _check(address: str) -> None:
    """Refuse what is no address, and one where nobody listens: Ray would try it for minutes."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise InputError(f"--address {address:.80}: no address (allowed: auto, HOST:PORT, ray://HOST:PORT)")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(f"--address {address:.80}: nobody answers there: {error}") from error


def _probe(address: str) -> None:
    """Connect to a cluster in a process that can be stopped: where something else listens, Ray cannot."""
    try:
        command = [sys.executable, "-c", _PROBE, address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CONNECT_SECONDS)
    except subprocess.TimeoutExpired:
        raise InputError(f"--address {address}: no cluster answers there within {_CONNECT_SECONDS:.0f} s") from None
    if done.returncode:
        why = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        # Ray itself looks for the token everywhere but here.
        hint = " (RAY_AUTH_MODE=token gives the cluster its token)" if address.startswith("ray://") else ""
        raise InputError(f"--address {address}: cannot connect: {why}{hint}")


@dataclass
class _Doing:
    """A task, the actor that does it, what it was asked last, and whether it has begun."""

    task: Task
    actor: Any
    asked: Any
    since: float
    begun: bool = False


class _Actors:
    """Actors of a cluster, each with a process that does a task; they are asked again and again what has happened."""

    def __init__(self, ray: Any, job: Job, threads: int, most: int, gpus: float, token: Path) -> None:  # noqa: ANN401
        self._ray = ray
        self._place = ray.remote(_place())
        self._job = job
        self._threads = threads
        self._most = most
        self._gpus = gpus
        self._token = token
        self._mark = token.read_text()
        self._doing: list[_Doing] = []

    def __len__(self) -> int:
        return len(self._doing)

    def start(self, task: Task) -> None:
        """Ask for an actor that does a task, when there is room."""
        cpus = min(task.recipe.engine.threads or self._threads, self._most)
        actor = self._place.options(num_cpus=cpus, num_gpus=self._gpus).remote()
        ours = {key: value for key, value in os.environ.items() if key.startswith(("KDCOMPRESS_", "OMP_"))}
        packed = pickle.dumps((task, self._job, self._threads))
        asked = actor.begin.remote(__version__, str(Path.cwd()), str(self._token), self._mark, ours, packed)
        self._doing.append(_Doing(task, actor, asked, time.monotonic()))

    def messages(self) -> Iterator[Happening]:
        """Wait for something to happen, not for long, and return it; tasks that are through are taken off."""
        answered, _ = self._ray.wait([one.asked for one in self._doing], timeout=TICK_SECONDS)
        for one in [one for one in self._doing if one.asked in answered]:
            try:
                said = self._ray.get(one.asked)
            except self._ray.exceptions.RayError as error:
                full = isinstance(error, self._ray.exceptions.OutOfMemoryError)
                why = "its machine ran out of memory: run fewer at a time" if full else _death(error)
                said = [Ended(one.task, time.monotonic() - one.since, f"its worker on the cluster died: {why}")]
            if isinstance(said, str):
                raise InputError(said)
            one.begun = True
            if any(isinstance(happening, Ended) for happening in said):
                self._doing.remove(one)
                self._ray.kill(one.actor)
            else:
                one.asked = one.actor.more.remote()
            yield from said

    def stop(self) -> None:
        """Ask all to stop and wait for them; asked a second time, they stop at once."""
        stopped = [one.actor.stop.remote() for one in self._doing if one.begun]
        try:
            if stopped:
                self._ray.wait(stopped, num_returns=len(stopped))
        finally:
            for one in self._doing:
                self._ray.kill(one.actor)


def _place() -> type:
    """Return the class of the actors; it travels as code, since kdcompress may be missing where it arrives."""

    class Place:
        def begin(
            self, version: str, folder: str, token: str, mark: str, environment: dict[str, str], packed: bytes
        ) -> str | list[Happening]:
            """Start the process, or return what is wrong with this machine."""
            import os
            import pickle
            import platform
            from pathlib import Path

            where = f"{platform.node()}, a machine of the cluster"
            try:
                import kdcompress
            except ImportError as error:
                return f"{where}: kdcompress {version} is not installed there ({error})"
            if kdcompress.__version__ != version:
                return f"{where}: kdcompress is {kdcompress.__version__} there and {version} here: install the same"
            if not Path(token).exists() or Path(token).read_text() != mark:
                return f"{where}: does not see {Path(token).parent}: --out must be on a file system that all share"
            try:
                os.chdir(folder)
            except OSError:
                return f"{where}: does not see {folder}, the working folder: begin in one that all machines share"
            # Ray sets it; what computes outside of torch would then have other threads, and other bits, than here.
            os.environ.pop("OMP_NUM_THREADS", None)
            os.environ.update(environment)
            from kdcompress.scale.local import Processes

            task, job, threads = pickle.loads(packed)
            self._processes = Processes(job, threads)
            self._processes.start(task)
            return []

        def more(self) -> list[Happening]:
            """Return what has happened in the last half second."""
            return list(self._processes.messages())

        def stop(self) -> None:
            self._processes.stop()

    return Place


def _death(error: Exception) -> str:
    """Say how an actor ended that could say nothing itself."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].split("Worker exit detail: ")[-1].split(" Some common causes")[0]
