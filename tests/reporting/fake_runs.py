"""Runs as a report meets them, made up but of realistic size."""

import dataclasses
import math

import numpy as np

from kdcompress.deployment import Agreement, Deployment, File, FileProfile, Latency
from kdcompress.reporting.record import RunRecord
from kdcompress.results import (
    HELPS,
    Arm,
    Compression,
    DataSummary,
    Fidelity,
    Named,
    Result,
    Seconds,
    StageScore,
    Target,
)

RECIPE = """\
name: pkdgan-mnist
seed: 0
data: {name: mnist, normal_class: 8}
teacher: {recipe: teacher-mnist}
student: {name: ede_gan, macs_ratio: 231.0}
strategy: {name: progressive}
"""
OPERATORS = {
    "teacher": {"conv": 35_651_584, "conv_transpose": 17_180_000},
    "student": {"conv": 147_456, "conv_transpose": 81_024},
}


def make_arm(auroc, macs, threshold, **changes):
    given = {
        "auroc": auroc,
        "auroc_ci95": (auroc - 0.006, auroc + 0.005),
        "average_precision": 0.9951,
        "fpr_at_95tpr": 0.168,
        "distinct_scores": 9_998,
        "threshold": threshold,
        "fpr_at_threshold": 0.0493,
        "tpr_at_threshold": 0.8012,
        "params": macs // 17,
        "macs": macs,
        "bytes": macs // 4,
        "latency_ms": {"batch_1": 0.045 + macs / 3.4e7, "batch_64": 1.34 + macs / 6.9e5},
        "peak_memory_bytes": 3_100_000 + macs // 2,
    }
    return Arm(**(given | changes))


def make_deployment():
    """Files of the run: a teacher whose file is off, a student, and the student in eight bits."""

    def make_file(size, milliseconds, rate, *, auroc, flipped=0, passed=True):
        latency = {f"batch_{n}": Latency(ms, 1.5 * ms) for n, ms in ((1, milliseconds), (64, 64_000 / rate))}
        rates = {"one_thread": float(rate), "all_threads": 2.0 * rate}
        cost = FileProfile(size, (1, 32, 32), 1, latency, rates, 2, 12_000_000)
        said = Agreement(passed, 10_500, "the test set", 1e-5, 4e-6, 0.9999, auroc[0], auroc[1], flipped)
        return File(size, said, cost)

    return Deployment(
        student=make_file(60_000, 0.06, 40_000, auroc=(0.9586, 0.9586)),
        teacher=make_file(4_000_000, 1.8, 800, auroc=(0.9593, 0.9593), passed=False),
        int8=make_file(30_000, 0.09, 35_000, auroc=(0.9586, 0.9571), flipped=31),
        notes=("teacher.onnx: scores differ",),
        machine={"processor": "AMD EPYC 9R14", "cpus": 2},
    )


def make_counters(arm):
    operators = OPERATORS[arm]
    total = sum(operators.values())
    return {
        "fvcore": {"macs": total, "operators": operators, "other_ops": 11_904},
        "thop": {"macs": total, "operators": {}, "other_ops": 0},
        "torch": {"macs": total, "operators": operators, "other_ops": 0},
        "uncounted": {"aten::leaky_relu": 9, "aten::tanh": 1},
    }


def make_result(**changes):
    student_macs, teacher_macs = (sum(OPERATORS[arm].values()) for arm in ("student", "teacher"))
    given = {
        "recipe": "pkdgan-mnist",
        "digest": "5f0c2a9be1d4",
        "seed": 0,
        "data": DataSummary("mnist", 8, 5_266, 585, 974, 9_026, (1, 32, 32)),
        "strategy": Named("progressive", {"epochs": 20, "joint": True, "note": None}),
        "student_architecture": Named("ede_gan", {"width": 0.047}),
        "teacher_architecture": Named("ede_gan", {"width": 1.0}),
        "teacher": make_arm(0.9593, teacher_macs, 0.0412),
        "teacher_after": make_arm(0.9621, teacher_macs, 0.0392),
        "control": make_arm(0.9466, student_macs, 0.0601),
        "student": make_arm(
            0.9586,
            student_macs,
            0.0521,
            stages=(StageScore("step 1: frozen teacher", 0.9521), StageScore("step 2: joint", 0.9586)),
        ),
        "compression": Compression(teacher_macs / student_macs, 203.0, 189.4, 35.6, 58.2),
        "verdict": HELPS,
        "kd_gain": 0.012,
        "kd_gain_ci95": (0.004, 0.02),
        "student_minus_teacher": -0.0007,
        "student_minus_teacher_ci95": (-0.0051, 0.0036),
        "fidelity": Fidelity(0.914, 0.9312),
        "target": Target("macs_ratio", 231.0, 231.23, 0.047),
        "counters": make_counters("student"),
        "teacher_counters": make_counters("teacher"),
        "seconds": Seconds(212.4, {"step 1: frozen teacher": 41.2, "step 2: joint": 92.4, "control": 48.0}, 402.8),
        "version": "0.1.0",
    }
    return Result(**(given | changes))


def make_scores(seed=0, normals=974, anomalies=9_026):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [normals, anomalies])
    skill = {"teacher": 1.75, "teacher_after": 1.8, "control": 1.6, "student": 1.74}
    hardness = rng.normal(size=labels.size)
    scores = {"labels": labels}
    for name, shift in skill.items():
        own = 0.8 * hardness + 0.6 * rng.normal(size=labels.size)
        scores[name] = 0.02 * np.exp(0.55 * (own + 1.45 * shift * labels))
    for name in ("teacher", "control", "student"):
        scores[f"validation_{name}"] = 0.02 * np.exp(0.55 * rng.normal(size=585))
    return scores


def _decay(epoch, start, rate, floor, wobble):
    return floor + (start - floor) * math.exp(-rate * epoch) * (1 + wobble * math.sin(7.3 * epoch))


def _stage(arm, stage, epochs, losses):
    return [
        {
            "arm": arm,
            "stage": stage,
            "epoch": epoch,
            "epochs": epochs,
            "step": (epoch + 1) * 82,
            "learning_rate": {"student.detector": 0.002 * (1 - epoch / epochs)},
            "losses": {name: _decay(epoch, *shape) for name, shape in losses.items()},
            "images_per_second": 5_100.0,
            "seconds": 2.1,
            "retries": 0,
        }
        for epoch in range(epochs)
    ]


def make_history():
    gan = {
        "reconstruction": (0.31, 0.5, 0.045, 0.05),
        "latent": (0.09, 0.4, 0.004, 0.2),
        "feature_matching": (0.6, 0.2, 0.11, 0.3),
    }
    distil = {"student.distil_latent": (0.4, 0.3, 0.011, 0.1), "student.distil_reconstruction": (0.2, 0.3, 0.02, 0.1)}
    own = {f"student.{name}": shape for name, shape in gan.items()}
    joint = {"student.distil_latent": (0.02, 0.3, 0.009, 0.1), "student.distil_reconstruction": (0.03, 0.3, 0.017, 0.1)}
    moved = {f"teacher.{name}": (0.08, 0.2, floor, 0.1) for name, (_, _, floor, _) in gan.items()}
    return (
        *_stage("teacher", "scratch", 12, {f"teacher.{name}": shape for name, shape in gan.items()}),
        *_stage("student", "step 1: frozen teacher", 20, distil),
        *_stage("student", "step 2: joint", 5, joint | own | moved),
        *_stage("control", "scratch", 25, own),
    )


ENVIRONMENT = {
    "python": "3.11.9",
    "torch": "2.6.0+cpu",
    "platform": "Linux-6.1-x86_64",
    "threads": 2,
    "cuda": None,
    "hardware": {"cpu": "AMD EPYC 9R14", "gpus": []},
}


def make_samples(colours=1, arms=("teacher", "control", "student")):
    rng = np.random.default_rng(3)
    group = np.repeat(["missed", "false alarms", "disagreement", "typical"], 6)
    images = {name: rng.integers(0, 256, (24, colours, 9, 7), np.uint8) for name in ("input", *arms)}
    return {
        "group": group,
        "index": rng.permutation(10_000)[:24],
        "label": np.repeat([1, 0, 1, 0, 1], [6, 6, 2, 7, 3]).astype(np.uint8),
        "input": images["input"],
        **{f"percentile_{arm}": rng.uniform(0, 100, 24) for arm in arms},
        **{f"reconstruction_{arm}": images[arm] for arm in arms},
    }


def make_record(result=None, **changes):
    given = {
        "result": result or make_result(),
        "history": make_history(),
        "scores": make_scores(),
        "environment": ENVIRONMENT,
        "recipe": RECIPE,
        "samples": make_samples(),
    }
    return RunRecord(**(given | changes))


BARE = {
    "teacher": None,
    "teacher_after": None,
    "teacher_architecture": None,
    "control": None,
    "compression": None,
    "verdict": None,
    "kd_gain": None,
    "kd_gain_ci95": None,
    "student_minus_teacher": None,
    "student_minus_teacher_ci95": None,
    "fidelity": None,
    "target": None,
    "counters": {},
    "teacher_counters": {},
}
UNSCORED = {
    "auroc": None,
    "auroc_ci95": None,
    "average_precision": None,
    "fpr_at_95tpr": None,
    "tpr_at_threshold": None,
}


def without_anomalies():
    """A complete run whose test set holds normals alone."""
    result = make_result()
    arms = {
        name: dataclasses.replace(getattr(result, name), **UNSCORED)
        for name in ("teacher", "teacher_after", "control", "student")
    }
    unjudged = {name: None for name in BARE if name.startswith(("kd_gain", "student_minus", "verdict"))}
    data = dataclasses.replace(result.data, test_anomaly=0)
    return make_record(dataclasses.replace(result, **arms, **unjudged, data=data), scores=make_scores(anomalies=0))
