"""A run's detectors as files: how close they are to their bundles, and what they cost side by side."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from kdcompress.bundle import Bundle
from kdcompress.deployment import Agreement, Deployment, File
from kdcompress.environment import describe, machine
from kdcompress.errors import KdcompressError
from kdcompress.exporting.export import ParityError, check, compared
from kdcompress.exporting.inputs import Inputs
from kdcompress.exporting.timing import profile


@dataclass(frozen=True)
class Side:
    """A detector, with what its files are compared on."""

    bundle: Bundle
    given: Inputs


def measured(
    folder: Path,
    student: Side,
    teacher: Side | None = None,
    *,
    timed: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> Deployment:
    """Export a student, in float and in eight bits, and its teacher; compare each with its bundle, and time them.

    Files that do not pass the gate are measured too, and said not to pass: what they cost is the same.

    Args:
        folder: where ``student.onnx``, ``teacher.onnx`` and ``int8.onnx`` are written.
        student: what is to be deployed.
        teacher: what it is compared with.
        timed: whether what files cost is measured; nothing else should compute meanwhile.
        tell: is told what goes on, in words.

    Raises:
        KdcompressError: where the student cannot be exported.
    """
    files: dict[str, File] = {}
    notes: list[str] = []
    paths = {name: folder / f"{name}.onnx" for name in ("student", "teacher", "int8")}
    for name, path in paths.items():
        side = teacher if name == "teacher" else student
        if side is None:
            continue
        if name == "int8" and (side.given.normals is None or not len(side.given.normals)):
            notes.append("int8: calibration needs held-out normals, and the run's data are not on this machine")
            continue
        tell(f"{name}: exported and compared")
        try:
            files[name] = _exported(side, path, "int8" if name == "int8" else "onnx", notes)
        except KdcompressError as error:
            if name == "student":
                raise
            notes.append(str(error))
    for name in files if timed else ():
        tell(f"{name}: timed")
        files[name] = dataclasses.replace(files[name], cost=profile(paths[name]))
    timed_on = _machine() if timed else {}
    return Deployment(files["student"], files.get("teacher"), files.get("int8"), tuple(notes), timed_on)


def _machine() -> dict[str, str | int]:
    return machine(describe(torch.device("cpu"), torch.get_num_threads()))


def _exported(side: Side, path: Path, to: str, notes: list[str]) -> File:
    # Messages name the file without its folder, which may be gone when they are read.
    name = Path(path.name)
    found = compared(side.bundle, name, to, side.given)
    try:
        check(found.parity, name, found.detail)
    except ParityError as error:
        notes.append(str(error))
    path.write_bytes(found.data)
    said = {one.name: getattr(found.parity, one.name) for one in dataclasses.fields(Agreement)}
    agreement = Agreement(**{**said, "largest": said["largest"] if math.isfinite(said["largest"]) else None})
    eight = found.exported.metadata.quantisation
    return File(len(found.data), agreement, in_float=eight.in_float if eight is not None else ())
