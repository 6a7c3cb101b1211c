"""Files whose content is known beforehand by its md5."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path

from kdcompress.errors import DataError


def read_verified(folder: Path, expected: Mapping[str, str]) -> dict[str, bytes]:
    """Return the content of those files, name -> md5, that are there, plain or else gzipped (``name.gz``).

    Raises:
        DataError: A file cannot be read or holds anything else. It is left as it is.
    """
    found = {}
    for name, md5 in expected.items():
        for path in (folder / name, folder / f"{name}.gz"):
            content = _read(path)
            if content is not None:
                found[name] = _verified(path, content, md5)
                break
    return found


def _read(path: Path) -> bytes | None:
    """Return what a file holds, unpacked; None where there is no such file."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    try:
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, str(error)) from None


def _verified(path: Path, content: bytes, md5: str) -> bytes:
    # FIPS systems offer md5 only to those who say that it guards against damage, not against an attacker.
    actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if actual != md5:
        raise _damaged(path, f"its {len(content)} bytes have the md5 {actual}, the published file's have {md5}")
    return content


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path} is damaged or not the published file: {why}; delete it, or put the right one there")
