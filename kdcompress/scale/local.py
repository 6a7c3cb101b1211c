"""Tasks over processes of this machine: a task that fails or dies takes no other with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from kdcompress.engine.events import EpochDone, Event, Phase, Progress, Started
from kdcompress.engine.plan import device_for
from kdcompress.errors import KdcompressError
from kdcompress.scale.tasks import Task, ready

TICK_SECONDS = 0.5


@dataclass(frozen=True)
class At:
    """Where a task is: an arm, what it does, epochs done of how many (0 of 0 where it has none)."""

    arm: str
    what: str
    epochs_done: float = 0.0
    epochs: int = 0


@dataclass(frozen=True)
class Begun:
    """A task has started in a process of its own."""

    task: Task


@dataclass(frozen=True)
class Moved:
    """A task has got somewhere."""

    task: Task
    at: At


@dataclass(frozen=True)
class Ended:
    """A task is over, well or with a reason why not."""

    task: Task
    seconds: float
    why: str | None = None


Happening = Begun | Moved | Ended
Tell = Callable[[str, Event], None]
Job = Callable[[Task, Tell], None]
"""Does a task in a process of its own, telling the arm and what happens; can be pickled."""


class Engine(Protocol):
    """Where tasks are done."""

    def check(self, device: str) -> None:
        """Refuse a device that is known not to be there, before anything is begun."""

    def machines(self, device: str) -> Sequence[int]:
        """Return the CPUs of each machine that can compute on a device."""

    def run(
        self, tasks: Sequence[Task], job: Job, jobs: int, threads: int, *, device: str, folder: Path
    ) -> Generator[Happening, None, None]:
        """Do all tasks as `run` does; they compute on a device and write below a folder."""


class Workers(Protocol):
    """Those that do tasks, each one task."""

    def __len__(self) -> int:
        """Return how many there are."""

    def start(self, task: Task) -> None:
        """Add one that does a task."""

    def messages(self) -> Iterator[Happening]:
        """Wait for something to happen, not for long, and return it; those that are through are taken off."""

    def stop(self) -> None:
        """Ask all to stop and wait for them; asked a second time, they stop at once."""


class Here:
    """This machine."""

    def check(self, device: str) -> None:
        """Refuse a device that is not there."""
        device_for(device)

    def machines(self, device: str) -> Sequence[int]:
        """Return the CPUs that this process may use."""
        return (cpus(),)

    def run(
        self, tasks: Sequence[Task], job: Job, jobs: int, threads: int, *, device: str, folder: Path
    ) -> Generator[Happening, None, None]:
        """Do all tasks in processes of this machine."""
        return run(tasks, job, jobs, threads)


HERE = Here()


def cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(tasks: Sequence[Task], job: Job, jobs: int, threads: int) -> Generator[Happening, None, None]:
    """Do all tasks, ``jobs`` at a time, each in a process that computes with ``threads`` threads.

    Closing the generator, or a KeyboardInterrupt within it, stops the processes in order: what they have is saved.
    """
    return run_by(Processes(job, threads), tasks, jobs)


def run_by(workers: Workers, tasks: Sequence[Task], jobs: int) -> Generator[Happening, None, None]:
    """Do all tasks by the given workers, ``jobs`` at a time, each when what it needs has ended."""
    waiting = list(tasks)
    ended: dict[str, str | None] = {}
    try:
        while waiting or len(workers):
            while len(workers) < jobs and (task := ready(waiting, ended)):
                waiting.remove(task)
                if (why := next(filter(None, (ended[name] for name in task.needs)), None)) is not None:
                    ended[task.name] = why
                    yield Ended(task, 0.0, f"its teacher failed: {why}")
                    continue
                workers.start(task)
                yield Begun(task)
            for message in workers.messages():
                if isinstance(message, Ended):
                    # Cells that could not begin together begin by themselves.
                    ended[message.task.name] = message.why if message.task.kind != "together" else None
                yield message
    finally:
        workers.stop()


@dataclass
class _Worker:
    task: Task
    process: BaseProcess
    messages: Connection
    started: float


class Processes:
    """Processes of this machine, each of which does a task with so many threads."""

    def __init__(self, job: Job, threads: int) -> None:
        self._job = job
        self._threads = threads
        self._workers: list[_Worker] = []

    def __len__(self) -> int:
        return len(self._workers)

    def start(self, task: Task) -> None:
        """Start a process that does a task."""
        # Spawned, not forked: a fork would inherit torch's threads in whatever state they are.
        context = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(task, self._job, self._threads, theirs), name=task.name)
        process.start()
        theirs.close()
        self._workers.append(_Worker(task, process, mine, time.monotonic()))

    def messages(self) -> Iterator[Happening]:
        """Wait for something to happen, not for long, and return it; processes that are through are taken off."""
        wait([worker.messages for worker in self._workers], timeout=TICK_SECONDS)
        for worker in list(self._workers):
            try:
                while worker.messages.poll():
                    said = worker.messages.recv()
                    if isinstance(said, At):
                        yield Moved(worker.task, said)
                    else:
                        yield self._ended(worker, said)
                        break
            except EOFError:
                yield self._ended(worker, None, died=True)

    def _ended(self, worker: _Worker, why: str | None, *, died: bool = False) -> Ended:
        self._workers.remove(worker)
        worker.process.join()
        seconds = time.monotonic() - worker.started
        return Ended(worker.task, seconds, _death(worker.process.exitcode) if died else why)

    def stop(self) -> None:
        """Ask all processes to stop and wait for them; asked a second time, they stop at once."""
        for worker in self._workers:
            worker.process.terminate()
        try:
            for worker in self._workers:
                worker.process.join()
        except KeyboardInterrupt:
            for worker in self._workers:
                worker.process.kill()
            raise


def _death(code: int | None) -> str:
    """Say how a process ended that could say nothing itself."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"its process was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"its process ended with exit code {code}"


class _Teller:
    """Sends where a task is, but not too often."""

    def __init__(self, messages: Connection) -> None:
        self._messages = messages
        self._last = 0.0

    def __call__(self, arm: str, event: Event) -> None:
        if isinstance(event, Progress | EpochDone) and time.monotonic() - self._last < TICK_SECONDS:
            return
        if (at := _at(arm, event)) is not None:
            self._last = time.monotonic()
            self._messages.send(at)


def _at(arm: str, event: Event) -> At | None:
    if isinstance(event, Started):
        return At(arm, event.stage.name, event.epoch, event.stage.epochs)
    if isinstance(event, Progress):
        return At(arm, event.stage.name, event.epoch + event.batch / event.batches, event.stage.epochs)
    if isinstance(event, EpochDone):
        return At(arm, event.stage.name, event.row["epoch"] + 1, event.stage.epochs)
    if isinstance(event, Phase):
        return At(arm, event.what)
    return None


def _work(task: Task, job: Job, threads: int, messages: Connection) -> None:
    """Do a task in this process and send None when it is done, or the reason why it is not."""
    # Out of the terminal's group: Ctrl-C reaches the parent alone, which then asks this process to stop, once.
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    signal.signal(signal.SIGTERM, _interrupted)
    threading.Thread(target=_watch_parent, daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    why = None
    try:
        job(task, _Teller(messages))
    except KdcompressError as error:
        why = str(error)
    except KeyboardInterrupt:
        why = "interrupted"
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the others
        last = traceback.extract_tb(error.__traceback__)[-1]
        why = f"unexpected {type(error).__name__}: {error} ({last.filename}:{last.lineno})"
    with contextlib.suppress(OSError):  # nobody listens where the parent was killed
        messages.send(why)


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _watch_parent() -> None:
    """Stop in order when the parent is gone: nobody would know of this process."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
