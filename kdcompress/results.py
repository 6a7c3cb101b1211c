"""What a run found, as plain data: the shape of ``result.json`` (no torch).

Scores: higher is more anomalous. AUROC and rates are fractions in [0, 1]; sizes are bytes; times are seconds unless the
name ends in ``_ms``; MACs are multiply-accumulates of one input.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 1
LARGEST = 2**63 - 1
"""The largest integer that a result may hold."""
Interval = tuple[float, float]
NormalClass = int | str
"""Which problem of a set with several: the class that is normal, or a table's name."""

HELPS, UNCLEAR, HURTS = "distillation helps", "no clear gain", "hurts"


@dataclass(frozen=True)
class Count:
    """What one counter says of one input: MACs as the contract defines them, and everything else by operator.

    ``operators`` are MACs by operator; ``other_ops`` is what the counter adds beyond MACs (norms, activations);
    ``uncounted`` are operators that it has no rule for, with how often they run.
    """

    macs: int
    operators: dict[str, int] = field(default_factory=dict)
    other_ops: int = 0
    uncounted: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """What a detector costs; the counters agree on MACs or the profile says that they do not."""

    params: int
    macs: int
    bytes: int
    latency_ms: dict[str, float]
    peak_memory_bytes: int
    counters: dict[str, Count]


@dataclass(frozen=True)
class FalseAlarms:
    """What held-out normals say of the false positive rate at a threshold.

    Attributes:
        normals: how many they are.
        above: those that it flags.
        rate: to expect of new normals.
        rate_ci95: 95 % interval of that rate: exact, if normals are independent and scores continuous.
        smallest_rate: the smallest rate that so many normals support.
    """

    normals: int
    above: int
    rate: float
    rate_ci95: Interval
    smallest_rate: float


@dataclass(frozen=True)
class Evaluation:
    """How well scores tell anomalies from normals; None where the test set has no anomalies."""

    auroc: float | None
    auroc_ci95: Interval | None
    average_precision: float | None
    fpr_at_95tpr: float | None
    distinct_scores: int
    threshold: float
    fpr_at_threshold: float | None
    tpr_at_threshold: float | None
    false_alarms: FalseAlarms | None = None


@dataclass(frozen=True)
class StageScore:
    """AUROC of the student at the end of a stage."""

    name: str
    auroc: float | None


@dataclass(frozen=True)
class Arm:
    """One detector of the comparison: how well it detects and what it costs."""

    auroc: float | None
    auroc_ci95: Interval | None
    average_precision: float | None
    fpr_at_95tpr: float | None
    distinct_scores: int
    threshold: float
    fpr_at_threshold: float | None
    tpr_at_threshold: float | None
    params: int
    macs: int
    bytes: int
    latency_ms: dict[str, float]
    peak_memory_bytes: int
    stages: tuple[StageScore, ...] = ()
    false_alarms: FalseAlarms | None = None

    @classmethod
    def of(cls, evaluation: Evaluation, cost: Profile, stages: tuple[StageScore, ...] = ()) -> Arm:
        """Join an evaluation and a profile."""
        return cls(
            **{one.name: getattr(evaluation, one.name) for one in dataclasses.fields(evaluation)},
            params=cost.params,
            macs=cost.macs,
            bytes=cost.bytes,
            latency_ms=cost.latency_ms,
            peak_memory_bytes=cost.peak_memory_bytes,
            stages=stages,
        )


@dataclass(frozen=True)
class DataSummary:
    """How many samples of which kind a run used."""

    name: str
    normal_class: NormalClass | None
    train: int
    validation: int
    test_normal: int
    test_anomaly: int
    input_shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Named:
    """A registered thing with its options."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """What the student was asked to cost and what its width reached; ``metric`` is ``width`` where it was given."""

    metric: str
    asked: float
    reached: float
    width: float


@dataclass(frozen=True)
class Compression:
    """Teacher over student; None where one of the two has none, as a forest has no multiply-accumulates."""

    macs: float | None
    params: float | None
    bytes: float
    latency_batch_1: float
    latency_batch_64: float


@dataclass(frozen=True)
class Fidelity:
    """How closely the student follows the teacher on the test set.

    ``spearman`` is the rank correlation of the scores, ``decision_agreement`` the share of samples on which both say
    the same, each at its own threshold.
    """

    spearman: float
    decision_agreement: float


@dataclass(frozen=True)
class Selection:
    """What a search chooses by, without a label: the rule, and what the student and its control are worth by it.

    ``agreement`` is the rank correlation with the teacher's scores of samples made of held-out normals, ``separation``
    the AUROC of held-out normals against such samples; None where all scores of a network are the same.
    """

    rule: str
    student: float | None
    control: float | None


@dataclass(frozen=True)
class Protocol:
    """How the figures came about, so that a reader can judge them."""

    selection: str = "last"
    labels_used_in_training: bool = False
    eval_mode: bool = True
    interval: str = "test samples only, not training seeds"
    wanted_false_positive_rate: float = 0.05


@dataclass(frozen=True)
class Seconds:
    """Wall-clock time of training, ``stages`` being the student's and the control's; ``total`` is with evaluation.

    Time between a stop and its continuation is left out.
    """

    teacher: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    total: float = 0.0


@dataclass(frozen=True)
class Result:
    """Everything that a run found.

    ``teacher`` is the teacher as it was before distillation; ``left_out`` are the strategy's terms that the pair could
    not feed, and the part of a score that no stage fits; ``machine`` is what latency and seconds were measured on.
    """

    recipe: str
    digest: str
    seed: int
    data: DataSummary
    strategy: Named
    student_architecture: Named
    student: Arm
    compression: Compression | None = None
    teacher_architecture: Named | None = None
    teacher: Arm | None = None
    teacher_after: Arm | None = None
    control: Arm | None = None
    verdict: str | None = None
    kd_gain: float | None = None
    kd_gain_ci95: Interval | None = None
    student_minus_teacher: float | None = None
    student_minus_teacher_ci95: Interval | None = None
    fidelity: Fidelity | None = None
    selection: Selection | None = None
    target: Target | None = None
    left_out: tuple[str, ...] = ()
    counters: dict[str, Any] = field(default_factory=dict)
    teacher_counters: dict[str, Any] = field(default_factory=dict)
    protocol: Protocol = Protocol()
    seconds: Seconds = Seconds()
    machine: dict[str, str | int] = field(default_factory=dict)
    version: str = ""
    schema: int = SCHEMA


def to_json(result: Result) -> dict[str, Any]:
    """Return the JSON form of a result, ``schema`` first."""
    plain = dataclasses.asdict(result)
    return {"schema": plain.pop("schema"), **plain}


def from_json(plain: dict[str, Any]) -> Result:
    """Rebuild a result; raises ``ValueError`` where the data are not one of this version, or contradict themselves."""
    from pydantic import TypeAdapter

    result = TypeAdapter(Result).validate_python(plain)
    if result.schema != SCHEMA:
        raise ValueError(f"schema {result.schema}, known here: {SCHEMA}")
    check_numbers(to_json(result))
    for name in ("student", "teacher", "teacher_after", "control"):
        _check_auroc(name, getattr(result, name))
    for key in ("counters", "teacher_counters"):
        _check_counters(key, getattr(result, key))
    if result.verdict not in {None, verdict(result.kd_gain_ci95)}:
        raise ValueError(f"verdict '{result.verdict}' does not follow from kd_gain_ci95 {result.kd_gain_ci95}")
    return result


def check_numbers(plain: object, place: str = "") -> None:
    """Check plain data: numbers are finite, and integers no larger than `LARGEST`.

    Raises:
        ValueError: with the place of the first that is not.
    """
    if isinstance(plain, dict | list | tuple):
        for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
            check_numbers(value, f"{place}.{key}" if place else str(key))
    elif isinstance(plain, float) and not math.isfinite(plain):
        raise ValueError(f"{place}: input should be a finite number, not {plain}")
    elif isinstance(plain, int) and abs(plain) > LARGEST:
        raise ValueError(f"{place}: input should be a smaller integer")


def _check_auroc(name: str, arm: Arm | None) -> None:
    for value in () if arm is None else (arm.auroc, *(arm.auroc_ci95 or ()), *(stage.auroc for stage in arm.stages)):
        # Sums of rounded areas may pass the ends by a hair.
        if value is not None and not -1e-9 <= value <= 1 + 1e-9:
            raise ValueError(f"{name}: an AUROC and its interval should be between 0 and 1, not {value}")


def _check_counters(key: str, counters: dict[str, Any]) -> None:
    """Check the form that reports read; strictly, because what is checked is kept as it is."""
    from pydantic import TypeAdapter

    for name, entry in counters.items():
        shape = dict[str, int] if name == "uncounted" else Count
        text = json.dumps({key: {name: entry}})
        TypeAdapter(dict[str, dict[str, shape]]).validate_json(text, strict=True)  # type: ignore[valid-type]


def verdict(gain_ci95: Interval | None) -> str | None:
    """Say what the paired 95 % interval of student minus control shows."""
    if gain_ci95 is None:
        return None
    low, high = gain_ci95
    return HELPS if low > 0 else HURTS if high < 0 else UNCLEAR
