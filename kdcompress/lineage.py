"""A recipe's teachers as they are written: what they have from recipes of their own is filled in (no torch)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from kdcompress.errors import InputError
from kdcompress.library import exists, find, read

Plain: TypeAlias = dict[str, Any]
Check: TypeAlias = Callable[[Plain, str], object]
"""Is given a recipe as plain data and its file, and raises `InputError` with what is wrong."""


def filled(plain: Mapping[str, Any], where: str, check: Check) -> Plain:
    """Return a recipe with what its teachers have from recipes of their own, and the plug-ins which those want.

    Args:
        plain: the recipe.
        where: its file; paths in it are from there.
        check: for the recipes that are named, whose problems are said with their own files.

    Raises:
        InputError: with the key of the teacher that is wrong.
    """
    if not plain.get("teacher"):
        return dict(plain)
    wanted: list[Plain] = []
    teacher = _teacher(plain["teacher"], Path(where).parent, "teacher", (check, wanted, ()))
    found = {**plain, "teacher": teacher}
    if wanted:
        found["plugins"] = [*_listed(plain.get("plugins")), *wanted]
    return found


_Known: TypeAlias = tuple[Check, list[Plain], tuple[Path, ...]]
"""How recipes are checked, the plug-ins that they want, and the recipes that this teacher stands in."""


def _teacher(given: Any, folder: Path, key: str, known: _Known) -> Any:  # noqa: ANN401
    """Return a teacher with all of its parts; what is no mapping is left to whoever checks it."""
    if not isinstance(given, dict):
        return given
    if isinstance(given.get("bundle"), str):
        near_by = folder / given["bundle"]
        return {**given, "bundle": str(near_by)} if exists(near_by.is_file) else given
    if isinstance(given.get("ensemble"), list | tuple):
        members = [_teacher(one, folder, f"{key}.ensemble.{n}", known) for n, one in enumerate(given["ensemble"])]
        return {**given, "ensemble": members}
    if given.get("teacher") is not None:
        given = {**given, "teacher": _teacher(given["teacher"], folder, f"{key}.teacher", known)}
    return _from_recipe(given, folder, key, known) if isinstance(given.get("recipe"), str) else given


def _from_recipe(given: Plain, folder: Path, key: str, known: _Known) -> Plain:
    """Return a teacher with architecture, strategy and teacher of the recipe that it names.

    One in which architecture and strategy stand in full needs no recipe any more: what a run has resolved can be run
    anywhere.
    """
    check, wanted, below = known
    name, parts = given["recipe"], ("architecture", "strategy")
    beside = folder / name
    try:
        path = find(str(beside) if exists(beside.is_file) else name)
    except InputError as error:
        if all(isinstance(given.get(part), dict) and "name" in given[part] for part in parts):
            return given
        raise InputError(f"{key}.recipe: {error}") from error
    if path in below:
        raise InputError(f"{key}.recipe: {name} would be its own teacher")
    try:
        own = read(path)
        # Its teacher is checked as part of this one's.
        check({"name": path.stem, **own, "teacher": None}, str(path))
    except InputError as error:
        raise InputError(f"{key}.recipe: {error}") from error
    above = own.get("teacher")
    if isinstance(above, dict) and above.get("bundle") is not None:
        raise InputError(
            f"{key}.recipe: {name} has a bundle as its teacher: give its own student.safetensors as the bundle"
        )
    strategy = {"name": "scratch" if above is None else "progressive"}
    default = {"architecture": own["student"], "strategy": own.get("strategy") or strategy}
    found = {**given, **{part: merged(default[part], given.get(part)) for part in parts}}
    if above is not None:
        inner = _teacher(above, path.parent, f"{key}.teacher", (check, wanted, (*below, path)))
        found["teacher"] = merged(inner, given.get("teacher"))
    wanted += [_placed(path, one) for one in own.get("plugins") or ()]
    return found


def _listed(given: object) -> list[Any]:
    return [*given] if isinstance(given, list | tuple) else [] if given is None else [given]


def _placed(path: Path, wanted: str | Plain) -> Plain:
    """Return a plug-in of another recipe as it is named from everywhere."""
    plain = {"file": wanted} if isinstance(wanted, str) else wanted
    return {**plain, "file": str((path.parent / plain["file"]).absolute())}


def merged(default: Any, given: Any) -> Any:  # noqa: ANN401
    """Return the given options over the default ones, unless they name another thing."""
    if not isinstance(given, dict) or not isinstance(default, dict):
        return default if given is None else given
    same = given.get("name", default.get("name")) == default.get("name")
    return {**given, **{key: value for key, value in default.items() if key not in given}} if same else given
