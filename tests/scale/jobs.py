"""Jobs for processes of their own; a spawned process imports them by name."""

import os
import signal
import time
from pathlib import Path

from kdcompress.engine.events import Phase
from kdcompress.errors import InputError

FOLDER = "KDCOMPRESS_TEST_FOLDER"


def note(task, tell):
    """Leave a file."""
    tell("student", Phase("working"))
    (Path(os.environ[FOLDER]) / task.name).touch()


def meet(task, tell):
    """Wait for another task: both end only if they run at the same time."""
    note(task, tell)
    for _ in range(600):
        if len(list(Path(os.environ[FOLDER]).iterdir())) > 1:
            return
        time.sleep(0.1)
    raise InputError("nobody came")


def by_name(task, tell):
    """Do what the task's name says."""
    if "input" in task.name:
        raise InputError("a bad value")
    if "bug" in task.name:
        raise ZeroDivisionError("a bug")
    if "killed" in task.name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "exits" in task.name:
        os._exit(7)
    note(task, tell)


def forever(task, tell):
    """Work until told to stop, and leave a file on stopping."""
    try:
        tell("student", Phase("working"))
        time.sleep(60)
    except KeyboardInterrupt:
        (Path(os.environ[FOLDER]) / f"{task.name}-stopped").touch()
        raise


def abandoned(task, tell):
    """Kill the process that began this one, and leave a file on stopping."""
    os.kill(os.getppid(), signal.SIGKILL)
    forever(task, tell)
