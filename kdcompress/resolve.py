"""From a recipe as it is written to one in which every option stands: every problem is named at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from kdcompress import plugins, signature
from kdcompress.architectures import ARCHITECTURES
from kdcompress.data import DATASETS
from kdcompress.errors import InputError, RecipeError
from kdcompress.recipe import SIZES, Recipe, Ref, Student, Teacher, Wanted
from kdcompress.registry import Registry
from kdcompress.strategies import STRATEGIES

_MADE_OF = {"sliced": "module"}
"""Families whose students are made of a network that another family describes, with the options that both have."""


def admitted(recipe: Recipe, where: str) -> Recipe:
    """Return a recipe with the plug-ins that it wants as they are loaded: by name and hash, no path.

    Raises:
        RecipeError: where one is not loaded, and the user does not let recipes load it.
    """
    found = plugins.admit([(one.file, one.sha256) for one in recipe.plugins], where)
    return recipe.model_copy(update={"plugins": _wanted(*(one.origin for one in found))})


def _wanted(*origins: plugins.Origin) -> tuple[Wanted, ...]:
    unique = sorted(set(origins), key=lambda origin: (origin.name, origin.sha256))
    return tuple(Wanted(file=one.name, sha256=one.sha256) for one in unique)


def _owners(data: Ref, architectures: Sequence[Ref | None], strategies: Sequence[Ref]) -> Iterator[plugins.Origin]:
    """Return the plug-ins from which the things come that a recipe names, whoever loaded them."""
    named = [(DATASETS.kind, data), *((STRATEGIES.kind, step) for one in strategies for _, step in steps(one, ""))]
    named += [(ARCHITECTURES.kind, one) for one in architectures if one is not None]
    for kind, ref in named:
        if (origin := plugins.owner(kind, ref.name)) is not None:
            yield origin


def steps(strategy: Ref, key: str) -> Iterator[tuple[str, Ref]]:
    """Return a strategy and those that it names as its steps, each with the key where it stands."""
    yield key, strategy
    named = strategy.options.get("steps")
    for place, step in enumerate(named if isinstance(named, list | tuple) else ()):
        if isinstance(step, Mapping) and isinstance(step.get("name"), str):
            yield from steps(Ref.model_validate(step), f"{key}.steps.{place}")


def resolve(recipe: Recipe, where: str, teacher: Ref | None = None) -> Recipe:
    """Return the recipe with all options of all its parts, defaults filled in.

    A student of its teacher's architecture has its teacher's options where it does not set its own. The plug-ins of
    what it names are added to those that it wants.

    Args:
        recipe: as it was written.
        where: its file, for messages.
        teacher: the architecture in the teacher's bundle, where the recipe names one.

    Raises:
        RecipeError: with every unknown name, unknown option and value out of range.
    """
    found = _Problems()
    data = found.options(DATASETS, recipe.data, "data")
    source = recipe.teacher
    if source is not None and source.bundle is None:
        source = found.teacher(source, "teacher", recipe.seed)
    architecture = source.architecture if source is not None and source.bundle is None else teacher
    student = found.student(recipe.student, architecture)
    has_teacher = recipe.teacher is not None
    strategy = recipe.strategy or Ref(name="progressive" if has_teacher else "scratch")
    strategy = found.options(STRATEGIES, strategy, "strategy")
    if not has_teacher:
        found.alone(recipe, strategy)
    if found.problems:
        raise RecipeError(where, found.problems)
    above = list(_teachers(source))
    architectures = (student, architecture, *(one.architecture for one in above))
    strategies = (strategy, *(one.strategy for one in above if one.strategy is not None))
    given = [plugins.Origin(one.file, one.sha256) for one in recipe.plugins if one.sha256 is not None]
    owners = _owners(data, architectures, strategies)
    return recipe.model_copy(
        update={
            "data": data,
            "teacher": source,
            "student": student,
            "strategy": strategy,
            "control": recipe.control and has_teacher,
            "plugins": _wanted(*given, *owners),
        }
    )


def _teachers(source: Teacher | None) -> Iterator[Teacher]:
    """Return a teacher, its members, and whom they learn from."""
    if source is None:
        return
    yield source
    for one in (*(source.ensemble or ()), source.teacher):
        yield from _teachers(one)


def with_options(error: RecipeError) -> RecipeError:
    """Return the error of a recipe whose structure is wrong with the problems of its options too.

    So that a user has everything that is wrong in one go.
    """
    found = _Problems()
    sections: dict[str, Any] = dict(error.sections or {})
    teacher = sections.get("teacher")
    teacher = teacher if isinstance(teacher, dict) else {}
    student = sections.get("student")
    if isinstance(student, dict):
        student = {key: value for key, value in student.items() if key not in SIZES}
    named: list[tuple[Registry[Any], str, object]] = [
        (DATASETS, "data", sections.get("data")),
        (ARCHITECTURES, "teacher.architecture", teacher.get("architecture")),
        (ARCHITECTURES, "teacher.adapter", teacher.get("adapter")),
        (STRATEGIES, "teacher.strategy", teacher.get("strategy")),
        (ARCHITECTURES, "student", student),
        (STRATEGIES, "strategy", sections.get("strategy")),
    ]
    for registry, where, section in named:
        if isinstance(section, dict) and isinstance(section.get("name"), str) and all(map(str.isidentifier, section)):
            found.options(registry, Ref(**section), where)
    more = [problem for problem in found.problems if problem not in error.problems]
    return RecipeError(error.where, (*error.problems, *more))


class _Problems:
    """Collects what is wrong with the options of a recipe's parts."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def options(self, registry: Registry[Any], ref: Ref, where: str) -> Ref:
        """Return the thing with all of its options."""
        build = self._builder(registry, ref.name, where)
        return Ref(name=ref.name, **self._resolved(build, ref.options, where)) if build is not None else ref

    def student(self, student: Student, teacher: Ref | None) -> Student:
        """Return the student with all options but its width, its teacher's first where both are of one family."""
        build = self._builder(ARCHITECTURES, student.name, "student")
        if build is None:
            return student
        inherited = _inherited(student.name, build, teacher)
        given = {**inherited, **student.options}
        options = self._resolved(build, given, "student", SIZES)
        if student.name in _MADE_OF and "of" not in given:
            said = f"{_UNNAMED}{_instead(teacher)}"
            self.problems = [said if one == "student.of: missing" else one for one in self.problems]
        options.pop("width", None)
        metric, _ = student.target
        options[metric] = getattr(student, metric) or 1.0
        return Student(name=student.name, **options)

    def teacher(self, source: Teacher, where: str, seed: int) -> Teacher:
        """Return a teacher that is trained with all options of all its parts."""
        seed = seed if source.seed is None else source.seed
        if source.ensemble is not None:
            members = [self.teacher(one, f"{where}.ensemble.{n}", seed) for n, one in enumerate(source.ensemble)]
            refs = [one.architecture for one in members if one.architecture is not None]
            plain = [{"name": one.name, **one.options} for one in refs]
            # It stands for its members: a student may be of the same architecture, and a plan is made with it.
            whole = Ref.model_validate({"name": "ensemble", "width": 1.0, "members": plain})
            return source.model_copy(update={"ensemble": tuple(members), "architecture": whole})
        above = self.teacher(source.teacher, f"{where}.teacher", seed) if source.teacher is not None else None
        assert source.architecture is not None, "a teacher that is trained has an architecture"
        architecture = self._assistant(source.architecture, above, f"{where}.{source.source_key}")
        taught = source.strategy or Ref(name="scratch" if above is None else "progressive")
        strategy = self.options(STRATEGIES, taught, f"{where}.strategy")
        if above is None and taught.name in STRATEGIES and _needs_teacher(STRATEGIES[taught.name]):
            self.problems.append(
                f"{where}.strategy.name: '{taught.name}' needs a teacher itself (without one: scratch)"
            )
        update = {"architecture": architecture, "strategy": strategy, "seed": seed, "teacher": above}
        return source.model_copy(update=update)

    def _assistant(self, ref: Ref, above: Teacher | None, where: str) -> Ref:
        """Return a teacher's architecture; one that learns from another may have its size as students do."""
        sized = [key for key in SIZES if key != "width" and key in ref.options]
        if not sized or above is None:
            return self.options(ARCHITECTURES, ref, where)
        try:
            student = Student(name=ref.name, **ref.options)
        except ValidationError as error:
            self.problems += signature.problems(error, where, ref.options, {where: list(Student.model_fields)})
            return ref
        found = self.student(student, above.architecture)
        metric, value = found.target
        return Ref(name=found.name, **found.options, **{metric: value})

    def alone(self, recipe: Recipe, strategy: Ref) -> None:
        """Note what a recipe without a teacher cannot have."""
        if recipe.student.macs_ratio is not None:
            self.problems.append("student.macs_ratio: needs a teacher (allowed without one: width, macs, params)")
        if strategy.name in STRATEGIES and _needs_teacher(STRATEGIES[strategy.name]):
            self.problems.append(f"teacher: missing; the strategy '{strategy.name}' needs one (without one: scratch)")

    def _builder(self, registry: Registry[Any], name: str, where: str) -> Callable[..., Any] | None:
        if name not in registry:
            self.problems.append(f"{where}.name: {registry.refusal(name)}")
            return None
        build: Callable[..., Any] = registry[name]
        if registry is ARCHITECTURES and "width" not in inspect.signature(build).parameters:
            self.problems.append(
                f"{where}.name: architecture '{name}' lacks the option that students are made with, "
                "width: float = 1.0, a factor on its inner channels"
            )
            return None
        return build

    def _resolved(
        self, build: Callable[..., Any], options: Mapping[str, Any], where: str, besides: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Return all options, or none where there are problems, so that nothing wrong is inherited and named twice."""
        try:
            found = signature.resolved(build, options)
            self.problems += signature.coerced(options, found, where)
            return found
        except ValidationError as error:
            allowed = signature.keys(build, where)
            allowed[where] = list(dict.fromkeys([*besides, *allowed[where]]))
            self.problems += signature.problems(error, where, options, allowed)
        except InputError as error:
            self.problems.append(f"{where}: {error}")
        return {}


_UNNAMED = (
    "student.of: missing: the name of a network of your own, from @kd.MODULES.register(NAME) in a plug-in or program"
)


def _instead(teacher: Ref | None) -> str:
    """Say what a student of a teacher can be that is no network with a name."""
    if teacher is None or teacher.name == "module":
        return ""
    if teacher.name.startswith("wrapped-"):
        # What is in a program's hands cannot be built anew, and a student of a bundle has to be.
        return (
            "; kd.wrap gives its module none, and a bundle is rebuilt by it: register a function that returns such a "
            "module, and give its name as of, and score and taps as to kd.wrap"
        )
    if signature.required(ARCHITECTURES[teacher.name]):
        return (
            f"; an adapter of {teacher.name} holds no network that could be narrowed (allowed as the teacher: module)"
        )
    return f"; a smaller '{teacher.name}' is student: {{name: {teacher.name}}}"


def _inherited(name: str, build: Callable[..., Any], teacher: Ref | None) -> dict[str, Any]:
    """Return the options that a student has from its teacher where it does not set its own."""
    if teacher is not None and teacher.name == name:
        # Its weights are not the student's, nor the control's: both begin at random.
        return {key: value for key, value in teacher.options.items() if key not in (*SIZES, "checkpoint")}
    if teacher is None or _MADE_OF.get(name) != teacher.name:
        return {}
    known = inspect.signature(build).parameters
    # The teacher's width is that of the network before it is narrowed.
    described = {("full" if key == "width" else key): value for key, value in teacher.options.items()}
    return {key: value for key, value in described.items() if key in known and key not in SIZES}


def _needs_teacher(strategy: Callable[..., Any]) -> bool:
    parameter = inspect.signature(strategy).parameters.get("teacher")
    return parameter is not None and parameter.default is inspect.Parameter.empty
