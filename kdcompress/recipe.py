"""Recipes: YAML text to frozen data, with every problem named at once (no torch)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from kdcompress import document, lineage, plugins, signature
from kdcompress.errors import InputError, RecipeError, unknown
from kdcompress.library import find, read
from kdcompress.pinned import unplaced

TRAINING_BITS = 2
"""Raised whenever training would give other bits for the same recipe."""

PLACES = ("root", "path")
"""Options of data that only say where they are: what is there counts, by its hash."""

SIZES = ("width", "macs_ratio", "macs", "params")
"""The ways of saying how large a student is."""


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _file_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{name[:60]!r} cannot name a folder (allowed: up to 100 letters, digits, '.', '_' and '-', "
            "the first a letter or digit)"
        )
    return name


Name = Annotated[str, AfterValidator(_file_name), Field(json_schema_extra={"pattern": f"^{NAME.pattern}$"})]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Amount = Annotated[int, Field(ge=1, lt=2**63)]


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
    """Where the teacher comes from: a bundle that exists, or an architecture and how to train it, or several of those.

    ``recipe`` names a recipe; its ``student``, ``strategy`` and ``teacher`` are the defaults of ``architecture``,
    ``strategy`` and ``teacher`` here. The data are always those of the recipe that the teacher stands in.

    ``teacher`` is whom it learns from itself: it is then an assistant between that one and the student (Mirzadeh et
    al., AAAI 2020). ``ensemble`` lists teachers that are trained one by one and teach as one, by the mean of their
    standardised scores. ``adapter`` is an architecture that is there already and trained by nobody here, such as
    ``module``, ``onnx`` or ``estimator``: it is that ``architecture`` with the strategy ``fitted``.
    """

    recipe: str | None = None
    bundle: str | None = None
    architecture: Ref | None = None
    strategy: Ref | None = None
    seed: Seed | None = None
    teacher: Teacher | None = None
    ensemble: Annotated[tuple[Teacher, ...], Field(min_length=2, max_length=100)] | None = None
    adapter: Ref | None = None
    _source_key: str = PrivateAttr("architecture")

    @model_validator(mode="after")
    def _one_source(self) -> Teacher:
        trained = ("recipe", "architecture", "strategy", "seed", "teacher")
        beside = [key for key in (*trained, "ensemble") if getattr(self, key) is not None]
        if self.adapter is not None:
            return self._adapted([*(["bundle"] if self.bundle is not None else []), *beside])
        if self.bundle is not None and beside:
            raise ValueError(f"a bundle is trained already: give either bundle or {', '.join(beside)}")
        if self.ensemble is not None and len(beside) > 1 and beside != ["architecture", "ensemble"]:
            raise ValueError(f"its members are trained by themselves: give either ensemble or {', '.join(beside[:-1])}")
        if self.bundle is None and self.architecture is None and self.ensemble is None:
            raise ValueError("give one of recipe, bundle, architecture, ensemble, adapter")
        inner = [*(self.ensemble or ()), *([self.teacher] if self.teacher is not None else [])]
        if any(one.bundle is not None for one in inner):
            raise ValueError(
                "a bundle can be the student's teacher only: let an assistant learn from it in a run of its own, and "
                "give that one's student.safetensors as the bundle"
            )
        return self

    def _adapted(self, beside: Sequence[str]) -> Teacher:
        """Return what an adapter is short for."""
        if beside := sorted(set(beside) - {"seed"}):
            raise ValueError(f"adapter: a detector that is there already: give either adapter or {', '.join(beside)}")
        update = {"architecture": self.adapter, "strategy": Ref(name="fitted"), "adapter": None}
        found = self.model_copy(update=update)
        found._source_key = "adapter"
        return found

    @property
    def source_key(self) -> str:
        """Key that says what the teacher is, as it was written: ``adapter`` or ``architecture``."""
        return self._source_key


class Student(Ref):
    """An architecture, and its size: ``width``, or one target for which the width is solved."""

    width: Annotated[float, Field(gt=0, le=16)] | None = None
    macs_ratio: Annotated[float, Field(ge=1)] | None = None
    macs: Amount | None = None
    params: Amount | None = None

    @model_validator(mode="after")
    def _one_size(self) -> Student:
        given = [key for key in SIZES if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"give only one of {', '.join(SIZES)} (given: {', '.join(given)})")
        return self

    @property
    def target(self) -> tuple[str, float]:
        """The metric that the size is given in, and its value; the full width where none is given."""
        for metric in ("macs_ratio", "macs", "params"):
            if (value := getattr(self, metric)) is not None:
                return metric, float(value)
        return "width", self.width if self.width is not None else 1.0


class Engine(_Part):
    """How to compute. ``auto`` is decided by measurement on the machine, once for each network.

    ``memory_bytes`` is for prepared inputs and a frozen teacher's outputs; what takes more goes into a file. Unset, it
    is half of what is available. It changes no bit.
    """

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    folded: bool | Literal["auto"] = "auto"
    compile: bool = False
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    memory_bytes: Annotated[int, Field(ge=2**20, lt=2**63)] | None = None


class EvaluationOptions(_Part):
    """What to aim for with the threshold, on held-out normals: a rate of false alarms (5 %), or a quantile."""

    false_positive_rate: Annotated[float, Field(gt=0, lt=1)] | None = 0.05
    quantile: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_aim(cls, given: Any) -> Any:  # noqa: ANN401
        if not isinstance(given, dict) or given.get("quantile") is None:
            return given
        if given.get("false_positive_rate") is not None:
            raise ValueError("give one of false_positive_rate, quantile")
        return {**given, "false_positive_rate": None}

    @model_validator(mode="after")
    def _an_aim(self) -> EvaluationOptions:
        if self.false_positive_rate is None and self.quantile is None:
            raise ValueError("give one of false_positive_rate, quantile")
        return self

    @property
    def wanted(self) -> float:
        """The share of normals that is to lie above the threshold, at most."""
        if self.false_positive_rate is not None:
            return self.false_positive_rate
        assert self.quantile is not None, "one of the two is given"
        return 1 - self.quantile


class Wanted(_Part):
    """A plug-in that a recipe wants: its file, from the recipe's folder, and the hash of its content."""

    file: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: object) -> object:
        return {"file": given} if isinstance(given, str) else given


class Recipe(_Part):
    """Everything that a run is told."""

    name: Name
    description: str = ""
    seed: Seed = 0
    data: Ref
    teacher: Teacher | None = None
    student: Student
    strategy: Ref | None = None
    control: bool = True
    engine: Engine = Engine()
    evaluation: EvaluationOptions = EvaluationOptions()
    plugins: tuple[Wanted, ...] = ()

    def to_yaml(self) -> str:
        """Return the recipe as YAML that gives the same recipe again."""
        plain = _without_unset(self)
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)


def _without_unset(part: BaseModel) -> dict[str, Any]:
    """Return plain data without the keys that are not set; options are kept, for null can be a choice among them."""
    plain = part.model_dump(mode="json")
    for key in type(part).model_fields:
        value = getattr(part, key)
        if value is None or value == ():
            del plain[key]
        elif isinstance(value, BaseModel):
            plain[key] = _without_unset(value)
    return plain


def digest(recipe: Recipe, *hashes: str) -> str:
    """Return the 12 hex digits that name a run: the resolved recipe, the hashes of its inputs, the training's version.

    Paths, the memory given and the recipe's name and description are left out: they do not change a bit of the outcome.
    Of plug-ins, and of files that options name, the content counts alone.
    """
    left_out: Any = {"name": True, "description": True, "plugins": True, "engine": {"memory_bytes"}}
    plain = recipe.model_dump(mode="json", exclude=left_out)
    hashes = (*hashes, *sorted(one.sha256 for one in recipe.plugins if one.sha256 is not None))
    plain["data"] = {key: value for key, value in plain["data"].items() if key not in PLACES}
    plain["evaluation"] = {key: value for key, value in plain["evaluation"].items() if value is not None}
    if plain["teacher"] is not None:
        plain["teacher"] = _how_taught(plain["teacher"])
    text = json.dumps([unplaced(plain), *hashes, TRAINING_BITS], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _how_taught(teacher: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a teacher is made of, without where that stood."""
    found = {key: teacher[key] for key in ("architecture", "strategy", "seed")}
    if teacher["teacher"] is not None:
        found["teacher"] = _how_taught(teacher["teacher"])
    if teacher["ensemble"] is not None:
        found["ensemble"] = [_how_taught(one) for one in teacher["ensemble"]]
    return found


def load(name: str, overrides: Sequence[str] = (), given: Sequence[plugins.Plugin] = ()) -> Recipe:
    """Read a recipe by path or name, with ``KEY=VALUE`` overrides, and check its structure.

    The plug-ins that are given with it become part of it.

    Raises:
        RecipeError: with every problem found.
    """
    path = find(name)
    plain: Any = {"name": path.stem, **read(path)}
    for override in overrides:
        plain = document.overridden(plain, override)
    return wanting(parse(plain, str(path)), given)


def wanting(recipe: Recipe, given: Sequence[plugins.Plugin]) -> Recipe:
    """Return a recipe that also wants the plug-ins that were given with it."""
    wanted = tuple(Wanted(file=str(one.path), sha256=one.origin.sha256) for one in given)
    return recipe.model_copy(update={"plugins": (*recipe.plugins, *wanted)})


def overridden(plain: Mapping[str, Any], overrides: Sequence[str], allowed: Sequence[str]) -> dict[str, Any]:
    """Return plain sections with overrides; keys outside of the allowed sections are an error."""
    changed: Any = dict(plain)
    for override in overrides:
        section = override.partition("=")[0].partition(".")[0]
        if section not in allowed:
            raise RecipeError(f"--set {override}", [unknown("section", section, allowed)])
        changed = document.overridden(changed, override)
    return dict(changed)


def parse(plain: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """Turn plain data into a recipe: a teacher's own recipe is filled in.

    Raises:
        RecipeError: with every problem found.
    """
    if "grid" in plain:
        raise RecipeError(where, ["grid: this is a suite of runs; use `kdcompress benchmark` for it"])
    if "search" in plain:
        raise RecipeError(where, ["search: this is a search over settings; use `kdcompress search` for it"])
    found: list[str] = []
    try:
        filled = lineage.filled(plain, where, parse)
    except InputError as error:
        found = [str(error)]
        filled = {**plain, "teacher": None}
    try:
        recipe = Recipe.model_validate(filled)
        found += signature.coerced(filled, recipe.model_dump(), "")
    except ValidationError as error:
        found += signature.problems(error, "", filled, _keys())
    if found:
        raise RecipeError(where, found, filled)
    return recipe


def _keys() -> dict[str, list[str]]:
    parts: dict[str, type[BaseModel]] = {
        "": Recipe,
        "teacher": Teacher,
        "teacher.teacher": Teacher,
        "teacher.ensemble": Teacher,
        "teacher.ensemble.*": Teacher,
        "engine": Engine,
        "evaluation": EvaluationOptions,
        "plugins": Wanted,
        "plugins.*": Wanted,
    }
    things = ("data", "student", "strategy", "teacher.architecture", "teacher.adapter", "teacher.strategy")
    return {where: list(part.model_fields) for where, part in parts.items()} | {where: ["name"] for where in things}
