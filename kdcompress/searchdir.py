"""The folder of a search: that of a suite whose cells are trials, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pydantic

from kdcompress.errors import InputError
from kdcompress.results import Interval
from kdcompress.rundir import write_atomic
from kdcompress.signature import problems
from kdcompress.suitedir import SuiteDir

SCHEMA: Literal[1] = 1

State = Literal["waiting", "done", "failed", "refused"]
"""A trial that is refused costs more than the budget, or cannot be."""


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Trial(_Part):
    """One setting that is tried: its values, how far it is, and what it is worth by the rule.

    ``why`` says of one that failed or was refused what was in the way; ``student`` and ``control`` are what the two
    networks are worth by the search's rule, None where that is not known; ``latency_ms`` is the time of one score that
    was measured before training, where there was a limit of it.
    """

    name: Annotated[str, pydantic.Field(pattern=r"^trial-\d+$")]
    values: dict[str, Any]
    digest: str = ""
    state: State = "waiting"
    why: str = ""
    latency_ms: float | None = None
    student: float | None = None
    control: float | None = None


class Chosen(_Part):
    """The two trials that the rule prefers, and how their networks do on the test set, which had no say in it.

    ``trial`` has the student, ``control`` the network that was trained alone; AUROCs are fractions, None without
    anomalies.
    """

    trial: str
    control: str | None = None
    auroc: float | None = None
    control_auroc: float | None = None
    kd_gain: float | None = None
    kd_gain_ci95: Interval | None = None


class Found(_Part):
    """What a search knows: what it varies, within which budget, and its trials in the order of asking."""

    schema_: Literal[1] = pydantic.Field(SCHEMA, alias="schema")
    fingerprint: str
    budget: dict[str, float]
    axes: dict[str, Any]
    rule: str
    trials: tuple[Trial, ...] = ()
    chosen: Chosen | None = None


@dataclass(frozen=True)
class SearchDir(SuiteDir):
    """A search's folder: a suite's, and ``search.json``."""

    def write_found(self, found: Found) -> None:
        """Write what is known so far."""
        write_atomic(self.path / "search.json", (found.model_dump_json(by_alias=True, indent=1) + "\n").encode())

    def write_chosen(self, recipe: str) -> None:
        """Write the chosen trial's recipe, as `kdcompress distill` takes it."""
        write_atomic(self.path / "chosen.yaml", recipe.encode())

    def found(self) -> Found | None:
        """Return what is known, or None where there is no search yet.

        Raises:
            InputError: where it is damaged.
        """
        path = self.path / "search.json"
        if not path.exists():
            return None
        try:
            return Found.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InputError(f"{path}: cannot read: {error.strerror or error}") from error
        except pydantic.ValidationError as error:
            raise InputError(f"{path}: not a search of this version: {'; '.join(problems(error, '', {}))}") from error
