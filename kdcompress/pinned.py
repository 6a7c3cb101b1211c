"""Files that options name: what is in one counts, where it lies does not (no torch)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from kdcompress.errors import InputError, near


@dataclass(frozen=True)
class Pinned:
    """A file, from the current folder, and the hash of its content.

    The hash alone is enough for whoever only asks which file it was: a digest, a bundle that is loaded.
    """

    file: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    def read(self) -> bytes:
        """Return the content.

        Raises:
            InputError: where no file is named, it cannot be read, or it is not the one with this hash.
        """
        if self.file is None:
            raise InputError(f"a file with sha256 {self.sha256} is wanted, and none is named (allowed: file: PATH)")
        content = _content(self.file)
        if (found := hashlib.sha256(content).hexdigest()) != self.sha256:
            raise InputError(f"{self.file}: its sha256 is {found}, and that of the wanted file is {self.sha256}")
        return content


def pinned(given: str | Pinned) -> Pinned:
    """Return a file as an option names it with its hash, which is computed where it is not given.

    Raises:
        ValueError: where the hash is not known and the file cannot be read, as pydantic's validators have to.
    """
    named = Pinned(given) if isinstance(given, str) else given
    if named.sha256 is not None:
        return named
    if named.file is None:
        raise ValueError("no file is named (allowed: a path, or a mapping with file, sha256 or both)")
    try:
        return Pinned(named.file, hashlib.sha256(_content(named.file)).hexdigest())
    except InputError as error:
        raise ValueError(str(error)) from error


def unplaced(plain: Any) -> Any:  # noqa: ANN401
    """Return plain data without the places of files, each a mapping of ``file`` and ``sha256``, and maybe ``bytes``."""
    if isinstance(plain, list | tuple):
        return [unplaced(one) for one in plain]
    if not isinstance(plain, dict):
        return plain
    if {"file", "sha256"} <= plain.keys() <= {"file", "sha256", "bytes"}:
        return {key: value for key, value in plain.items() if key != "file"}
    return {key: unplaced(value) for key, value in plain.items()}


def _content(file: str) -> bytes:
    path = Path(file).expanduser()
    try:
        return path.read_bytes()
    except FileNotFoundError:
        beside = sorted(one.name for one in path.parent.iterdir()) if path.parent.is_dir() else []
        raise InputError(f"{file}: no such file{near(path.name, beside)}") from None
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{file}: cannot be read: {said}") from error
