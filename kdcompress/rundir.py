"""The run directory: the only code that knows the names of its files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import filelock
import numpy as np
import pydantic

from kdcompress.errors import InputError
from kdcompress.results import Result, from_json, to_json
from kdcompress.signature import problems

_HASH = hashlib.sha256().digest_size
"""Bytes at the head of a checkpoint's file: the hash of the rest."""

_Index = Annotated[int, pydantic.Field(ge=0, lt=2**31)]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, allow_inf_nan=False)


class _Row(_Strict):
    """What readers rely on in a row of the history; the engine writes more."""

    arm: str
    stage: str
    epoch: _Index
    epochs: Annotated[_Index, pydantic.Field(ge=1)]
    learning_rate: dict[str, float]
    losses: dict[str, float]
    seconds: Annotated[float, pydantic.Field(ge=0)]


class _Plan(_Strict, extra="forbid"):
    """The JSON form of the engine's ``Plan``."""

    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
    folded: bool = False
    compiled: bool = False
    measured_ms: dict[str, float]


class _Environment(_Strict):
    """What a run that goes on relies on; the rest of its environment is for a reader."""

    threads: Annotated[int, pydantic.Field(ge=1, le=1024)]
    device: Literal["cpu", "cuda"]
    plans: dict[str, _Plan]


def _check(model: type[_Strict], plain: object, message: str) -> None:
    try:
        model.model_validate(plain)
    except pydantic.ValidationError as error:
        raise InputError(f"{message}: {'; '.join(problems(error, '', plain))}") from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: a reader sees the old content or the new, never a part.

    Raises:
        InputError: where the folder cannot be written to or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror or error}") from error


def _text(path: Path) -> str:
    try:
        return _read(path).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: damaged: not a text file in UTF-8") from error


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


def _read_arrays(path: Path, what: str) -> dict[str, np.ndarray[Any, Any]]:
    try:
        with np.load(io.BytesIO(_read(path)), allow_pickle=False) as file:
            # A member that is no array comes as bytes.
            return {name: np.asarray(values) for name, values in file.items()}
    except _UNREADABLE as error:
        raise InputError(f"{path}: damaged, or not {what}: {error}") from error


# RuntimeError: a flipped bit says that a member is encrypted; MemoryError: that it is larger than the machine.
_UNREADABLE = (
    *(ValueError, TypeError, EOFError, OSError, KeyError, RuntimeError, MemoryError, OverflowError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error),
)


def _check_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], needed: tuple[str, ...]) -> None:
    """Refuse arrays of a kind or shape other than their name says, with their file and name.

    ``input`` and reconstructions are images, ``group`` is text, and everything else is one number for each sample;
    what is of the validation set has another length.
    """
    if missing := [name for name in needed if name not in arrays]:
        raise InputError(f"{path}: {missing[0]}: missing")
    leaders: dict[bool, str] = {}
    for name, values in arrays.items():
        leader = leaders.setdefault(name.startswith("validation_"), name)
        if wrong := _wrong(name, values):
            raise InputError(f"{path}: {name}: {wrong}, not {values.dtype} {list(values.shape)}")
        if len(values) != len(arrays[leader]):
            raise InputError(f"{path}: {name}: has {len(values)} samples, {leader} has {len(arrays[leader])}")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"{path}: {name}: not all values are finite")
        if name in {"label", "labels"} and not np.isin(values, (0, 1)).all():
            raise InputError(f"{path}: {name}: not all values are 0 or 1")
        if name.startswith("reconstruction_") and "input" in arrays and values.shape != arrays["input"].shape:
            raise InputError(f"{path}: {name}: of shape {list(values.shape)}, input is {list(arrays['input'].shape)}")


def _wrong(name: str, values: np.ndarray[Any, Any]) -> str:
    """Say what an array should be where it is not; an empty string where it is."""
    if name == "input" or name.startswith("reconstruction_"):
        images = values.dtype == np.uint8 and values.ndim == 4 and values.shape[1] in (1, 3)
        return "" if images else "should be uint8 [N, C, H, W] of 1 or 3 channels"
    kinds, what = ("U", "text") if name == "group" else ("iu", "integers") if name == "index" else ("fiu", "numbers")
    return "" if values.ndim == 1 and values.dtype.kind in kinds else f"should be {what} [N]"


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
        data = _read(self.path)
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
        number = max(cls._numbers(root / name, digest), default=0) + (1 if fresh else 0)
        return cls(root / name / (digest if number <= 1 else f"{digest}-{number}"))

    @staticmethod
    def _numbers(folder: Path, digest: str) -> Iterator[int]:
        pattern = re.compile(re.escape(digest) + r"(?:-(\d+))?")
        for entry in folder.iterdir() if folder.is_dir() else ():
            if match := pattern.fullmatch(entry.name):
                yield int(match[1] or 1)

    @classmethod
    def existing(cls, path: Path) -> RunDir:
        """Return the run in a folder that has a result.

        Raises:
            InputError: where there is none.
        """
        if not (path / "result.json").is_file():
            raise InputError(f"{path}: not a finished run: there is no result.json in it")
        return cls(path)

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
            raise InputError(
                f"{self.path}: another process is working on this run: wait for it, or start over with --fresh"
            ) from None
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

    def write_recipe(self, text: str) -> None:
        """Write the resolved recipe."""
        write_atomic(self.path / "recipe.yaml", text.encode())

    def recipe(self) -> str:
        """Return the resolved recipe."""
        return _text(self.path / "recipe.yaml")

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Write what the run computes with."""
        write_atomic(self.path / "environment.json", _json(environment))

    def environment(self) -> dict[str, Any]:
        """Return what the run computes with, or nothing yet."""
        plain = self._read_json("environment.json")
        if plain is None:
            return {}
        _check(_Environment, plain, f"{self.path}: its environment.json is damaged; start over with --fresh")
        return plain

    def add_history(self, *rows: Mapping[str, Any]) -> None:
        """Add rows; those of the same arm, stage and epoch that a stopped run left behind are replaced."""
        new = {_place(row) for row in rows}
        kept = [old for old in self.history() if _place(old) not in new]
        lines = [json.dumps(one) for one in (*kept, *rows)]
        write_atomic(self.path / "history.jsonl", ("\n".join(lines) + "\n").encode())

    def history(self) -> tuple[dict[str, Any], ...]:
        """Return the training history, one row an epoch; a last line that was cut off is left out."""
        path = self.path / "history.jsonl"
        lines = _read(path).splitlines(keepends=True) if path.exists() else []
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                if number == len(lines) and not line.endswith(b"\n"):
                    break
                raise InputError(f"{path}: line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}: line {number} is not a JSON object")
            _check(_Row, row, f"{path}: line {number} is not a row of a history")
            rows.append(row)
        return tuple(rows)

    def write_scores(self, scores: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Write the scores and labels."""
        write_atomic(self.path / "scores.npz", _arrays("scores", scores))

    def scores(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the scores and labels."""
        path = self.path / "scores.npz"
        scores = _read_arrays(path, "scores")
        _check_arrays(path, scores, ("labels",))
        return scores

    def write_samples(self, samples: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Write the samples that a report shows."""
        write_atomic(self.path / "samples.npz", _arrays("samples", samples))

    def samples(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the samples that a report shows; nothing for a run that has none."""
        path = self.path / "samples.npz"
        if not path.exists():
            return {}
        samples = _read_arrays(path, "samples")
        _check_arrays(path, samples, ("group", "index", "label", "input"))
        return samples

    def write_result(self, result: Result) -> None:
        """Write the result: the run is done when it is there."""
        write_atomic(self.path / "result.json", _json(to_json(result)))

    def result(self) -> Result | None:
        """Return the result of a finished run."""
        plain = self._read_json("result.json")
        if plain is None:
            return None
        try:
            return from_json(plain)
        except pydantic.ValidationError as error:
            said = "; ".join(problems(error, "", plain))
            raise InputError(f"{self.path / 'result.json'}: not a result of this version: {said}") from error
        except ValueError as error:
            raise InputError(f"{self.path / 'result.json'}: not a result of this version: {error}") from error

    def reported(self) -> bool:
        """Say whether both forms of the report are there."""
        return (self.path / "report.md").exists() and (self.path / "report.html").exists()

    def write_report(self, markdown: str, html: str) -> None:
        """Write both forms of the report."""
        write_atomic(self.path / "report.md", markdown.encode())
        write_atomic(self.path / "report.html", html.encode())

    def _read_json(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        if not path.exists():
            return None
        try:
            plain = json.loads(_text(path))
            # An escaped half of a surrogate pair is JSON, but no report could be written with it.
            json.dumps(plain, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not JSON: {error}") from error
        if not isinstance(plain, dict):
            raise InputError(f"{path}: expected a JSON object")
        return plain


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row.get("arm"), row.get("stage"), row.get("epoch")
