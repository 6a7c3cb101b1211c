"""Registered things, built: the one place where what a builder returns is looked at (no torch)."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kdcompress import plugins
from kdcompress.errors import InputError
from kdcompress.registry import Registry
from kdcompress.signature import arguments

T = TypeVar("T")


def built(
    registry: Registry[Callable[..., T]], wanted: type[T], name: str, options: Mapping[str, Any], *given: object
) -> T:
    """Return what a registered builder makes.

    Args:
        registry: where the builder is.
        wanted: what builders of this kind return: a class, or ``tuple[CLASS, ...]``.
        name: the builder's.
        options: the recipe's, for its keyword-only parameters.
        *given: the pipeline's, for its positional ones.

    Raises:
        InputError: with the plug-in's file, where the builder returned something else.
        pydantic.ValidationError: where options are unknown, missing or out of range.
    """
    build = registry[name]
    found = build(*given, **arguments(build, options))
    if wrong := _wrong(found, wanted):
        source = plugins.source(registry.kind, name)
        where = f"{source.path}: " if source is not None else ""
        raise InputError(f"{where}{registry.kind} '{name}' returned {wrong}")
    return found


def _wrong(found: object, wanted: Any) -> str:  # noqa: ANN401
    """Say what a value is and what it should be instead; an empty string where it is that."""
    if typing.get_origin(wanted) is not tuple:
        said = "" if isinstance(found, wanted) else f"{_shown(found)}; it should return {_named(wanted)}"
        return said or _wrong_field(found)
    item = typing.get_args(wanted)[0]
    should = f"it should return a tuple of {_named(item)}"
    if not isinstance(found, tuple):
        return f"{_shown(found)}; {should}"
    return next((f"tuple with {_shown(one)} in it; {should}" for one in found if not isinstance(one, item)), "")


def _wrong_field(found: object) -> str:
    """Say which field of a dataclass is of another class than its annotation names."""
    if not dataclasses.is_dataclass(found):
        return ""
    for name, hint in typing.get_type_hints(type(found)).items():
        classes = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
        # What a container holds is not looked at.
        if all(isinstance(one, type) for one in classes) and not isinstance(value := getattr(found, name), classes):
            should = " or ".join(map(_named, classes))
            return f"{type(found).__name__} whose {name} is {_shown(value)}; it should be {should}"
    return ""


def _shown(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _named(wanted: type) -> str:
    if wanted is type(None):
        return "None"
    # What plug-ins are written with is importable from the package itself.
    return f"{'kdcompress.' if wanted.__module__.startswith('kdcompress.') else ''}{wanted.__name__}"
