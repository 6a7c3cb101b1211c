"""Room on a disk (no torch)."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import IO


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
