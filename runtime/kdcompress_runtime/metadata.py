"""What kdcompress wrote of a detector, checked once: all that is read of it later is there, and of its type."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kdcompress_runtime.errors import FileError

FORMAT = 1

_ABSENT = object()


def parsed(text: bytes, path: str | Path) -> dict[str, Any]:
    """Return metadata as they were written.

    Raises:
        FileError: where they are damaged, or of a newer format.
    """
    damaged = f"{path}: its metadata are damaged"
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{damaged}: {error}") from error
    known = _at(plain, "format")
    if type(known) is int and known > FORMAT:
        raise FileError(f"{path}: written by a newer kdcompress (format {known}, known here: {FORMAT})")
    for key, fits, allowed in _RULES:
        value = _at(plain, key)
        if value is _ABSENT and key in _OPTIONAL:
            continue
        if value is _ABSENT or not fits(value):
            found = "it is missing" if value is _ABSENT else f"found {value!r:.80}"
            raise FileError(f"{damaged}: {key}: expected {allowed}, {found}")
    test, size = plain["self_test"], _bytes_of_one(plain["input"])
    try:
        held = len(base64.b64decode(test["inputs"], validate=True))
    except ValueError as error:
        raise FileError(f"{damaged}: self_test.inputs: expected base64: {error}") from error
    if held != size * len(test["scores"]):
        raise FileError(
            f"{damaged}: self_test.inputs: expected {size} bytes for each of {len(test['scores'])} scores, found {held}"
        )
    return dict(plain)


def finite(value: object) -> bool:
    """Say whether a value is a number, and not without end."""
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            return False
        return math.isfinite(value)
    except OverflowError:
        return False  # a whole number that no float is large enough for


def _at(plain: object, key: str) -> object:
    value = plain
    for name in key.split("."):
        value = value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value


def _bytes_of_one(given: dict[str, Any]) -> int:
    size: int = math.prod(given["shape"]) * np.dtype(given["dtype"]).itemsize
    return size


def _sides(value: object) -> bool:
    return isinstance(value, list) and all(type(one) is int and one > 0 for one in value)


_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("format", lambda value: type(value) is int and value >= 1, "a whole number, at least 1"),
    ("threshold", lambda value: value is None or finite(value), "a finite number or null"),
    ("input.shape", _sides, "a list of whole numbers above 0"),
    ("input.dtype", lambda value: value in ("uint8", "float32"), "'uint8' or 'float32'"),
    (
        "self_test.scores",
        lambda value: isinstance(value, list) and bool(value) and all(map(finite, value)),
        "a list of finite numbers, at least one",
    ),
    ("self_test.tolerance", lambda value: finite(value) and value >= 0, "a finite number, at least 0"),
    ("self_test.inputs", lambda value: isinstance(value, str), "text in base64"),
    (
        "normals",
        lambda value: value is None or (isinstance(value, list) and bool(value) and all(map(finite, value))),
        "a list of finite numbers, or null",
    ),
)
"""What is read here, by its place, with what it has to be."""

_OPTIONAL = {"normals"}
