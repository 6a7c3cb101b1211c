"""What a search may change in a recipe: keys with the values that they may have (no torch)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from kdcompress import document, library, plugins, signature
from kdcompress import recipe as recipes
from kdcompress.errors import InputError, RecipeError, near
from kdcompress.recipe import SIZES, Recipe
from kdcompress.suite import Value

_DIGITS = 3
"""Digits that a sampled number keeps: what is between two of them makes no difference that a run could tell."""
SECTIONS = ("student", "strategy")
"""Sections of a recipe that a search may change; data, seed and teacher are what trials are compared by."""

Number = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)]


class Range(BaseModel):
    """Numbers from ``from`` to ``to``, both among them; whole ones where both are."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    first: Number = Field(alias="from")
    last: Number = Field(alias="to")
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.first < self.last:
            raise ValueError(f"from {self.first} to {self.last} is no range (allowed: from below to)")
        if self.scale == "log" and self.first <= 0:
            raise ValueError(f"scale: log begins above 0, not at {self.first}")
        return self

    @property
    def whole(self) -> bool:
        """Say whether its numbers are whole."""
        return isinstance(self.first, int) and isinstance(self.last, int)

    def rounded(self, value: float) -> int | float:
        """Return a number of the range in few digits, as a recipe has it."""
        if self.whole:
            return round(value)
        digits = _DIGITS - 1 - math.floor(math.log10(abs(value))) if value else 0
        return min(max(round(float(value), digits), self.first), self.last)


Axis = Range | tuple[Value, ...]
"""Numbers of a range, or some values of any kind."""
_VALUES: TypeAdapter[tuple[Value, ...]] = TypeAdapter(Annotated[tuple[Value, ...], Field(min_length=2)])


@dataclass(frozen=True)
class Budget:
    """What a student may cost at most: multiply-accumulates, parameters, milliseconds at batch 1; None: any."""

    macs: int | None = None
    params: int | None = None
    latency_ms: float | None = None

    @property
    def said(self) -> dict[str, float]:
        """The limits that there are."""
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Space:
    """A recipe, and what a search may change in it.

    Attributes:
        name: of the search, which is its folder's.
        plain: the recipe as it was written, without its ``search``.
        axes: by key.
        own: the first trial's values, where it has some of its own.
        where: the recipe's file, for messages.
        given: plug-ins given beside it.
    """

    name: str
    plain: Mapping[str, Any]
    axes: Mapping[str, Axis]
    own: Mapping[str, Value]
    where: str
    given: tuple[plugins.Plugin, ...] = ()

    def recipe(self, values: Mapping[str, Value]) -> Recipe:
        """Return the recipe with these values in it.

        Raises:
            RecipeError: with every problem found.
        """
        whole: Any = dict(self.plain)
        for key, value in values.items():
            section, _, option = key.partition(".")
            if section == "student" and option in SIZES:
                kept = {name: one for name, one in (whole.get("student") or {}).items() if name not in SIZES}
                whole = {**whole, "student": kept}
            whole = document.replaced(whole, key, value, f"{self.where}: search.{key}")
        return recipes.wanting(recipes.parse(whole, self.where), self.given)

    def check(self, look: Callable[[Recipe], object]) -> None:
        """Look at a recipe for each value of each key by itself; of a range at its ends.

        Raises:
            InputError: with every problem that ``look`` raises, each named once.
        """
        found: dict[str, None] = {}
        for key, axis in self.axes.items():
            for value in (axis.first, axis.last) if isinstance(axis, Range) else axis:
                try:
                    look(self.recipe({**self.own, key: value}))
                except InputError as error:
                    found |= dict.fromkeys(str(error).splitlines())
        if found:
            raise InputError("\n".join(found))

    @property
    def sized(self) -> bool:
        """Say whether the student's size is among what is searched."""
        return any(f"student.{size}" in self.axes for size in SIZES)

    def fingerprint(self, budget: Budget) -> str:
        """Return what tells this search from others: the recipe, the axes, and the budget but for latency.

        What a limit of latency refuses is judged again whenever the search goes on, so that it may change.
        """
        plain = self.recipe(self.own).model_dump_json(exclude={"name", "description", "plugins"})
        axes = {key: axis.model_dump() if isinstance(axis, Range) else axis for key, axis in self.axes.items()}
        return hashlib.sha256(repr((plain, axes, replace(budget, latency_ms=None).said)).encode()).hexdigest()[:12]


def is_search(plain: Mapping[str, Any]) -> bool:
    """Say whether plain data are a recipe with a search."""
    return "search" in plain


def load(name: str, overrides: Sequence[str] = (), given: Sequence[plugins.Plugin] = ()) -> Space:
    """Read a recipe by path or name, with ``KEY=VALUE`` overrides, and what it says may be changed.

    Raises:
        RecipeError: with every problem found.
    """
    path = library.find(name)
    plain: Any = {"name": path.stem, **library.read(path)}
    for override in overrides:
        plain = document.overridden(plain, override)
    return parse(plain, str(path), given)


def parse(plain: Mapping[str, Any], where: str = "recipe", given: Sequence[plugins.Plugin] = ()) -> Space:
    """Turn plain data into a recipe and what its ``search`` says may be changed; without one, there are no axes.

    Raises:
        RecipeError: with every problem found.
    """
    written = {key: value for key, value in plain.items() if key != "search"}
    axes = _axes(plain["search"], where) if "search" in plain else {}
    name = recipes.parse(written, where).name
    return Space(f"{name[:90]}-search", written, axes, {}, where, tuple(given))


def _flat(section: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Return values by their whole keys, which may be written nested or joined by dots."""
    for key, value in section.items():
        if isinstance(value, dict) and value and not {"from", "to"} & set(value):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _axes(section: object, where: str) -> dict[str, Axis]:
    if not isinstance(section, dict) or not section:
        raise RecipeError(where, ["search: expected keys with their values, e.g. student.latent: [8, 16]"])
    pairs = list(_flat(section))
    section = dict(pairs)
    problems = [f"search.{key}: stands there twice" for key in section if [one for one, _ in pairs].count(key) > 1]
    for key, value in section.items():
        if str(key).partition(".")[0] not in SECTIONS or "." not in str(key):
            guess = near(str(key).partition(".")[0], SECTIONS)
            problems.append(
                f"search.{key}: is not varied{guess} (allowed: keys of {', '.join(SECTIONS)}, e.g. student.latent)"
            )
        elif not isinstance(value, dict | list):
            problems.append(f"search.{key}: expected a list, or {{from: 1, to: 10, scale: log}}, not {value!r:.80}")
        elif isinstance(value, list) and any(one in value[:place] for place, one in enumerate(value)):
            problems.append(f"search.{key}: a value stands there twice")
    sizes = [key for key in section if key in {f"student.{size}" for size in SIZES}]
    problems += [f"search: give only one of {', '.join(sizes)}"] if len(sizes) > 1 else []
    axes: dict[str, Axis] = {}
    for key, value in section.items() if not problems else ():
        kind = Range if isinstance(value, dict) else _VALUES
        try:
            axes[key] = Range.model_validate(value) if kind is Range else _VALUES.validate_python(value)
        except ValidationError as error:
            names = {f"search.{key}": ["from", "to", "scale"]}
            problems += signature.problems(error, f"search.{key}", value, names)
    if problems:
        raise RecipeError(where, problems)
    return axes
