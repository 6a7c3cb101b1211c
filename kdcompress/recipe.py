"""Recipes: YAML text to frozen data, with every problem named at once (no torch)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdcompress import signature
from kdcompress.errors import InputError, RecipeError, near, unknown

TRAINING_BITS = 1
"""Raised whenever training would give other bits for the same recipe."""

DEFAULT = "digits"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Ref(_Part):
    """A registered thing and its options; what the options may be stands in its builder's signature."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Everything beside the name."""
        return dict(self.model_extra or {})


class Teacher(_Part):
    """Where the teacher comes from: a bundle that exists, or an architecture and how to train it.

    ``recipe`` names a recipe without a teacher; its ``student`` and ``strategy`` are the defaults of ``architecture``
    and ``strategy`` here. The data are always those of the recipe that the teacher stands in.
    """

    recipe: str | None = None
    bundle: str | None = None
    architecture: Ref | None = None
    strategy: Ref | None = None
    seed: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Teacher:
        if self.bundle is not None and (self.recipe or self.architecture or self.strategy):
            raise ValueError("give either bundle, or recipe, or architecture and strategy")
        if self.bundle is None and self.architecture is None:
            raise ValueError("give one of recipe, bundle, architecture")
        return self


class Student(Ref):
    """An architecture, and its size: ``width``, or one target for which the width is solved."""

    width: Annotated[float, Field(gt=0, le=16)] | None = None
    macs_ratio: Annotated[float, Field(gt=0)] | None = None
    macs: Annotated[int, Field(ge=1)] | None = None
    params: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one_size(self) -> Student:
        given = [key for key in ("width", "macs_ratio", "macs", "params") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"give only one of width, macs_ratio, macs, params (given: {', '.join(given)})")
        return self

    @property
    def target(self) -> tuple[str, float]:
        """The metric that the size is given in, and its value; the full width where none is given."""
        for metric in ("macs_ratio", "macs", "params"):
            if (value := getattr(self, metric)) is not None:
                return metric, float(value)
        return "width", self.width if self.width is not None else 1.0


class Engine(_Part):
    """How to compute. ``auto`` is decided by measurement on the machine, once for each network."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    threads: Annotated[int, Field(ge=1)] | None = None


class EvaluationOptions(_Part):
    """What to aim for with the threshold."""

    false_positive_rate: Annotated[float, Field(gt=0, lt=1)] = 0.05


class Recipe(_Part):
    """Everything that a run is told."""

    name: Annotated[str, Field(pattern=_NAME)]
    description: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    data: Ref
    teacher: Teacher | None = None
    student: Student
    strategy: Ref | None = None
    control: bool = True
    engine: Engine = Engine()
    evaluation: EvaluationOptions = EvaluationOptions()

    def to_yaml(self) -> str:
        """Return the recipe as YAML that gives the same recipe again."""
        plain = self.model_dump(mode="json", exclude_none=True)
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)


def digest(recipe: Recipe, *hashes: str) -> str:
    """Return the 12 hex digits that name a run: the resolved recipe, the hashes of its inputs, the training's version.

    Paths and the recipe's name and description are left out: they do not change a bit of the outcome.
    """
    plain = recipe.model_dump(mode="json", exclude={"name", "description"})
    plain["data"].pop("root", None)
    if plain["teacher"] is not None:
        plain["teacher"] = {key: plain["teacher"][key] for key in ("architecture", "strategy", "seed")}
    text = json.dumps([plain, *hashes, TRAINING_BITS], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def shipped() -> dict[str, Path]:
    """Return the shipped recipes by name."""
    folder = Path(str(resources.files("kdcompress.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(name: str) -> Path:
    """Return the file of a recipe given by path or by the name of a shipped one.

    Raises:
        InputError: where there is neither.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        if not path.is_file():
            raise InputError(f"{name}: no such recipe file{near(name, map(str, path.parent.glob('*.y*ml')))}")
        return path
    recipes = shipped()
    if name not in recipes:
        raise InputError(unknown("recipe", name, recipes) + "; or give the path of a .yaml file")
    return recipes[name]


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by path or name, with ``KEY=VALUE`` overrides, and check its structure.

    Raises:
        RecipeError: with every problem found.
    """
    path = find(name)
    plain = read(path)
    plain.setdefault("name", path.stem)
    for override in overrides:
        _override(plain, override, str(path))
    return parse(plain, str(path))


def read(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; duplicate keys are an error.

    Raises:
        RecipeError: where it does not parse, with line and column.
    """
    try:
        plain = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise RecipeError(str(path), [f"{place}{error.problem or error.context}"]) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(str(path), [f"cannot read it: {error}"]) from error
    if not isinstance(plain, dict):
        raise RecipeError(str(path), ["expected a mapping of keys such as data, teacher, student"])
    return plain


def overridden(plain: dict[str, Any], overrides: Sequence[str], allowed: Sequence[str]) -> dict[str, Any]:
    """Return plain sections with overrides; keys outside of the allowed sections are an error."""
    for override in overrides:
        section = override.partition("=")[0].partition(".")[0]
        if section not in allowed:
            raise RecipeError(f"--set {override}", [unknown("section", section, allowed)])
        _override(plain, override, "the bundle")
    return plain


def parse(plain: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """Turn plain data into a recipe: a teacher's own recipe is filled in.

    Raises:
        RecipeError: with every problem found.
    """
    if "grid" in plain:
        raise RecipeError(where, ["grid: this is a suite of runs; use `kdcompress benchmark` for it"])
    try:
        return Recipe.model_validate(_with_teacher(dict(plain), where))
    except ValidationError as error:
        raise RecipeError(where, signature.problems(error, "", _keys())) from error


def _with_teacher(plain: dict[str, Any], where: str) -> dict[str, Any]:
    """Fill in the architecture and strategy of the teacher's recipe."""
    teacher = plain.get("teacher")
    if not isinstance(teacher, dict) or not isinstance(teacher.get("recipe"), str):
        return plain
    beside = Path(where).parent / teacher["recipe"]
    own = read(find(str(beside) if beside.is_file() else teacher["recipe"]))
    if "teacher" in own:
        raise RecipeError(where, [f"teacher.recipe: {teacher['recipe']} has a teacher itself; a teacher's has none"])
    filled = {"architecture": own.get("student"), "strategy": own.get("strategy", {"name": "scratch"})}
    merged = {key: _merged(default, teacher.get(key)) for key, default in filled.items()}
    return {**plain, "teacher": {**teacher, **merged}}


def _merged(default: Any, given: Any) -> Any:  # noqa: ANN401
    """Return the given options over the default ones, unless they name another thing."""
    if not isinstance(given, dict) or not isinstance(default, dict):
        return default if given is None else given
    same = given.get("name", default.get("name")) == default.get("name")
    return {**default, **given} if same else given


def _keys() -> dict[str, list[str]]:
    parts: dict[str, type[BaseModel]] = {
        "": Recipe,
        "teacher": Teacher,
        "engine": Engine,
        "evaluation": EvaluationOptions,
    }
    return {where: list(part.model_fields) for where, part in parts.items()}


def _override(plain: dict[str, Any], override: str, where: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override}", ["expected KEY=VALUE, e.g. data.normal_class=8"])
    try:
        value = yaml.load(text, _UniqueKeys)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}", [f"the value is not YAML: {error}"]) from error
    *path, last = key.split(".")
    place: Any = plain
    for part in path:
        place = _item(place, part, override) if isinstance(place, list) else place.setdefault(part, {})
        if not isinstance(place, dict | list):
            raise RecipeError(f"--set {override}", [f"'{part}' in {where} is a single value and has no keys"])
    if isinstance(place, list):
        _item(place, last, override)
        place[int(last)] = value
    else:
        place[last] = value


def _item(items: list[Any], index: str, override: str) -> Any:  # noqa: ANN401
    if not index.isdigit() or int(index) >= len(items):
        raise RecipeError(f"--set {override}", [f"'{index}' is no place in a list of {len(items)} (from 0)"])
    return items[int(index)]


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key '{key}'", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
