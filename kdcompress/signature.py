"""Signatures as schemas: a builder's keyword-only parameters are the options that a recipe may set."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

from kdcompress.errors import InputError, near


class Later:
    """Annotates an option that came when there were results already.

    At its default it is left out of the resolved ones, so that runs from before it keep their digests.
    """


class AtMostNormals:
    """Annotates a number that is no larger than that of the training normals, whatever a recipe says."""


@dataclass(frozen=True)
class Option:
    """One option of a builder, as ``show`` prints it."""

    name: str
    annotation: str
    default: str
    description: str


def model_of(build: Callable[..., Any]) -> type[pydantic.BaseModel]:
    """Return the pydantic model of a builder's keyword-only parameters."""
    hints = _hints(build)
    fields: dict[str, Any] = {
        name: (hints[name], parameter.default if parameter.default is not parameter.empty else ...)
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())
    return pydantic.create_model(f"{build.__name__} options", __config__=config, **fields)


def _hints(build: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a builder.

    Raises:
        InputError: where an option has none: what it may be would be unknown.
    """
    hints = typing.get_type_hints(build, include_extras=True)
    for name, parameter in inspect.signature(build).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and name not in hints:
            raise InputError(f"{build.__module__}.{build.__name__}: option '{name}' needs a type, e.g. {name}: int = 1")
    return hints


def required(build: Callable[..., Any]) -> tuple[str, ...]:
    """Return the options that a builder has no default for: it is made of something of the user's."""
    found = inspect.signature(build).parameters.values()
    return tuple(one.name for one in found if one.kind is one.KEYWORD_ONLY and one.default is one.empty)


def coerced(given: object, found: object, where: str) -> list[str]:
    """Name what pydantic took for another kind of value: a truth value for a number, or the other way round.

    YAML spells truth values as yes, no, on and off too: whoever writes ``epochs: yes`` means something else.
    """
    if isinstance(given, Mapping) and isinstance(found, Mapping):
        return [text for key in given if key in found for text in coerced(given[key], found[key], f"{where}.{key}")]
    if isinstance(given, list | tuple) and isinstance(found, list | tuple):
        pairs = enumerate(zip(given, found, strict=False))
        return [text for index, (one, other) in pairs for text in coerced(one, other, f"{where}.{index}")]
    if isinstance(given, bool) and isinstance(found, int | float) and not isinstance(found, bool):
        return [f"{where.lstrip('.')}: input should be a number, not {_shown(given)}"]
    if isinstance(found, bool) and not isinstance(given, bool):
        return [f"{where.lstrip('.')}: input should be true or false, not {_shown(given)}"]
    return []


def arguments(build: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments for a builder, defaults included, as the objects that its annotations name.

    Raises:
        pydantic.ValidationError: where options are unknown, missing or out of range.
    """
    model = model_of(build).model_validate(dict(options))
    return {name: getattr(model, name) for name in type(model).model_fields}


def resolved(build: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a builder, defaults included but for those that came `Later`, as JSON values.

    Raises:
        pydantic.ValidationError: as `arguments`.
    """
    model = model_of(build).model_validate(dict(options))
    later = {
        name
        for name, field in type(model).model_fields.items()
        if any(isinstance(one, Later) for one in field.metadata) and getattr(model, name) == field.default
    }
    return model.model_dump(mode="json", exclude=later)


def capped(build: Callable[..., Any], options: Mapping[str, Any], normals: int) -> dict[str, Any]:
    """Return options with those that are `AtMostNormals` held to the number of training normals."""
    fields = model_of(build).model_fields
    held = {name for name, field in fields.items() if any(isinstance(one, AtMostNormals) for one in field.metadata)}
    return {name: min(value, normals) if name in held else value for name, value in options.items()}


_KEYS = {"missing", "extra_forbidden", "unexpected_keyword_argument"}
"""Problems of which keys there are."""


def problems(
    error: pydantic.ValidationError, where: str, given: object, allowed: Mapping[str, list[str]] | None = None
) -> list[str]:
    """Return one line for each problem: the key's path, what is wrong, what is allowed, the nearest guess.

    Args:
        error: what pydantic found.
        where: the path of the validated value, or an empty string.
        given: the validated value: it tells keys from the names that pydantic gives to the branches of a union.
        allowed: the keys below each path, as `keys` returns them.
    """
    above = where.split(".") if where else []
    placed = [((*above, *_parts(one, given)), one) for one in error.errors(include_url=False)]
    found: dict[tuple[str, ...], list[str]] = {}
    for path, one in placed:
        deeper = any(len(other) > len(path) and other[: len(path)] == path for other, _ in placed)
        in_union = len(path) - len(above) < len(one["loc"])
        # A list whose items are wrong is also too short; a mapping with a wrong value is also no number.
        if deeper and (one["type"] == "too_short" or in_union):
            continue
        text = _text(one, path, allowed or {})
        if one["type"] in _KEYS and (names := (allowed or {}).get(_place(path[:-1]))):
            beside = [(other[-1], each) for other, each in placed if other[:-1] == path[:-1]]
            # Of several forms none fits: a key that one of them lacks, or does not know, is no mistake by itself.
            if len({each["loc"][:-1] for _, each in beside}) > 1 and (path[-1] in names or one["type"] == "missing"):
                if any(key not in names or each["type"] not in _KEYS for key, each in beside):
                    continue
                path, text = path[:-1], f"give one of {', '.join(names)}"
        texts = found.setdefault(path, [])
        if text not in texts:
            texts.append(text)
    return [f"{'.'.join(path) or 'recipe'}: {_joined(texts)}" for path, texts in found.items()]


def _parts(one: Any, given: object) -> list[str]:  # noqa: ANN401
    """Return the keys and indices of a problem's place, without the branches of unions."""
    parts = []
    for position, part in enumerate(one["loc"]):
        missing = one["type"] == "missing" and position == len(one["loc"]) - 1
        inside = isinstance(given, Sequence) and isinstance(part, int) and 0 <= part < len(given)
        if inside or (isinstance(given, Mapping) and part in given):
            given = given[part]  # type: ignore[index]
        elif not missing:
            continue
        parts.append(str(part))
    return parts


def _text(one: Any, path: tuple[str, ...], allowed: Mapping[str, list[str]]) -> str:  # noqa: ANN401
    """Say what is wrong in words for a reader of recipes, who knows of no classes."""
    kind, given = one["type"], one.get("input")
    if kind in _KEYS - {"missing"}:
        key, names = path[-1], allowed.get(_place(path[:-1]), [])
        return f"unknown key '{key}'{near(key, names)}" + (f" (allowed: {', '.join(names)})" if names else "")
    if kind == "missing":
        return "missing"
    if kind in {"value_error", "assertion_error"}:
        return str(one["msg"]).partition(", ")[2]
    if kind == "too_short":
        return f"input should have at least {one['ctx']['min_length']} in its list, not {one['ctx']['actual_length']}"
    if kind in {"model_type", "dataclass_type", "dict_type", "model_attributes_type"}:
        names = allowed.get(_place(path), [])
        message = f"input should be a mapping of keys{_such_as(names, given)}"
    elif kind in {"tuple_type", "list_type"}:
        message = "input should be a list"
    elif kind == "int_parsing_size":
        message = "input should be a smaller integer"
    else:
        # What follows the comma says why Python could not convert it.
        text = str(one["msg"])
        message = text.partition(", ")[0] if kind.startswith(("int_", "float_", "bool_")) else text
        message = message[:1].lower() + message[1:]
    guess = near(given, re.findall("'([^']*)'", message)) if kind == "literal_error" and isinstance(given, str) else ""
    return f"{message}, not {_shown(given)}{guess}"


def _such_as(names: list[str], given: object) -> str:
    return f" such as {{{names[0]}: {given}}}" if names and isinstance(given, str) and len(given) < 40 else ""


def _shown(given: object) -> str:
    """Spell a value as YAML does, shortened."""
    if isinstance(given, Mapping):
        return "a mapping"
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        return "a list"
    if given is None or isinstance(given, bool):
        return {None: "null", True: "true", False: "false"}[given]
    if isinstance(given, int) and abs(given) >= 10**30:
        return "so large a number"
    text = repr(given) if isinstance(given, str) else str(given)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _joined(texts: list[str]) -> str:
    """Join what the branches of a union want of one value."""
    if len(texts) == 1:
        return texts[0]
    alike = all(text.startswith("input should be ") and ", not " in text for text in texts)
    if not alike:
        return "; or ".join(texts)
    wanted = [text.removeprefix("input should be ").rpartition(", not ")[0] for text in texts]
    return f"input should be {' or '.join(wanted)}, not {texts[-1].rpartition(', not ')[2]}"


def keys(build: Callable[..., Any], where: str) -> dict[str, list[str]]:
    """Return the allowed keys below each path of a builder's options, nested dataclasses included.

    In the paths, ``*`` stands for any index of a list.
    """
    hints = typing.get_type_hints(build)
    names = [n for n, p in inspect.signature(build).parameters.items() if p.kind is p.KEYWORD_ONLY]
    found = {where: names}
    for name in names:
        found |= _nested(hints[name], f"{where}.{name}")
    return found


def _nested(hint: Any, path: str) -> dict[str, list[str]]:  # noqa: ANN401
    found: dict[str, list[str]] = {}
    for one in _dataclasses(hint):
        hints = typing.get_type_hints(one)
        names = [field.name for field in dataclasses.fields(one)]
        for place in (path, f"{path}.*"):
            found[place] = [*found.get(place, []), *names]
            for name in names:
                found |= _nested(hints[name], f"{place}.{name}")
    return found


def _place(path: tuple[str, ...]) -> str:
    return ".".join("*" if part.isdecimal() else part for part in path)


def _dataclasses(hint: Any) -> list[type]:  # noqa: ANN401
    if dataclasses.is_dataclass(hint):
        return [hint] if isinstance(hint, type) else []
    return [found for inner in typing.get_args(hint) for found in _dataclasses(inner)]


def options(build: Callable[..., Any]) -> list[Option]:
    """Return a builder's options with what its docstring says of them."""
    hints = _hints(build)
    texts = _described(inspect.getdoc(build) or "")
    return [
        Option(name, _spelled(hints[name]), _default(parameter.default), texts.get(name, ""))
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]


def _default(default: object) -> str:
    if default is inspect.Parameter.empty:
        return "required"
    return "unset" if default is None else _value(default)


def _value(value: object) -> str:
    """Spell a default as it would stand in a recipe."""
    if dataclasses.is_dataclass(value):
        return "{" + ", ".join(f"{f.name}: {_value(getattr(value, f.name))}" for f in dataclasses.fields(value)) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


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
    if isinstance(hint, type) and issubclass(hint, pydantic.BaseModel):
        more = ["..."] if hint.model_config.get("extra") == "allow" else []
        return "{" + ", ".join([*hint.model_fields, *more]) + "}"
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
