"""What commands are pointed at."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdcompress.errors import InputError, RecipeError

if TYPE_CHECKING:
    from kdcompress.bundle import Bundle
    from kdcompress.exporting.inputs import Inputs
    from kdcompress.results import Result


def bundle_file(target: str) -> Path:
    """Return the bundle that is meant: a file, or the student of a run directory.

    Raises:
        InputError: for a folder that is no finished run, or what the system refuses.
    """
    from kdcompress.rundir import RunDir

    path = Path(target)
    return RunDir.existing(path).bundle("student") if _is_folder(path) else path


def no_exported(path: Path) -> Path:
    """Return a bundle's path.

    Raises:
        InputError: where its name is that of an exported file, which other commands take.
    """
    from kdcompress.exporting import ENDINGS

    if path.suffix.lower() in ENDINGS:
        raise InputError(
            f"{path}: an exported file by its name (allowed: the bundle that it was made of, .safetensors)"
        )
    return path


def run_of(target: str) -> Result | None:
    """Return what a run found; None where the target is no run directory."""
    from kdcompress.rundir import RunDir

    path = Path(target)
    return RunDir.existing(path).result() if _is_folder(path) else None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror or error}") from error


def saved(
    target: str, overrides: Sequence[str], allowed: Sequence[str] = ("data",)
) -> tuple[Path, Bundle, dict[str, Any]]:
    """Return the bundle that is meant, what is in it, and the sections of a recipe for its data, with overrides.

    Raises:
        InputError: for what is no bundle and no finished run, and for overrides of other sections.
    """
    from kdcompress import bundle, recipe

    source = no_exported(bundle_file(target))
    loaded = bundle.load(source)
    return source, loaded, recipe.overridden({"data": data_of(source, loaded.manifest.data)}, overrides, allowed)


def data_of(source: Path, known: Mapping[str, object]) -> dict[str, object]:
    """Return what a bundle says of its data, with their place, which only its run's recipe knows."""
    from kdcompress import library
    from kdcompress.recipe import PLACES

    try:
        data = library.read(source.parent / "recipe.yaml").get("data")
    except RecipeError:
        data = None
    if not isinstance(data, dict) or data.get("name") != known.get("name"):
        return dict(known)
    return {**known, **{key: data[key] for key in PLACES if data.get(key) is not None}}


def inputs(source: Path, loaded: Bundle, section: Mapping[str, Any], *, asked: bool) -> Inputs:
    """Return what a bundle's files are compared on, as `inputs_for`; nothing is downloaded for it."""
    from kdcompress.exporting.source import inputs_for

    with offline():
        return inputs_for(loaded, section, str(source), asked=asked)


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Keep data sets from being downloaded where nobody asked for data."""
    before = os.environ.get("KDCOMPRESS_OFFLINE")
    os.environ["KDCOMPRESS_OFFLINE"] = "1"
    try:
        yield
    finally:
        os.environ["KDCOMPRESS_OFFLINE"] = before or ""
