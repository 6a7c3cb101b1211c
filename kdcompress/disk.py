"""Room on a disk, and files that are there whole (no torch)."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from kdcompress.errors import InputError


def reserve(file: IO[bytes], folder: Path, size: int) -> None:
    """Keep so many bytes of a folder's disk for a new file, where the system can.

    Otherwise files that fit one by one could run out of disk together while they are written; of one that is mapped
    nothing but the end of the process would tell.

    Raises:
        OSError: where there is no such room.
    """
    if size > (free := shutil.disk_usage(folder).free):
        raise OSError(errno.ENOSPC, f"{free:,} bytes free")
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write that is there whole or not at all: a reader sees the old content or the new, never a part.

    What a symlink leads to gets the new content, and the link stays. A pipe or a terminal is written to as it is.

    Raises:
        InputError: where the folder cannot be written to or the disk is full, or what is there is no such file.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _passes_on(path):
            with path.open("wb") as file:
                yield file
            return
        place = path.resolve() if path.is_symlink() else path
        temporary = place.with_name(f".{place.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}")
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    except OSError as error:
        raise InputError(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _passes_on(path: Path) -> bool:
    """Say whether what is there hands on what is written: a file in its place would be no pipe, or no /dev/null."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise InputError(f"{path}: cannot write: it is a disk or a socket (allowed: a file, a pipe)")
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)
