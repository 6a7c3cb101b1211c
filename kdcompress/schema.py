"""A JSON Schema (draft 2020-12) of recipes and suites, from the same signatures that recipes are checked with."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from kdcompress import signature
from kdcompress.architectures import ARCHITECTURES
from kdcompress.data import DATASETS
from kdcompress.recipe import SIZES, Recipe, Student
from kdcompress.registry import Registry
from kdcompress.space import SECTIONS, Range
from kdcompress.strategies import STRATEGIES
from kdcompress.suite import Heading

Schema = dict[str, Any]


def schema() -> Schema:
    """Return the schema of a recipe or a suite as it is written, with everything that is registered now."""
    whole = Recipe.model_json_schema()
    parts: Schema = whole.pop("$defs")
    places: dict[str, tuple[Registry[Any], Schema]] = {
        "data": (DATASETS, {}),
        "architecture": (ARCHITECTURES, {}),
        "strategy": (STRATEGIES, {}),
        "student": (ARCHITECTURES, _sizes(parts)),
    }
    found: Schema = {name: part for name, part in parts.items() if name not in {"Ref", "Student"}}
    for place, (registry, besides) in places.items():
        found |= _things(place, registry, besides)
    found["student"]["allOf"] += [{"not": {"required": list(two)}} for two in itertools.combinations(SIZES, 2)]
    teacher: Schema = found["Teacher"]
    teacher["anyOf"] = [{"required": [key]} for key in ("recipe", "bundle", "architecture", "ensemble", "adapter")]
    for place in places:
        # Over a recipe, a teacher's or a suite's, the name may be left out: the options are then of the recipe's thing.
        found[place].pop("required")
    for place, of in (("architecture", "architecture"), ("adapter", "architecture"), ("strategy", "strategy")):
        teacher["properties"][place] = _unless_null({"$ref": f"#/$defs/{of}"})
    for place in ("data", "student"):
        whole["properties"][place] = {"$ref": f"#/$defs/{place}"}
    whole["properties"]["strategy"] = _unless_null({"$ref": "#/$defs/strategy"})
    whole["properties"]["teacher"] = _unless_null({"$ref": "#/$defs/Teacher"})
    whole["properties"]["plugins"]["items"] = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Wanted"}]}
    # A recipe without a name has its file's; in a suite, what is missing can come from the recipe that it names.
    required = [name for name in whole.pop("required") if name != "name"]
    named: Schema = {place: {"required": ["name"]} for place in ("data", "student")}
    named["strategy"] = _unless_null({"required": ["name"]})
    whole |= {"if": {"not": {"required": ["grid"]}}, "then": {"required": required, "properties": named}}
    heading: Schema = Heading.model_json_schema()
    found |= heading.pop("$defs")
    own = {name: part for name, part in heading["properties"].items() if name not in whole["properties"]}
    whole["properties"] |= {**own, "search": _search()}
    whole["dependentRequired"] = {name: ["grid"] for name in own if name != "grid"}
    title = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "kdcompress recipe"}
    return {**title, **_tidy(whole), "$defs": {name: _tidy(part) for name, part in found.items()}}


def _search() -> Schema:
    """Return the schema of what a search varies."""
    section = Range.model_json_schema(by_alias=True)
    values = {"type": "array", "minItems": 2}
    return {
        "type": "object",
        "description": "What `kdcompress search` varies: keys, with values or a range of numbers.",
        "propertyNames": {"pattern": f"^({'|'.join(SECTIONS)})\\."},
        "additionalProperties": {"anyOf": [values, section]},
        "minProperties": 1,
    }


def _unless_null(part: Schema) -> Schema:
    """Return a part that may be null; unlike with ``anyOf``, what is wrong in it is named where it is."""
    return {"if": {"not": {"type": "null"}}, "then": part}


def _sizes(parts: Schema) -> Schema:
    sizes = {name: parts["Student"]["properties"][name] for name in SIZES}
    assert set(sizes) == set(Student.model_fields) - {"name"}, "what a student has beside its options is its size"
    return sizes


def _things(place: str, registry: Registry[Any], besides: Schema) -> Schema:
    """Return the definition of a place where a thing of a kind is named, and one for each thing's options."""
    found: Schema = {}
    for name in registry:
        own, inner = _options(f"{place}.{name}", registry[name])
        own["properties"] = {"name": {"const": name}, **own["properties"], **besides}
        if place == "student":
            # It may come from the teacher.
            own.pop("required", None)
        found |= {f"{place}.{name}": {**own, "description": registry.describe(name)}, **inner}
    names = {"enum": list(registry), "description": f"A registered {registry.kind}."}
    rules = [
        {
            "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
            "then": {"$ref": f"#/$defs/{place}.{name}"},
        }
        for name in registry
    ]
    return {**found, place: {"type": "object", "properties": {"name": names}, "required": ["name"], "allOf": rules}}


def _options(where: str, build: Callable[..., Any]) -> tuple[Schema, Schema]:
    """Return the schema of a builder's options, and of the records in them."""
    own = signature.model_of(build).model_json_schema(ref_template=f"#/$defs/{where}.{{model}}")
    texts = {option.name: option.description for option in signature.options(build)}
    own.setdefault("properties", {})
    for name, part in own["properties"].items():
        if texts.get(name):
            part["description"] = texts[name]
    inner = {f"{where}.{name}": _named(part) for name, part in own.pop("$defs", {}).items()}
    return own, inner


def _named(part: Schema) -> Schema:
    """Return the definition of a thing's place for a record that says that it is one by name."""
    kind = part.get("x-registry")
    return {"$ref": f"#/$defs/{kind}", "required": ["name"]} if kind is not None else part


def _tidy(part: Any) -> Any:  # noqa: ANN401
    """Drop the titles, which only repeat the names."""
    if isinstance(part, list):
        return [_tidy(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {key: _tidy(value) for key, value in part.items() if key != "title" or not isinstance(value, str)}
