"""Values of recipes in words: what the settings of a trial are, and what sets the rows of a suite apart."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def short(value: object) -> str:
    """Write a value of a recipe as one reads it, in at most 60 letters; fractions in four digits."""
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        text = " + ".join(value) or "none"
    elif isinstance(value, dict) and value:
        text = " ".join(_said(_word(key), one) for key, one in _settings(value).items())
    elif isinstance(value, float):
        text = f"{value:.4g}"
    else:
        text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True)
class Row:
    """A row of a suite's report: the name of its recipe, its data set, and its place in the grid."""

    recipe: str
    data: str
    place: Mapping[str, Any]


def labels(rows: Sequence[Row], places: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what tells each row from the others, and no more: no two rows of a data set are called the same.

    What is the same in all places is left out, within sections too. Names stand alone, other settings after the last
    part of their key; where that could be another's, after the whole key. The recipe's name is said where the grid runs
    over recipes, or where there is nothing else to say.

    Args:
        rows: what is to be named.
        places: the whole grid, of which rows may be a part: so names stay while a suite goes on.
    """
    axes = _apart(places)
    settings = [_settings(place) for place in places]
    # Rows stand apart by data set in any case.
    keys = [key for key in _apart(settings) if key != "data.name"]
    words = _words(settings, keys)
    told = [axis for axis in axes if any(f"{key}.".startswith(f"{axis}.") for key in keys)]
    said = [_label(row, told, words) for row in rows]
    if len({(row.data, label) for row, label in zip(rows, said, strict=True)}) == len(rows):
        return said
    # Long values are cut, fractions rounded, and recipes of one name may lie in two folders.
    return [", ".join(f"{axis} {json.dumps(row.place.get(axis))}" for axis in axes) or row.recipe for row in rows]


def _label(row: Row, axes: Collection[str], words: Mapping[str, str]) -> str:
    parts = [row.recipe] if "recipe" in axes else []
    for axis in axes:
        own = _settings({axis: row.place.get(axis)})
        # A section that has nothing but what all have is told by that.
        shown = [key for key in own if key in words] or list(own)
        if axis != "recipe":
            parts.append(" ".join(_said(words.get(key, _word(key)), own[key]) for key in shown))
    return ", ".join(parts) or row.recipe


def _words(settings: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, str]:
    """Return what is said before the value of each key: the whole key where less could be another's."""
    taken = {key: {_word(key)} if _word(key) else _held(settings, key) for key in keys}
    alone = {key for key in keys if not any(taken[key] & taken[other] for other in keys if other != key)}
    return {key: _word(key) if key in alone else key for key in keys}


def _held(settings: Sequence[Mapping[str, Any]], key: str) -> set[str]:
    return {json.dumps(one[key]) for one in settings if key in one}


def _apart(places: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys that not all places have with one value, in the places' order."""
    keys = dict.fromkeys(key for place in places for key in place)
    return [key for key in keys if len(_held(places, key)) > 1 or not all(key in place for place in places)]


def _settings(section: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Return what stands in a section and those within, by keys with dots."""
    found: dict[str, Any] = {}
    for key, value in section.items():
        found |= _settings(value, f"{at}{key}.") if isinstance(value, dict) and value else {f"{at}{key}": value}
    return found


def _word(key: str) -> str:
    """Return what is said before a value: nothing before a name."""
    last = key.rpartition(".")[2]
    return "" if last == "name" else last


def _said(word: str, value: object) -> str:
    return f"{word} {short(value)}" if word else short(value)
