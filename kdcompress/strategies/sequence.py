"""Strategies one after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from kdcompress import signature
from kdcompress.errors import InputError
from kdcompress.recipe import Ref
from kdcompress.stage import Stage
from kdcompress.strategies import STRATEGIES
from kdcompress.types import Interface


class Step(Ref, json_schema_extra={"x-registry": "strategy"}):
    """A strategy by name with its options, of which those that are not given have their defaults."""

    def __str__(self) -> str:
        return f"{{name: {self.name}}}"

    @model_validator(mode="before")
    @classmethod
    def _resolved(cls, given: Any) -> Any:  # noqa: ANN401
        """Return the step with all of its options; what is wrong is named where it stands."""
        if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
            return given
        options = {key: value for key, value in given.items() if key != "name"}
        name = given["name"]
        if name not in STRATEGIES:
            raise _errors([f"name: {STRATEGIES.refusal(name)}"], given)
        build = STRATEGIES[name]
        try:
            return {"name": name, **signature.resolved(build, options)}
        except ValidationError as error:
            allowed = signature.keys(build, "step")
            allowed["step"] = ["name", *allowed["step"]]
            said = signature.problems(error, "step", options, allowed)
        raise _errors([one.removeprefix("step.") for one in said], given)


def _errors(problems: list[str], given: Mapping[str, Any]) -> ValidationError:
    """Return problems, each a place and what is wrong there, as errors at these places of a step."""
    details = []
    for problem in problems:
        place, _, text = problem.partition(": ")
        loc = tuple(int(part) if part.isdecimal() else part for part in place.split("."))
        # As pydantic words what a validator raises.
        kind = PydanticCustomError("value_error", "Value error, {text}", {"text": text})
        details.append(InitErrorDetails(type=kind, loc=loc, input=given))
    return ValidationError.from_exception_data("step", details)


@STRATEGIES.register("sequence")
def sequence(
    student: Interface,
    teacher: Interface | None = None,
    *,
    steps: Annotated[tuple[Step, ...], Field(min_length=1)] = (Step(name="hint"), Step(name="response")),
) -> tuple[Stage, ...]:
    """Strategies one after another, e.g. a hint and then the scores.

    FitNets (Romero et al., ICLR 2015) are trained so, first inside and then on the answers. Each step goes on from the
    weights that the last one left, with optimisers of its own. Without a teacher, each step's control.

    Args:
        student: the detector to train.
        teacher: the detector to learn from; without one, the student's own losses alone.
        steps: strategies by name, each with its own options, e.g. {name: hint, epochs: 20}.

    Raises:
        InputError: where a step's strategy does not fit the two sides.
    """
    stages = []
    for index, step in enumerate(steps):
        build = STRATEGIES[step.name]
        try:
            own = build(student, teacher, **signature.arguments(build, step.options))
        except InputError as error:
            raise InputError(f"steps.{index} ({step.name}): {error}") from error
        # Two steps may be of one strategy: what happens in a stage is told, and saved, by its name.
        stages += [replace(stage, name=f"{index + 1}. {stage.name}") for stage in own]
    return tuple(stages)
