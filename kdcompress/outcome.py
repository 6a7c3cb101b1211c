"""From trained detectors to a result: scores, costs, and what they say about each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from kdcompress import __version__, evaluation
from kdcompress.bundle import Bundle
from kdcompress.data.one_class import OneClassData
from kdcompress.planning import Planned
from kdcompress.profiling.profile import counters_json, profile
from kdcompress.recipe import EvaluationOptions, Recipe
from kdcompress.results import (
    Arm,
    Compression,
    DataSummary,
    Evaluation,
    Interval,
    Named,
    Profile,
    Protocol,
    Result,
    Seconds,
    StageScore,
    verdict,
)
from kdcompress.types import Detector


@dataclass(frozen=True)
class Scored:
    """A detector's scores of the test set [N] and of the validation normals [n]."""

    test: np.ndarray
    validation: np.ndarray


def scored(detector: Detector, data: OneClassData, device: torch.device) -> Scored:
    """Score a data set in float32 and eval mode; the detector moves to the device."""
    test = test_scores(detector, data, device)
    return Scored(test, evaluation.score(detector, data.validation, device=device))


def test_scores(detector: Detector, data: OneClassData, device: torch.device) -> np.ndarray:
    """Score the test set [N]; the detector moves to the device."""
    return evaluation.score(detector.to(device), data.test, device=device)


def evaluated(
    name: str, scores: Scored, data: OneClassData, wanted: EvaluationOptions, threshold: float | None = None
) -> Evaluation:
    """Evaluate scores at a threshold: the given one, else one that is chosen on validation normals as is wanted."""
    known = (scores.test, data.labels.numpy(), scores.validation)
    if threshold is not None:
        return evaluation.evaluate(*known, limit=threshold, what=name)
    rate, quantile = wanted.false_positive_rate, wanted.quantile
    return evaluation.evaluate(*known, false_positive_rate=rate, quantile=quantile, what=name)


def stage_score(name: str, scores: np.ndarray, data: OneClassData) -> StageScore:
    """Return the AUROC of test scores [N] at the end of a stage; None without anomalies or normals in the test set."""
    labels = data.labels.numpy()
    if labels.all() or not labels.any():
        return StageScore(name, None)
    return StageScore(name, evaluation.auroc(labels, scores))


def summary(data: OneClassData) -> DataSummary:
    """Count the samples."""
    anomalies = int(data.labels.sum())
    return DataSummary(
        data.name,
        data.normal_class,
        len(data.train),
        len(data.validation),
        len(data.test) - anomalies,
        anomalies,
        data.input_shape,
    )


def costs(bundles: Mapping[str, Bundle], data: OneClassData, device: torch.device) -> dict[str, Profile]:
    """Profile detectors one after another, with nothing beside them.

    Detectors of one architecture cost the same whatever their weights: they are measured once, so that a clock's noise
    does not look like a difference between a student and its control.
    """
    known: dict[str, Profile] = {}
    found = {}
    for name, one in bundles.items():
        key = repr((one.manifest.architecture, one.manifest.options))
        if key not in known:
            known[key] = profile(one.detector, data.test[:1], device=device)
        found[name] = known[key]
    return found


def result(
    recipe: Recipe,
    digest: str,
    data: OneClassData,
    architectures: Mapping[str, Named],
    scores: Mapping[str, Scored],
    profiles: Mapping[str, Profile],
    stages: Mapping[str, tuple[StageScore, ...]],
    planned: Planned,
    seconds: Seconds,
    machine: dict[str, str | int],
) -> Result:
    """Put together what a run found; the mappings have an entry for each arm there is."""
    arms = {
        name: Arm.of(evaluated(name, one, data, recipe.evaluation), profiles[name], stages.get(name, ()))
        for name, one in scores.items()
    }
    student, teacher, control = arms["student"], arms.get("teacher"), arms.get("control")
    gain, gain_ci = _difference(data, scores, "student", "control")
    difference, difference_ci = _difference(data, scores, "student", "teacher")
    assert recipe.strategy is not None, "a resolved recipe has a strategy"
    return Result(
        recipe=recipe.name,
        digest=digest,
        seed=recipe.seed,
        data=summary(data),
        strategy=Named(recipe.strategy.name, recipe.strategy.options),
        student_architecture=architectures["student"],
        teacher_architecture=architectures.get("teacher"),
        student=student,
        teacher=teacher,
        teacher_after=arms.get("teacher_after"),
        control=control,
        compression=compression(teacher, student) if teacher is not None else None,
        verdict=verdict(gain_ci),
        kd_gain=gain,
        kd_gain_ci95=gain_ci,
        student_minus_teacher=difference,
        student_minus_teacher_ci95=difference_ci,
        fidelity=evaluation.fidelity(
            scores["teacher"].test, scores["student"].test, teacher.threshold, student.threshold
        )
        if teacher is not None
        else None,
        target=planned.target,
        left_out=planned.left_out,
        counters=counters_json(profiles["student"]),
        teacher_counters=counters_json(profiles["teacher"]) if teacher is not None else {},
        protocol=Protocol(wanted_false_positive_rate=recipe.evaluation.wanted),
        seconds=seconds,
        machine=machine,
        version=__version__,
    )


def compression(teacher: Arm, student: Arm) -> Compression:
    """Return teacher over student."""
    return Compression(
        macs=teacher.macs / student.macs if teacher.macs and student.macs else None,
        params=teacher.params / student.params if teacher.params and student.params else None,
        bytes=teacher.bytes / student.bytes,
        latency_batch_1=teacher.latency_ms["batch_1"] / student.latency_ms["batch_1"],
        latency_batch_64=teacher.latency_ms["batch_64"] / student.latency_ms["batch_64"],
    )


def _difference(
    data: OneClassData, scores: Mapping[str, Scored], one: str, other: str
) -> tuple[float | None, Interval | None]:
    labels = data.labels.numpy()
    if other not in scores or labels.all() or not labels.any():
        return None, None
    return evaluation.paired_difference(labels, scores[one].test, scores[other].test)
