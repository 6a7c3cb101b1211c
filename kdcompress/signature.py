"""Signatures as schemas: a builder's keyword-only parameters are the options that a recipe may set."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic

from kdcompress.errors import near


@dataclass(frozen=True)
class Option:
    """One option of a builder, as ``show`` prints it."""

    name: str
    annotation: str
    default: str
    description: str


def model_of(build: Callable[..., Any]) -> type[pydantic.BaseModel]:
    """Return the pydantic model of a builder's keyword-only parameters."""
    hints = typing.get_type_hints(build, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints[name], parameter.default if parameter.default is not parameter.empty else ...)
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())
    return pydantic.create_model(f"{build.__name__} options", __config__=config, **fields)


def arguments(build: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments for a builder, defaults included, as the objects that its annotations name.

    Raises:
        pydantic.ValidationError: where options are unknown, missing or out of range.
    """
    model = model_of(build).model_validate(dict(options))
    return {name: getattr(model, name) for name in type(model).model_fields}


def resolved(build: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a builder, defaults included, as JSON values.

    Raises:
        pydantic.ValidationError: as `arguments`.
    """
    return model_of(build).model_validate(dict(options)).model_dump(mode="json")


def problems(error: pydantic.ValidationError, where: str, allowed: Mapping[str, list[str]] | None = None) -> list[str]:
    """Return one line for each problem: the key's path, what is wrong, what is allowed, the nearest guess."""
    return [_problem(one, where, allowed or {}) for one in error.errors(include_url=False)]


def _problem(one: Any, where: str, allowed: Mapping[str, list[str]]) -> str:  # noqa: ANN401
    parts = [str(part) for part in one["loc"] if not str(part).startswith(("tagged-union", "function-"))]
    path = ".".join([where, *parts] if where else parts) or "recipe"
    parent, _, key = path.rpartition(".")
    if one["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        names = allowed.get(parent, [])
        listed = f" (allowed: {', '.join(names)})" if names else ""
        return f"{path}: unknown key '{key}'{near(key, names)}{listed}"
    if one["type"] == "missing":
        return f"{path}: missing"
    given = one.get("input")
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool | type(None)) else ""
    guess = near(given, one["ctx"].get("expected", "").replace("'", "").split(" or ")) if _is_choice(one) else ""
    message = one["msg"][:1].lower() + one["msg"][1:]
    return f"{path}: {message}{shown}{guess}"


def _is_choice(one: Any) -> bool:  # noqa: ANN401
    return one["type"] == "literal_error" and isinstance(one.get("input"), str)


def keys(build: Callable[..., Any], where: str) -> dict[str, list[str]]:
    """Return the allowed keys below each path of a builder's options, nested dataclasses included."""
    hints = typing.get_type_hints(build)
    names = [n for n, p in inspect.signature(build).parameters.items() if p.kind is p.KEYWORD_ONLY]
    found = {where: names}
    for name in names:
        for nested in _dataclasses(hints[name]):
            fields = [field.name for field in dataclasses.fields(nested)]
            found[f"{where}.{name}"] = fields
            found |= {f"{where}.{name}.{index}": fields for index in range(100)}
    return found


def _dataclasses(hint: Any) -> list[type]:  # noqa: ANN401
    if dataclasses.is_dataclass(hint):
        return [hint] if isinstance(hint, type) else []
    return [found for inner in typing.get_args(hint) for found in _dataclasses(inner)]


def options(build: Callable[..., Any]) -> list[Option]:
    """Return a builder's options with what its docstring says of them."""
    hints = typing.get_type_hints(build, include_extras=True)
    texts = _described(inspect.getdoc(build) or "")
    return [
        Option(name, _spelled(hints[name]), _default(parameter.default), texts.get(name, ""))
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]


def _default(default: object) -> str:
    return "required" if default is inspect.Parameter.empty else "unset" if default is None else str(default)


def _spelled(hint: Any) -> str:  # noqa: ANN401
    """Spell a type as a reader of recipes understands it."""
    if typing.get_origin(hint) is typing.Annotated:
        inner, *extras = typing.get_args(hint)
        limits = [str(limit) for extra in extras for limit in getattr(extra, "metadata", [])]
        return _spelled(inner) + (f" ({', '.join(map(_limit, limits))})" if limits else "")
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return " | ".join(_spelled(one) for one in typing.get_args(hint) if one is not type(None))
    if typing.get_origin(hint) is tuple:
        return f"list of {_spelled(typing.get_args(hint)[0])}"
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return "{" + ", ".join(field.name for field in dataclasses.fields(hint)) + "}"
    return getattr(hint, "__name__", str(hint))


def _limit(text: str) -> str:
    for name, sign in (("Ge", ">="), ("Gt", ">"), ("Le", "<="), ("Lt", "<"), ("MinLen", "length >=")):
        if text.startswith(f"{name}("):
            return f"{sign} {text.partition('=')[2].rstrip(')')}"
    return text


def _described(doc: str) -> dict[str, str]:
    """Return the descriptions in a docstring's Args section (Google convention)."""
    _, _, section = doc.partition("Args:\n")
    found: dict[str, str] = {}
    last = ""
    for line in section.splitlines():
        if not line.startswith(" "):
            break
        name, colon, text = line.strip().partition(": ")
        if colon and line.startswith("    ") and not line.startswith("     "):
            last = name
            found[last] = text
        elif last:
            found[last] += " " + line.strip()
    return found
