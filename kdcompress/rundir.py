"""The run directory: the only code that knows the names of its files."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from kdcompress.contents import (
    read_arrays,
    read_bytes,
    read_deployment,
    read_environment,
    read_history,
    read_result,
    read_text,
)
from kdcompress.deployment import Deployment
from kdcompress.disk import whole
from kdcompress.errors import InputError
from kdcompress.results import Result, to_json

_HASH = hashlib.sha256().digest_size
"""Bytes at the head of a checkpoint's file: the hash of the rest."""

_FILES = (
    *("environment.json", "recipe.yaml", "history.jsonl", "scores.npz", "samples.npz"),
    *("result.json", "deployment.json", "report.md", "report.html"),
)
"""What a run keeps beside its bundles and checkpoints."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, as `whole` does.

    Raises:
        InputError: where the folder cannot be written to or the disk is full.
    """
    with whole(path) as file:
        file.write(data)


def _json(plain: object) -> bytes:
    return (json.dumps(plain, indent=1, allow_nan=False) + "\n").encode()


def _arrays(what: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    buffer = io.BytesIO()
    for name, values in arrays.items():
        if values.dtype.hasobject:
            raise TypeError(f"{name}: {what} are numbers; objects would be pickled")
    # Not by allow_pickle=False: a numpy that does not know the argument would save it as an array.
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def numbered(name: str, number: int) -> str:
    """Return what the first, second, ... of a name is called: ``name``, ``name-2``, ..."""
    return name if number <= 1 else f"{name}-{number}"


def numbers(folder: Path, name: str) -> Iterator[int]:
    """Return which of the `numbered` are in a folder."""
    pattern = re.compile(re.escape(name) + r"(?:-(\d+))?")
    for entry in folder.iterdir() if folder.is_dir() else ():
        if match := pattern.fullmatch(entry.name):
            yield int(match[1] or 1)


@dataclass(frozen=True)
class CheckpointFile:
    """Where one arm's training is kept; the engine's slot."""

    run: RunDir
    arm: str

    @property
    def path(self) -> Path:
        """The checkpoint's file."""
        return self.run.path / "checkpoints" / f"{self.arm}.checkpoint"

    def read(self) -> bytes | None:
        """Return the last checkpoint, or None.

        Raises:
            InputError: where it is not what was written.
        """
        if not self.path.exists():
            return None
        data = read_bytes(self.path)
        if hashlib.sha256(data[_HASH:]).digest() != data[:_HASH]:
            raise InputError(f"{self.path}: damaged; delete it, and the same command trains this part from its start")
        return data[_HASH:]

    def write(self, checkpoint: bytes, row: dict[str, Any] | None) -> None:
        """Add the row to the history, then replace the checkpoint: a row without its checkpoint is written anew."""
        if row is not None:
            self.run.add_history({"arm": self.arm, **row})
        write_atomic(self.path, hashlib.sha256(checkpoint).digest() + checkpoint)

    def clear(self) -> None:
        """Remove the checkpoint of a training that is complete."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class RunDir:
    """One run's directory: every file is whole, and what is there need not be computed again."""

    path: Path

    @classmethod
    def open(cls, root: Path, name: str, digest: str, *, fresh: bool = False) -> RunDir:
        """Return the newest run of a digest, or with ``fresh`` a new one beside it; its folder is made."""
        try:
            run = cls.newest(root, name, digest, fresh=fresh)
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            place = error.filename or root
            raise InputError(f"--out {root}: cannot make {place}: {error.strerror or error}") from error
        if not os.access(run.path, os.W_OK | os.X_OK):
            raise InputError(f"--out {root}: cannot write to {run.path}: permission denied")
        return run

    @classmethod
    def newest(cls, root: Path, name: str, digest: str, *, fresh: bool = False) -> RunDir:
        """Return where the newest run of a digest is or would be, or with ``fresh`` the next; nothing is made."""
        number = max(numbers(root / name, digest), default=0) + (1 if fresh else 0)
        return cls(root / name / numbered(digest, number))

    @classmethod
    def existing(cls, path: Path) -> RunDir:
        """Return the run in a folder that has a result.

        Raises:
            InputError: where there is none.
        """
        if not (path / "result.json").is_file():
            raise InputError(f"{path}: not a finished run: there is no result.json in it")
        return cls(path)

    @classmethod
    def holds(cls, folder: Path) -> bool:
        """Say whether a folder is a run's, finished or not."""
        return any((folder / name).is_file() for name in ("environment.json", "result.json"))

    @classmethod
    def owns(cls, file: Path) -> bool:
        """Say whether a name is that of a file that a run keeps, there or not."""
        if file.parent.name == "checkpoints":
            return cls.holds(file.parent.parent)
        return cls.holds(file.parent) and (file.name in _FILES or file.suffix == ".safetensors")

    @property
    def digest(self) -> str:
        """The name of the directory."""
        return self.path.name

    @contextlib.contextmanager
    def lock(self, *, wait: bool = False) -> Iterator[None]:
        """Keep other processes out; the lock falls with the process that holds it, however it ends.

        Raises:
            InputError: where another process works here and ``wait`` is off.
        """
        folder = self.path / "checkpoints"
        guard = filelock.FileLock(folder / ".lock", timeout=-1 if wait else 0)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            guard.acquire()
        except filelock.Timeout:
            raise InputError(f"{self.path}: another process is working on this run: wait until it is done") from None
        except OSError as error:
            raise InputError(f"{folder}: cannot write: {error.strerror or error}") from error
        try:
            yield
        finally:
            guard.release()

    def bundle(self, name: str) -> Path:
        """Return the file of a detector: ``teacher``, ``student``, ``control``, or one at the end of a stage."""
        return self.path / f"{name}.safetensors"

    def checkpoint(self, arm: str) -> CheckpointFile:
        """Return where an arm's training is kept."""
        return CheckpointFile(self, arm)

    def temporary(self) -> Path:
        """Return a folder for files that go with the process that made them."""
        folder = self.path / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write_recipe(self, text: str) -> None:
        """Write the resolved recipe."""
        write_atomic(self.path / "recipe.yaml", text.encode())

    def recipe(self) -> str:
        """Return the resolved recipe."""
        return read_text(self.path / "recipe.yaml")

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Write what the run computes with."""
        write_atomic(self.path / "environment.json", _json(environment))

    def environment(self) -> dict[str, Any]:
        """Return what the run computes with, or nothing yet."""
        path = self.path / "environment.json"
        return read_environment(path) if path.exists() else {}

    def add_history(self, *rows: Mapping[str, Any]) -> None:
        """Add rows; those of the same arm, stage and epoch that a stopped run left behind are replaced."""
        new = {_place(row) for row in rows}
        kept = [old for old in self.history() if _place(old) not in new]
        text = "".join(f"{json.dumps(one)}\n" for one in (*kept, *rows))
        write_atomic(self.path / "history.jsonl", text.encode())

    def history(self) -> tuple[dict[str, Any], ...]:
        """Return the training history, one row an epoch; a last line that was cut off is left out."""
        return read_history(self.path / "history.jsonl")

    def write_scores(self, scores: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Write the scores and labels."""
        write_atomic(self.path / "scores.npz", _arrays("scores", scores))

    def scores(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the scores and labels."""
        return read_arrays(self.path / "scores.npz", "scores", ("labels",))

    def write_samples(self, samples: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Write the samples that a report shows."""
        write_atomic(self.path / "samples.npz", _arrays("samples", samples))

    def samples(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the samples that a report shows; nothing for a run that has none."""
        path = self.path / "samples.npz"
        return read_arrays(path, "samples", ("group", "index", "label", "input")) if path.exists() else {}

    def write_result(self, result: Result) -> None:
        """Write the result: the run is done when it is there."""
        write_atomic(self.path / "result.json", _json(to_json(result)))

    def result(self) -> Result | None:
        """Return the result of a finished run."""
        path = self.path / "result.json"
        return read_result(path) if path.exists() else None

    def write_deployment(self, found: Deployment) -> None:
        """Write what the run's exported files cost."""
        write_atomic(self.path / "deployment.json", _json(dataclasses.asdict(found)))

    def deployment(self) -> Deployment | None:
        """Return what the run's exported files cost; None where they were not measured."""
        path = self.path / "deployment.json"
        return read_deployment(path) if path.exists() else None

    def reported(self) -> bool:
        """Say whether both forms of the report are there."""
        return (self.path / "report.md").exists() and (self.path / "report.html").exists()

    def write_report(self, markdown: str, html: str) -> None:
        """Write both forms of the report."""
        write_atomic(self.path / "report.md", markdown.encode())
        write_atomic(self.path / "report.html", html.encode())


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row.get("arm"), row.get("stage"), row.get("epoch")
