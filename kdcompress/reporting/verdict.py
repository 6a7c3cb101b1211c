"""What a run says, in words: the verdict with its uncertainty, the key figures and what to be careful about."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kdcompress.reporting import numbers
from kdcompress.reporting.record import alone, arms, counts_of, label
from kdcompress.results import HELPS, HURTS, UNCLEAR, Result

LEADS = {HELPS: "Distillation helps", UNCLEAR: "No clear gain from distillation", HURTS: "Distillation hurts"}


@dataclass(frozen=True)
class Verdict:
    """The conclusion: ``lead`` is a few words, ``reason`` ends the sentence, ``detail`` is what follows it."""

    lead: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Fact:
    """One key figure with what it is and what it is compared with."""

    name: str
    value: str
    note: str = ""


def verdict(result: Result) -> Verdict:
    """Put the result into a sentence that a reader can repeat without having seen the tables."""
    if result.student.auroc is None:
        return _without_anomalies(result)
    if result.verdict is None or result.kd_gain is None:
        return _without_control(result)
    reason = f"{_gain(result)}{_cost(result)}."
    return Verdict(LEADS[result.verdict], reason, _against_teacher(result))


def _gain(result: Result) -> str:
    assert result.kd_gain is not None
    scope = result.protocol.interval
    bounds = numbers.signed_interval(result.kd_gain_ci95)
    text = f"the student's AUROC is {_apart(result.kd_gain)} the same network trained alone"
    if result.verdict == UNCLEAR:
        return f"{text}, and the 95 % interval {bounds} includes zero ({scope})"
    return f"{text} (95 % interval {bounds}, {scope})"


def _apart(difference: float) -> str:
    if numbers.signed(difference) == "0.00":
        return "level with that of"
    return f"{numbers.distance(difference)} {'above' if difference > 0 else 'below'}"


def _cost(result: Result) -> str:
    if result.compression is None:
        return ""
    ratio = result.compression.macs
    if ratio is None:
        return (
            f", scoring batches of 64 at {numbers.times(result.compression.latency_batch_64)} times its teacher's rate"
        )
    if not math.isfinite(ratio) or ratio <= 0:
        return ""
    if ratio >= 1:
        return f", at {numbers.times(ratio)} times fewer MACs than its teacher"
    return f", at {numbers.times(1 / ratio)} times more MACs than its teacher"


def _against_teacher(result: Result) -> str:
    difference = result.student_minus_teacher
    if difference is None:
        return ""
    bounds = numbers.signed_interval(result.student_minus_teacher_ci95)
    return f"Its AUROC is {_apart(difference)} its teacher's (95 % interval {bounds})."


def _auroc(result: Result) -> str:
    student = result.student
    return f"AUROC {numbers.percent(student.auroc)} (95 % interval {numbers.interval(student.auroc_ci95)})"


def _without_control(result: Result) -> Verdict:
    if alone(result):
        reason = f"{_auroc(result)}. There is no teacher and no control, so nothing is said of distillation."
        return Verdict("One detector, trained alone", reason)
    reason = f"the student reaches {_auroc(result)}{_cost(result)}"
    if result.control is None:
        why = "No control was trained, so nothing says how much of that the teacher gave."
        return Verdict("No verdict on distillation", f"{reason}. {why}", _against_teacher(result))
    why = "The paired interval of student and control is missing, so their difference is not judged."
    return Verdict("No verdict on distillation", f"{reason}. {why}", _against_teacher(result))


def _without_anomalies(result: Result) -> Verdict:
    who = label(result, "student")
    wanted = numbers.percent(result.protocol.wanted_false_positive_rate)
    reached = numbers.percent(result.student.fpr_at_threshold)
    reason = (
        f"the test set has no anomalies, so only false alarms can be judged. The {who} flags {reached} of the "
        f"normal test samples ({wanted} wanted){_cost(result)}."
    )
    return Verdict("Detection was not measured", reason)


def facts(result: Result) -> tuple[Fact, ...]:
    """Return the three or four figures that a reader takes away."""
    return tuple(fact for fact in (_quality(result), _worth(result), *_savings(result)) if fact is not None)


def _quality(result: Result) -> Fact:
    if result.student.auroc is None:
        wanted = numbers.percent(result.protocol.wanted_false_positive_rate)
        return Fact("False alarms", numbers.percent(result.student.fpr_at_threshold), f"{wanted} wanted")
    name = f"AUROC of the {label(result, 'student')}"
    if result.teacher is not None:
        return Fact(name, numbers.percent(result.student.auroc), f"teacher {numbers.percent(result.teacher.auroc)}")
    return Fact(name, numbers.percent(result.student.auroc), numbers.interval(result.student.auroc_ci95))


def _worth(result: Result) -> Fact | None:
    if result.kd_gain is None:
        return None
    bounds = numbers.signed_interval(result.kd_gain_ci95)
    return Fact("Gain over the control", numbers.points(result.kd_gain), f"95 % interval {bounds}")


def _savings(result: Result) -> tuple[Fact, ...]:
    student, teacher, ratios = result.student, result.teacher, result.compression
    if ratios is None or teacher is None:
        latency = numbers.milliseconds(student.latency_ms.get("batch_1"))
        note = f"{numbers.count(student.params)} parameters"
        return (Fact("Cost", numbers.macs(student.macs), note), Fact("Latency, batch 1", latency))
    macs = f"MACs: {numbers.count(teacher.macs)} to {numbers.count(student.macs)}"
    before, after = (numbers.milliseconds(arm.latency_ms.get("batch_1")) for arm in (teacher, student))
    return (
        Fact("Compression", numbers.ratio(ratios.macs), macs),
        Fact("Speed-up, batch 1", numbers.ratio(ratios.latency_batch_1), f"{before} to {after}"),
    )


def cautions(result: Result) -> tuple[str, ...]:
    """Return what would make a careful reader trust the figures less; empty where nothing does."""
    found = [_labels(result), _idle_teacher(result), _false_alarms(result), *_collapsed(result), _disputed(result)]
    return tuple(text for text in found if text)


def _labels(result: Result) -> str:
    protocol = result.protocol
    if protocol.labels_used_in_training:
        return "Labels were used in training: the figures are no one-class figures."
    return "" if protocol.eval_mode else "Scores were computed in training mode: batch statistics leak into them."


def _idle_teacher(result: Result) -> str:
    teacher, control = result.teacher, result.control
    if teacher is None or control is None or teacher.auroc is None or control.auroc is None:
        return ""
    # What the student learned from may be the teacher as it came to be: trained along, or calibrated first.
    after = result.teacher_after.auroc if result.teacher_after is not None else None
    if max(teacher.auroc, after or 0.0) > control.auroc:
        return ""
    return "The teacher is no better than the small network trained alone: there was little to hand on."


def _false_alarms(result: Result) -> str:
    reached, wanted = result.student.fpr_at_threshold, result.protocol.wanted_false_positive_rate
    if reached is None or reached <= 2 * wanted:
        return ""
    return (
        f"At its threshold the {label(result, 'student')} flags {numbers.percent(reached)} of the normal test samples, "
        f"more than twice the wanted {numbers.percent(wanted)}."
    )


def _collapsed(result: Result) -> list[str]:
    samples = result.data.test_normal + result.data.test_anomaly
    return [
        f"The {label(result, name)} gives only {arm.distinct_scores} distinct scores to {samples} samples."
        for name, arm in arms(result).items()
        if arm.distinct_scores < samples / 2
    ]


def _disputed(result: Result) -> str:
    totals = {count["macs"] for count in counts_of(result.counters).values() if count.get("macs") is not None}
    if len(totals) < 2:
        return ""
    shown = ", ".join(numbers.whole(total) for total in sorted(totals))
    return f"The counters disagree on the student's MACs: {shown}."
