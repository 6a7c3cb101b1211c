"""YAML text to plain data, and overrides of single values in it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from kdcompress.errors import RecipeError


def parse(text: str, where: str) -> Any:  # noqa: ANN401
    """Return what YAML text says.

    Raises:
        RecipeError: where it does not parse, with line and column.
    """
    try:
        return yaml.load(text, _UniqueKeys)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        said = error.problem or error.context or "not YAML"
        # "expected one document, but found another" comes in two halves.
        said = f"{error.context}, {said}" if said.startswith("but ") and error.context else said
        raise RecipeError(where, [f"{place}{said}"]) from error
    except yaml.reader.ReaderError as error:
        line, character = text.count("\n", 0, error.position) + 1, chr(error.character)
        raise RecipeError(where, [f"line {line}: YAML does not allow the character {character!r}"]) from error
    except RecursionError:
        raise RecipeError(where, ["too deeply nested"]) from None


def overridden(plain: Any, override: str) -> Any:  # noqa: ANN401
    """Return a copy with ``KEY=VALUE`` applied; what the plain data share through YAML's anchors stays as it was.

    Raises:
        RecipeError: where the override is not ``KEY=VALUE``, or its key leads nowhere.
    """
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise RecipeError(f"--set {override}", ["expected KEY=VALUE, e.g. data.normal_class=8"])
    return replaced(plain, key, parse(text, f"--set {override}"), f"--set {override}")


def replaced(plain: Any, key: str, value: Any, where: str) -> Any:  # noqa: ANN401
    """Return a copy with a value in the place that a dotted key names.

    Raises:
        RecipeError: where the key leads nowhere.
    """
    path = key.split(".")
    if not all(path):
        raise RecipeError(where, ["expected keys joined by dots, e.g. data.normal_class"])
    try:
        return _replaced(plain, path, value)
    except LookupError as error:
        raise RecipeError(where, [str(error.args[0])]) from None


def _replaced(place: Any, path: list[str], value: Any) -> Any:  # noqa: ANN401
    if not path:
        return value
    key, *rest = path
    if place is None:
        place = {}
    if isinstance(place, list):
        if not key.isdecimal() or len(key) > 9 or int(key) >= len(place):
            raise LookupError(f"'{key}' is no place in a list of {len(place)} (the first is 0)")
        index = int(key)
        return [*place[:index], _replaced(place[index], rest, value), *place[index + 1 :]]
    if not isinstance(place, dict):
        raise LookupError(f"'{key}' cannot be set: what is above it is a single value and has no keys")
    return {**place, key: _replaced(place.get(key), rest, value)}


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys, and says where a value cannot be read."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key '{key}'", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, AttributeError) as error:
            said = f"cannot read it: {str(error).partition(';')[0]}"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark) from error
