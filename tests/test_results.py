import dataclasses
import json

import pydantic
import pytest

from kdcompress import results
from kdcompress.results import (
    Arm,
    Compression,
    Count,
    DataSummary,
    Evaluation,
    Fidelity,
    Named,
    Profile,
    Result,
    Seconds,
    StageScore,
    Target,
    from_json,
    to_json,
    verdict,
)

EVALUATION = Evaluation(0.9, (0.8, 0.95), 0.7, 0.2, 60, 1.5, 0.05, 0.6)
COST = Profile(100, 2000, 400, {"batch_1": 0.1, "batch_64": 2.0}, 4096, {"fvcore": Count(2000, {"conv": 2000}, 7)})
ARM = Arm.of(EVALUATION, COST, (StageScore("step 1", 0.8), StageScore("step 2", None)))
FULL = Result(
    recipe="r",
    digest="0123456789ab",
    seed=3,
    data=DataSummary("digits", 8, 80, 27, 70, 649, (1, 8, 8)),
    strategy=Named("progressive", {"steps": [{"epochs": 1}]}),
    student_architecture=Named("ede_gan", {"width": 0.1}),
    student=ARM,
    compression=Compression(50.0, 40.5, 39.0, 3.0, 8.0),
    teacher=dataclasses.replace(ARM, auroc=0.1 + 0.2),
    kd_gain=-0.0125,
    kd_gain_ci95=(-0.02, 1e-17),
    fidelity=Fidelity(0.99, 0.97),
    target=Target("macs_ratio", 50.0, 50.3, 0.14),
    seconds=Seconds(1.5, {"student: step 1": 0.5}, 2.0),
)
# Without anomalies in the test set there is no AUROC; without a teacher there is nothing to compare with.
BARE = dataclasses.replace(
    FULL,
    data=DataSummary("synthetic", None, 80, 27, 70, 0),
    student=Arm.of(Evaluation(None, None, None, None, 60, 1.5, 0.05, None), COST),
    compression=None,
    teacher=None,
    kd_gain=None,
    kd_gain_ci95=None,
    fidelity=None,
    target=None,
)


@pytest.mark.parametrize("result", [FULL, BARE], ids=["full", "bare"])
def test_a_result_survives_its_file_to_the_bit(result):
    text = json.dumps(to_json(result), allow_nan=False)
    assert from_json(json.loads(text)) == result


def test_the_schema_comes_first():
    assert next(iter(to_json(FULL))) == "schema"
    assert to_json(FULL)["schema"] == 1


CONTRACT = """
    schema recipe digest seed data strategy student_architecture verdict teacher student control compression kd_gain
    kd_gain_ci95 student_minus_teacher student_minus_teacher_ci95 fidelity counters protocol seconds
"""


@pytest.mark.parametrize("key", CONTRACT.split())
def test_the_contracts_keys_are_there(key):
    assert key in to_json(FULL)


@pytest.mark.parametrize("arm", ["student", "teacher"])
def test_an_arm_says_how_well_it_detects_and_what_it_costs(arm):
    wanted = "auroc auroc_ci95 average_precision fpr_at_95tpr distinct_scores params macs bytes latency_ms"
    assert to_json(FULL)[arm].keys() >= {*wanted.split(), "peak_memory_bytes"}


def test_an_arm_joins_both_and_loses_nothing():
    plain = dataclasses.asdict(ARM)
    assert {key: plain[key] for key in dataclasses.asdict(EVALUATION)} == dataclasses.asdict(EVALUATION)
    for key in ("params", "macs", "bytes", "latency_ms", "peak_memory_bytes"):
        assert plain[key] == getattr(COST, key)
    assert [stage.name for stage in ARM.stages] == ["step 1", "step 2"]


@pytest.mark.parametrize(
    ("change", "place"),
    [({"seed": "three"}, "seed"), ({"student": None}, "student"), ({"kd_gain_ci95": [0.1]}, "kd_gain_ci95")],
)
def test_other_data_are_refused_with_their_place(change, place):
    with pytest.raises(pydantic.ValidationError, match=place):
        from_json({**to_json(FULL), **change})


@pytest.mark.parametrize("missing", ["recipe", "data", "student"])
def test_what_must_be_there_is_missed(missing):
    plain = {key: value for key, value in to_json(FULL).items() if key != missing}
    with pytest.raises(pydantic.ValidationError, match=missing):
        from_json(plain)


def test_keys_of_a_later_version_do_not_hinder_reading():
    assert from_json({**to_json(FULL), "later": {"more": 1}}) == FULL


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((0.001, 0.2), results.HELPS),
        ((-0.2, -0.001), results.HURTS),
        ((-0.1, 0.1), results.UNCLEAR),
        ((0.0, 0.2), results.UNCLEAR),
        ((-0.2, 0.0), results.UNCLEAR),
        (None, None),
    ],
)
def test_the_verdict_follows_from_the_interval_alone(interval, said):
    assert verdict(interval) == said


def test_the_verdict_turns_round_with_the_sign():
    turned = {results.HELPS: results.HURTS, results.HURTS: results.HELPS, results.UNCLEAR: results.UNCLEAR}
    for low in (-0.3, -0.1, 0.0, 0.1):
        assert verdict((-low - 0.2, -low)) == turned[verdict((low, low + 0.2))]
