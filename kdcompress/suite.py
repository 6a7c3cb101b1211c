"""Suites: a recipe with a grid, to the recipes of its cells (no torch)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdcompress import document, library, lineage, plugins, signature
from kdcompress import recipe as recipes
from kdcompress.errors import InputError, RecipeError, unknown
from kdcompress.recipe import NAME, Name, Recipe

LARGEST = 10_000
"""The most cells that a suite may have: a slip in a grid should not fill a disk."""

Value = bool | int | float | str | list[Any] | dict[str, Any] | None
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Published(_Part):
    """Figures from elsewhere on one data set, to stand beside those of the suite; AUROC and gain are fractions."""

    source: str
    student_auroc: Fraction
    macs_ratio: Annotated[float, Field(gt=0)] | None = None
    kd_gain: Annotated[float, Field(ge=-1, le=1)] | None = None


class Heading(_Part):
    """What a suite says beside the sections of its cells' recipes.

    ``together``: up to so many cells that differ in class and seed only train their students as one.
    """

    name: Name
    description: str = ""
    recipe: str | None = None
    together: Annotated[int, Field(ge=2, le=100)] | None = None
    grid: Annotated[dict[str, Annotated[list[Value], Field(min_length=1)]], Field(min_length=1)]
    tuned_on: dict[str, list[int | str]] = Field(default_factory=dict)
    published: dict[str, Published] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _cells_differ(self) -> Heading:
        if self.recipe is not None and "recipe" in self.grid:
            raise ValueError("recipe: the grid runs over recipes; give it in one of the two places")
        count = 1
        for key, values in self.grid.items():
            count *= len(values)
            if key in {"name", "description", "grid"}:
                raise ValueError(f"grid.{key}: cells cannot differ in it")
            doubles = [value for place, value in enumerate(values) if value in values[:place]]
            if doubles:
                raise ValueError(f"grid.{key}: {doubles[0]!r:.80} stands there twice")
        if count > LARGEST:
            raise ValueError(f"grid: {count:,} cells (allowed: up to {LARGEST:,})")
        return self


@dataclass(frozen=True)
class Cell:
    """One run of a suite: ``values`` are its place in the grid, ``where`` is the file that its recipe comes from."""

    name: str
    values: Mapping[str, Any]
    recipe: Recipe
    where: str


@dataclass(frozen=True)
class Suite:
    """All cells of a suite, in the order of its grid, the last axis fastest."""

    heading: Heading
    cells: tuple[Cell, ...]
    where: str

    @property
    def name(self) -> str:
        """The suite's name, which is its folder's."""
        return self.heading.name


def is_suite(plain: Mapping[str, Any]) -> bool:
    """Say whether plain data are a suite's."""
    return "grid" in plain


def load(name: str, overrides: Sequence[str] = (), given: Sequence[plugins.Plugin] = ()) -> Suite:
    """Read a suite by path, with ``KEY=VALUE`` overrides, and check the structure of all of its cells' recipes.

    Overrides apply to the suite: ``seed=3`` for every cell, ``grid.seed=[3]`` for the grid.

    Raises:
        InputError: with every problem found; each is named once, however many cells have it.
    """
    path = library.find(name)
    plain: Any = {"name": path.stem, **library.read(path)}
    for override in overrides:
        key = override.partition("=")[0]
        if isinstance(plain.get("grid"), dict) and key in plain["grid"]:
            raise RecipeError(f"--set {override}", [f"the grid runs over {key}: set grid.{key} to a list of values"])
        plain = document.overridden(plain, override)
    return parse(plain, str(path), given)


def parse(plain: Mapping[str, Any], where: str = "suite", given: Sequence[plugins.Plugin] = ()) -> Suite:
    """Turn plain data into a suite.

    A cell's recipe is the one that ``recipe`` names, then the suite's own sections over it, then the values of the
    grid.

    Raises:
        InputError: with every problem found.
    """
    if "search" in plain:
        raise RecipeError(where, ["search: this is a search over settings; use `kdcompress search` for it"])
    if not is_suite(plain):
        raise RecipeError(where, ["grid: missing: this is one run; use `kdcompress distill` for it"])
    keys = list(Heading.model_fields)
    allowed = list(dict.fromkeys((*keys, *Recipe.model_fields)))
    if strange := [f"{key}: {unknown('key', str(key), allowed)}" for key in plain if key not in allowed]:
        raise RecipeError(where, strange)
    heading_plain = {key: value for key, value in plain.items() if key in keys}
    try:
        heading = Heading.model_validate(heading_plain)
    except ValidationError as error:
        raise RecipeError(where, signature.problems(error, "", heading_plain, {"": keys})) from error
    sections = {key: value for key, value in plain.items() if key not in keys}
    cells: list[Cell] = []
    problems: dict[str, None] = {}
    bases: dict[str, tuple[str, dict[str, Any]]] = {}
    axes = list(heading.grid)
    for place in itertools.product(*(range(len(values)) for values in heading.grid.values())):
        values = {key: heading.grid[key][index] for key, index in zip(axes, place, strict=True)}
        try:
            cells.append(_cell(heading, sections, values, place, where, bases, given))
        except InputError as error:
            problems |= dict.fromkeys(str(error).splitlines())
    if problems:
        raise InputError("\n".join(problems))
    names = [cell.name for cell in cells]
    if doubles := sorted({name for name in names if names.count(name) > 1}):
        raise RecipeError(where, [f"grid: two cells would be named {doubles[0]}: give their recipes other names"])
    return Suite(heading, tuple(cells), where)


def on_base(error: InputError, base: str, where: str) -> InputError:
    """Return the problems of a suite's sections over its recipe with the suite's file, where most of them are."""
    return InputError("\n".join(line.replace(base, f"{where} over {base}", 1) for line in str(error).splitlines()))


def _cell(
    heading: Heading,
    sections: Mapping[str, Any],
    values: Mapping[str, Any],
    place: tuple[int, ...],
    where: str,
    bases: dict[str, tuple[str, dict[str, Any]]],
    given: Sequence[plugins.Plugin],
) -> Cell:
    base = values.get("recipe", heading.recipe)
    own_where, plain = where, {"name": heading.name}
    if base is not None:
        if not isinstance(base, str):
            raise RecipeError(where, [f"grid.recipe: expected names of recipes, not {base!r:.80}"])
        if base not in bases:
            bases[base] = _base(base, where)
        own_where, plain = bases[base]
    whole: Any = dict(plain)
    for key, section in sections.items():
        whole[key] = lineage.merged(whole.get(key), section)
    for key, value in values.items():
        if key != "recipe":
            whole = document.replaced(whole, key, value, f"grid.{key}")
    try:
        recipe = recipes.wanting(recipes.parse(whole, own_where), given)
    except InputError as error:
        raise on_base(error, own_where, where) if base is not None else error from None
    return Cell(_name(heading, values, place, recipe), values, recipe, own_where)


def _base(name: str, where: str) -> tuple[str, dict[str, Any]]:
    """Return the file and the content of a recipe, by its path from the suite's folder or by its name."""
    beside = Path(where).parent / name
    path = library.find(str(beside) if library.exists(beside.is_file) else name)
    plain = library.read(path)
    if is_suite(plain):
        raise InputError(f"recipe: {name} is a suite itself")
    return str(path), {"name": path.stem, **plain}


def _name(heading: Heading, values: Mapping[str, Any], place: tuple[int, ...], recipe: Recipe) -> str:
    """Return a name that is a file's: the recipe's, then each axis with its value, or with the place of a long one."""
    parts = [recipe.name]
    for (key, value), index in zip(values.items(), place, strict=True):
        if key == "recipe":
            continue
        text = str(value) if isinstance(value, str | int | float | bool) else f"{index + 1}"
        text = re.sub(r"[^A-Za-z0-9.+-]+", "-", text)
        short = text if len(text) <= 24 and _distinct(heading.grid[key]) else f"{index + 1}"
        parts.append(f"{key.rpartition('.')[2]}-{short}")
    name = "_".join(parts)
    return name if NAME.fullmatch(name) else "_".join([recipe.name[:40], *(str(index + 1) for index in place)])


def _distinct(values: Sequence[Any]) -> bool:
    """Say whether the values of an axis still differ when they are written as parts of a file's name."""
    return len({re.sub(r"[^A-Za-z0-9.+-]+", "-", str(value)).casefold() for value in values}) == len(values)
