import dataclasses

import pytest

from kdcompress.reporting.verdict import cautions, facts, verdict
from kdcompress.results import HURTS, UNCLEAR, Protocol
from tests.reporting.fake_runs import BARE, make_arm, make_result, without_anomalies

NO_CONTROL = {"control": None, "verdict": None, "kd_gain": None, "kd_gain_ci95": None}


def test_a_gain_is_said_with_its_interval_scope_and_price():
    found = verdict(make_result())
    assert found.lead == "Distillation helps"
    assert found.reason == (
        "the student's AUROC is 1.20 points above the same network trained alone (95 % interval +0.40 to +2.00, "
        "test samples only, not training seeds), at 231 times fewer MACs than its teacher."
    )
    assert "0.07 points below its teacher's" in found.detail


def test_an_unclear_gain_is_not_sold_as_one():
    found = verdict(make_result(verdict=UNCLEAR, kd_gain=0.003, kd_gain_ci95=(-0.005, 0.011)))
    assert found.lead == "No clear gain from distillation"
    assert "0.30 points above" in found.reason
    assert "−0.50 to +1.10 includes zero" in found.reason


def test_a_loss_is_said_as_plainly_as_a_gain():
    found = verdict(make_result(verdict=HURTS, kd_gain=-0.0134, kd_gain_ci95=(-0.02, -0.006)))
    assert found.lead == "Distillation hurts"
    assert "1.34 points below the same network trained alone (95 % interval −2.00 to −0.60" in found.reason


def test_no_difference_is_neither_above_nor_below():
    found = verdict(make_result(verdict=UNCLEAR, kd_gain=0.0, kd_gain_ci95=(-0.005, 0.005)))
    assert "level with that of the same network trained alone" in found.reason


def test_without_a_control_nothing_is_claimed_of_distillation():
    found = verdict(make_result(**NO_CONTROL))
    assert found.lead == "No verdict on distillation"
    assert "AUROC 95.86 %" in found.reason
    assert "No control was trained" in found.reason


def test_a_detector_that_is_alone_is_no_student():
    found = verdict(make_result(**BARE))
    assert found.lead == "One detector, trained alone"
    assert "student" not in found.reason
    assert "no teacher and no control" in found.reason
    assert facts(make_result(**BARE))[0].name == "AUROC of the detector"


def test_without_anomalies_only_false_alarms_are_judged():
    result = without_anomalies().result
    found = verdict(result)
    assert found.lead == "Detection was not measured"
    assert "flags 4.93 % of the normal test samples (5.00 % wanted)" in found.reason
    assert [fact.name for fact in facts(result)] == ["False alarms", "Compression", "Speed-up, batch 1"]


def test_a_student_that_costs_more_is_not_called_cheaper():
    result = make_result()
    dearer = dataclasses.replace(result.compression, macs=0.5)
    assert "2.00 times more MACs" in verdict(dataclasses.replace(result, compression=dearer)).reason


def test_key_figures_are_quality_worth_and_savings():
    assert [(fact.value, fact.note) for fact in facts(make_result())] == [
        ("95.86 %", "teacher 95.93 %"),
        ("+1.20 points", "95 % interval +0.40 to +2.00"),
        ("231 : 1", "MACs: 52.8 M to 228 k"),
        ("35.6 : 1", "1.60 ms to 0.052 ms"),
    ]


def test_a_sound_run_has_no_cautions():
    assert cautions(make_result()) == ()


def test_a_teacher_that_came_to_know_more_is_not_called_idle():
    weak = make_arm(0.9, 52_000_000, 0.1)
    assert cautions(make_result(teacher=weak, teacher_after=make_arm(0.99, 52_000_000, 0.1))) == ()
    assert "no better" in cautions(make_result(teacher=weak, teacher_after=weak))[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol": Protocol(labels_used_in_training=True)}, "Labels were used in training"),
        ({"protocol": Protocol(eval_mode=False)}, "training mode"),
        (
            {"teacher": make_arm(0.9, 52_000_000, 0.1), "teacher_after": None},
            "teacher is no better than the small network",
        ),
        ({"student": make_arm(0.95, 228_480, 0.1, fpr_at_threshold=0.2)}, "flags 20.00 % of the normal test samples"),
        ({"student": make_arm(0.95, 228_480, 0.1, distinct_scores=3)}, "only 3 distinct scores to 10000 samples"),
        ({"counters": {"fvcore": {"macs": 5}, "thop": {"macs": 6}, "uncounted": {}}}, "disagree"),
    ],
)
def test_what_weakens_the_figures_is_said(changes, words):
    (caution,) = cautions(make_result(**changes))
    assert words in caution
