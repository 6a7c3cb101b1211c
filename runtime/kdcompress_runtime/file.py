"""An ONNX file as bytes: its hash, its metadata, and whether all of its weights are in it.

Protocol buffers are fields one after the other, each a number, a wire type and a value: all that is needed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdcompress_runtime.errors import FileError
from kdcompress_runtime.metadata import parsed

KEY, HASH_KEY = "kdcompress", "kdcompress.sha256"

_GRAPH, _METADATA = 7, 14
_DIGEST = 64

BELOW: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""Where tensors lie: kinds of messages, with the fields that lead to them."""

EXTERNAL_DATA, DATA_LOCATION = 13, 14
"""The fields of a tensor that say that its content lies in another file."""

_DEEPEST = 64


def read(path: str | Path) -> bytes:
    """Return a file's bytes, if all of its weights are in it.

    Raises:
        FileError: where it is missing, no ONNX file or cut off, or keeps weights elsewhere.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot read: {error.strerror or error}") from error
    except ValueError as error:
        raise FileError(f"{path}: cannot read: {error}") from error
    try:
        if _GRAPH not in {number for number, _ in _fields(memoryview(data))}:
            raise ValueError("there is no graph in it")
        _refuse_external(memoryview(data), "model", path, 0)
    except ValueError as error:
        raise FileError(f"{path}: not an ONNX file, or one that was cut off: {error}") from error
    return data


def metadata(data: bytes, path: str | Path) -> dict[str, Any] | None:
    """Return what kdcompress wrote of the detector into a file; None where another tool wrote it.

    Raises:
        FileError: where the content is not what was written, lacks what is needed, or is of a newer format.
    """
    entries = {}
    for number, value in _fields(memoryview(data)):
        if number == _METADATA and isinstance(value, memoryview):
            parts = {key: bytes(part) for key, part in _fields(value) if isinstance(part, memoryview)}
            entries[parts.get(1, b"")] = parts.get(2, b"")
    if KEY.encode() not in entries and HASH_KEY.encode() not in entries:
        return None
    last = _last(data)
    if last is None or data[-_DIGEST:] != hashlib.sha256(data[:last]).hexdigest().encode():
        raise FileError(f"{path}: altered or damaged: the hash of its content is not the one that it was written with")
    return parsed(entries.get(KEY.encode(), b""), path)


def _last(data: bytes) -> int | None:
    """Return where the entry with the hash begins, which has to be the last thing in a file."""
    key = HASH_KEY.encode()
    entry = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([_DIGEST])
    head = b"\x72" + bytes([len(entry) + _DIGEST]) + entry
    begin = len(data) - len(head) - _DIGEST
    return begin if begin > 0 and data[begin : begin + len(head)] == head else None


def _refuse_external(message: memoryview, kind: str, path: Path, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError("graphs within graphs without end")
    for number, value in _fields(message):
        if kind == "tensor":
            if number == EXTERNAL_DATA or (number == DATA_LOCATION and value == 1):
                raise FileError(f"{path}: refused: it keeps weights in another file; export it as one file")
        elif number in BELOW[kind] and isinstance(value, memoryview):
            _refuse_external(value, BELOW[kind][number], path, depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Return a message's fields: number, and value, as bytes where it has a length.

    Raises:
        ValueError: where the message ends too soon, or is none.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"no field begins like byte {at - 1}")
        if at + size > len(message):
            raise ValueError(f"a field of {size:,} bytes begins at byte {at:,} of {len(message):,}")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("a number has no end")
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
