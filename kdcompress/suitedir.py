"""The folder of a suite: the only code that knows the names of its files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import filelock
import pydantic

from kdcompress import contents
from kdcompress.errors import InputError
from kdcompress.results import Result, to_json
from kdcompress.rundir import numbered, numbers, write_atomic
from kdcompress.signature import problems
from kdcompress.suite import Published, Suite

SCHEMA = 1

OVER_RUNS = ("data.normal_class", "data.set", "data.series", "seed")
"""Axes over which a summary takes means; every other axis sets cells apart."""


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Entry(_Part):
    """A cell: its name, its place in the grid, and the digest of its run."""

    name: str
    values: dict[str, Any]
    digest: str

    @property
    def group(self) -> dict[str, Any]:
        """Its place on the axes that no mean is taken over."""
        return {key: value for key, value in self.values.items() if key not in OVER_RUNS}


class Manifest(_Part):
    """What a suite consists of: enough to summarise its results without the recipes that they come from."""

    schema_: int = pydantic.Field(SCHEMA, alias="schema")
    name: str
    description: str = ""
    together: int | None = None
    tuned_on: dict[str, list[int | str]] = pydantic.Field(default_factory=dict)
    published: dict[str, Published] = pydantic.Field(default_factory=dict)
    cells: tuple[Entry, ...]

    @classmethod
    def of(cls, suite: Suite, digests: Mapping[str, str]) -> Manifest:
        """Return the manifest of a suite whose runs have the given digests, by the cells' names."""
        heading = suite.heading
        cells = [{"name": one.name, "values": dict(one.values), "digest": digests[one.name]} for one in suite.cells]
        plain = heading.model_dump(include={"name", "description", "together", "tuned_on", "published"})
        return cls.model_validate({**plain, "schema": SCHEMA, "cells": cells})


@dataclass(frozen=True)
class SuiteDir:
    """A suite's folder: one ``<cell>.json`` for each cell that is done, and everything that is made from them."""

    path: Path

    @classmethod
    def newest(cls, root: Path, name: str, *, fresh: bool = False) -> Self:
        """Return where the newest run of a suite is or would be, or with ``fresh`` the next; nothing is made.

        That is ``NAME``, ``NAME-2``, ``NAME-3`` and so on, without those that hold another suite, which is called so.
        """
        there = {number: cls(root / numbered(name, number)) for number in numbers(root, name)}
        own = [number for number, one in there.items() if cls.holds(one.path) and one.manifest().name == name]
        number = max(there) + 1 if fresh and own else max(own, default=1)
        return cls(root / numbered(name, number))

    @classmethod
    def holds(cls, folder: Path) -> bool:
        """Say whether a folder is a suite's."""
        return (folder / "suite.json").is_file()

    @classmethod
    def owns(cls, file: Path) -> bool:
        """Say whether a name is that of a file that a suite keeps, there or not: its cells' have their names."""
        kept = file.stem == "report" or file.suffix in {".json", ".yaml"} or file.name.endswith(".history.jsonl")
        return kept and cls.holds(file.parent)

    @property
    def runs(self) -> Path:
        """The folder of the cells' runs, teachers included; it may be deleted when a suite is done."""
        return self.path / "runs"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out of the suite; the lock falls with the process that holds it.

        Raises:
            InputError: where another process works on the suite.
        """
        guard = filelock.FileLock(self.runs / ".lock", timeout=0)
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            guard.acquire()
        except filelock.Timeout:
            raise InputError(f"{self.path}: another process is working on this suite: wait for it") from None
        except OSError as error:
            raise InputError(f"--out: cannot write to {self.runs}: {error.strerror or error}") from error
        try:
            yield
        finally:
            guard.release()

    def write_manifest(self, manifest: Manifest) -> None:
        """Write what the suite consists of."""
        write_atomic(self.path / "suite.json", (manifest.model_dump_json(by_alias=True, indent=1) + "\n").encode())

    def manifest(self) -> Manifest:
        """Return what the suite consists of.

        Raises:
            InputError: where there is none, or it is damaged.
        """
        path = self.path / "suite.json"
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InputError(f"{path}: cannot read: {error.strerror or error}") from error
        except pydantic.ValidationError as error:
            raise InputError(f"{path}: not a suite of this version: {'; '.join(problems(error, '', {}))}") from error

    def write_cell(self, name: str, result: Result, history: tuple[dict[str, Any], ...]) -> None:
        """Write a cell's training history, then its result: the cell is done when that is there."""
        lines = "".join(json.dumps(row) + "\n" for row in history)
        write_atomic(self.path / f"{name}.history.jsonl", lines.encode())
        write_atomic(self.path / f"{name}.json", (json.dumps(to_json(result), indent=1) + "\n").encode())

    def result(self, entry: Entry) -> Result | None:
        """Return a cell's result, or None where it is not done.

        Raises:
            InputError: where it is damaged, or of other settings.
        """
        path = self.path / f"{entry.name}.json"
        if not path.exists():
            return None
        result = contents.read_result(path)
        if result.digest.partition("-")[0] != entry.digest:
            raise InputError(
                f"{path}: its settings were others ({result.digest}, now {entry.digest}): run it with --fresh "
                f"to start over beside {self.path}"
            )
        return result

    def results(self, manifest: Manifest) -> dict[str, Result]:
        """Return the results that are there, by the cells' names, in the suite's order."""
        found = {entry.name: self.result(entry) for entry in manifest.cells}
        return {name: result for name, result in found.items() if result is not None}

    def history(self, name: str) -> tuple[dict[str, Any], ...]:
        """Return the training history of a cell that is done."""
        return contents.read_history(self.path / f"{name}.history.jsonl")

    def write_failed(self, failed: Mapping[str, str]) -> None:
        """Write which cells failed when the suite was last run, and why; no file where none did."""
        path = self.path / "failed.json"
        if failed:
            write_atomic(path, (json.dumps(dict(failed), indent=1) + "\n").encode())
        else:
            path.unlink(missing_ok=True)

    def failed(self) -> dict[str, str]:
        """Return which cells failed when the suite was last run and are still not done."""
        path = self.path / "failed.json"
        plain = contents.read_json(path) if path.exists() else {}
        return {name: str(why) for name, why in plain.items() if not (self.path / f"{name}.json").exists()}
