"""Where the figures of a run come from: set-up, protocol, time and environment, as tables of text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdcompress.reporting import numbers
from kdcompress.reporting.numbers import DASH
from kdcompress.results import Named, Result


@dataclass(frozen=True)
class Table:
    """A titled table; the first cell of a row names it, the others are figures but in the columns of ``words``."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    words: tuple[int, ...] = ()


def set_up(result: Result) -> Table:
    """Say what was trained on what."""
    data = result.data
    normal = DASH if data.normal_class is None else str(data.normal_class)
    shape = " × ".join(map(str, data.input_shape)) or DASH
    test = f"{numbers.whole(data.test_normal)} normal, {numbers.whole(data.test_anomaly)} anomalous"
    rows = (
        ("Data", data.name),
        ("Normal class", normal),
        ("Input", shape),
        ("Training, validation", f"{numbers.whole(data.train)}, {numbers.whole(data.validation)} (normals only)"),
        ("Test", test),
        *_named("Teacher", result.teacher_architecture),
        *_named("Student", result.student_architecture),
        *_named("Strategy", result.strategy),
        ("Seed", str(result.seed)),
        ("Recipe", result.recipe),
        ("Digest", result.digest),
        ("kdcompress", result.version or DASH),
    )
    return Table("Set-up", ("", "value"), rows)


def _named(what: str, thing: Named | None) -> list[tuple[str, str]]:
    """Write a thing and its plain options in one row; options of options, such as steps or weights, have their own."""
    if thing is None:
        return [(what, DASH)]
    nested = {key: rows for key, value in thing.options.items() if (rows := _nested(key, value))}
    plain = _options({key: value for key, value in thing.options.items() if key not in nested})
    first = (what, f"{thing.name} ({plain})" if plain else thing.name)
    return [first, *((f"{what}, {name}", text) for rows in nested.values() for name, text in rows)]


def _nested(key: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        return [(_words(key), _options(value))]
    if isinstance(value, list | tuple) and all(isinstance(one, Mapping) for one in value):
        return [(f"{_words(key).removesuffix('s')} {number}", _options(one)) for number, one in enumerate(value, 1)]
    return []


def _options(options: Mapping[str, object], unset: str = "auto") -> str:
    """Write options, those of an option in brackets; one that is unset is chosen by what it belongs to."""
    return ", ".join(f"{_words(key)} {_option(value, unset)}" for key, value in options.items())


def _option(value: object, unset: str) -> str:
    if isinstance(value, Mapping) and value:
        return f"({_options(value, unset)})"
    return unset if value is None else _value(value)


def _words(key: str) -> str:
    return key.replace("_", " ")


def _value(value: object) -> str:
    if value is None or value == "":
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return numbers.decimal(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or DASH
    if isinstance(value, Mapping):
        return _options(value, DASH) or DASH
    return str(value)


def protocol(result: Result) -> Table:
    """Say how the figures came about."""
    rules = result.protocol
    rows = (
        ("Weights that are scored", f"{rules.selection} epoch" if rules.selection == "last" else rules.selection),
        ("Labels used in training", _value(rules.labels_used_in_training)),
        ("Scored in eval mode", _value(rules.eval_mode)),
        ("Intervals cover", rules.interval),
        ("Control", "the same network, without a teacher, on the same budget" if result.control else "none"),
    )
    return Table("Protocol", ("", "value"), rows)


def seconds(result: Result) -> Table:
    """Say how long the parts took."""
    spent = result.seconds
    rows = (
        ("Teacher", numbers.seconds(spent.teacher)),
        *((name, numbers.seconds(value)) for name, value in spent.stages.items()),
        ("In all", numbers.seconds(spent.total)),
    )
    return Table("Time", ("", "wall clock"), rows)


def environment(values: Mapping[str, Any]) -> Table:
    """Say on what machine and with which versions; entries of an entry get dotted names."""
    rows = [(key, value) for key, value in values.items() if not isinstance(value, Mapping)]
    nested = [(key, value) for key, value in values.items() if isinstance(value, Mapping)]
    rows += [(f"{key}.{name}", value) for key, entries in nested for name, value in entries.items()]
    return Table("Environment", ("", "value"), tuple((name, _value(value)) for name, value in rows))
