"""What is in the files of a run, checked where it is read: damage is named with its file and place (no torch)."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from kdcompress.deployment import SCHEMA, Deployment
from kdcompress.errors import InputError
from kdcompress.results import Result, check_numbers, from_json
from kdcompress.signature import problems

# RuntimeError: a flipped bit says that a member is encrypted; MemoryError: that it is larger than the machine.
_UNREADABLE = (
    *(ValueError, TypeError, EOFError, OSError, KeyError, RuntimeError, MemoryError, OverflowError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error),
)

_Index = Annotated[int, pydantic.Field(ge=0, lt=2**31)]
_Amount = Annotated[float, pydantic.Field(ge=0)]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, allow_inf_nan=False)


class _Row(_Strict):
    """One epoch of one arm, as the engine writes it."""

    arm: str
    stage: str
    epoch: _Index
    epochs: Annotated[_Index, pydantic.Field(ge=1)]
    step: _Index
    learning_rate: dict[str, float]
    losses: dict[str, float]
    images_per_second: _Amount
    seconds: _Amount
    retries: _Index


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


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        InputError: where it is missing, or the system refuses.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        InputError: as `read_bytes`, and where it is not in UTF-8.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: damaged: not a text file in UTF-8") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: where it is none.
    """
    try:
        plain = json.loads(read_text(path))
        # An escaped half of a surrogate pair is JSON, but no report could be written with it.
        json.dumps(plain, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(plain, dict):
        raise InputError(f"{path}: expected a JSON object")
    return plain


def read_environment(path: Path) -> dict[str, Any]:
    """Read what a run computes with.

    Raises:
        InputError: where it is damaged.
    """
    plain = read_json(path)
    _check(_Environment, plain, f"{path.parent}: its {path.name} is damaged; distill --fresh starts over beside it")
    return plain


def read_history(path: Path) -> tuple[dict[str, Any], ...]:
    """Read a training history, one row an epoch; a last line that was cut off is left out.

    Raises:
        InputError: where it is damaged.
    """
    lines = read_bytes(path).splitlines(keepends=True) if path.exists() else []
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


def read_result(path: Path) -> Result:
    """Read a result.

    Raises:
        InputError: where it is damaged or of another version.
    """
    plain = read_json(path)
    with _of_this_version(path, "a result", plain):
        return from_json(plain)


def read_deployment(path: Path) -> Deployment:
    """Read what exported files cost.

    Raises:
        InputError: where it is damaged or of another version.
    """
    plain = read_json(path)
    with _of_this_version(path, "figures of exported files", plain):
        check_numbers(plain)
        found = pydantic.TypeAdapter(Deployment).validate_python(plain)
        if found.schema != SCHEMA:
            raise ValueError(f"schema {found.schema}, known here: {SCHEMA}")
        return found


@contextlib.contextmanager
def _of_this_version(path: Path, what: str, plain: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except pydantic.ValidationError as error:
        said = "; ".join(problems(error, "", plain))
        raise InputError(f"{path}: not {what} of this version: {said}") from error
    except ValueError as error:
        raise InputError(f"{path}: not {what} of this version: {error}") from error


def read_arrays(path: Path, what: str, needed: tuple[str, ...]) -> dict[str, np.ndarray[Any, Any]]:
    """Read the arrays of a run.

    ``input`` and reconstructions are images uint8 [N, C, H, W], ``group`` is text [N], and everything else is one
    number for each sample [N]; what is of the validation set has another N.

    Args:
        path: their file.
        what: what they are, for messages.
        needed: the names that have to be there.

    Raises:
        InputError: with file and name, where one is missing, or of a kind or shape other than its name says.
    """
    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as file:
            # A member that is no array comes as bytes.
            arrays = {name: np.asarray(values) for name, values in file.items()}
    except _UNREADABLE as error:
        raise InputError(f"{path}: damaged, or not {what}: {error}") from error
    if missing := [name for name in needed if name not in arrays]:
        raise InputError(f"{path}: {missing[0]}: missing")
    _check_arrays(path, arrays)
    return arrays


def _check(model: type[_Strict], plain: object, message: str) -> None:
    try:
        model.model_validate(plain)
    except pydantic.ValidationError as error:
        raise InputError(f"{message}: {'; '.join(problems(error, '', plain))}") from error


def _check_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
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
