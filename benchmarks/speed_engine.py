"""Rows of `speed.py`: the engine's training and scoring, on random images."""

from __future__ import annotations

import copy

import reference_loop as reference
import torch
from measure import (
    EPOCHS,
    STUDENT,
    TEACHER,
    Row,
    against,
    engine,
    fastest,
    images,
    matrix_rate,
    medians,
    pair,
    place,
    plain,
    planned,
    row,
    spelled,
    together,
    tuned,
)

from kdcompress.engine.plan import Plan
from kdcompress.profiling.counters import macs
from kdcompress.profiling.latency import latency_ms
from kdcompress.strategies.frozen import frozen
from kdcompress.strategies.joint import joint
from kdcompress.strategies.scratch import scratch
from kdcompress.types import Scorer

COUNT = 10


def teacher_rows() -> list[Row]:
    """Teacher training, and its share of the machine's rate."""
    raw = images(5 * reference.BATCH)
    x = pair(1).detector.prepare(raw)
    plan = fastest(pair(TEACHER))
    found = medians(
        {
            "engine": engine(planned(scratch, raw, False), pair(TEACHER), None, raw, plan),
            "first": reference.train_alone(pair(TEACHER), x, EPOCHS + 1, 4e-4, plain()),
            "tuned": reference.train_alone(pair(TEACHER), x, EPOCHS + 1, 4e-4, tuned(pair(TEACHER))),
        }
    )
    one = pair(TEACHER)
    assert one.critic is not None
    forward, judged = macs(Scorer(one.detector), raw[:1]), macs(one.critic.get_submodule("features"), x[:1])
    # Forward, and gradients by input and weights: 3. The critic sees two images, learns from both, and passes one back.
    step = 3 * forward + 7 * judged
    rate = matrix_rate(torch.bfloat16 if plan.precision == "bf16" else torch.float32)
    share = 100 * step * len(raw) / found["engine"] / rate
    note = f"{step / 1e6:.0f} M MACs an image at {rate / 1e9:.1f} G MACs/s"
    return [
        *against("teacher training", found, (1.8, 1.3), len(raw), plan),
        row("share of the matrix rate in teacher training, %", share, ">= 60", note),
    ]


def frozen_rows() -> list[Row]:
    """Step 1 of one small student and of ten."""
    raw = images(10 * reference.BATCH)
    x = pair(1).detector.prepare(raw)
    teacher, plan = pair(TEACHER, 9), fastest(pair(STUDENT))
    stages = planned(frozen, raw, True)
    found = medians(
        {
            "engine": engine(stages, pair(STUDENT), copy.deepcopy(teacher), raw, plan),
            "ten": together(stages, COUNT, copy.deepcopy(teacher), raw),
            "first": reference.train_frozen(pair(STUDENT), copy.deepcopy(teacher), x, EPOCHS + 1, 2e-3, plain()),
            "tuned": reference.train_frozen(
                pair(STUDENT), copy.deepcopy(teacher), x, EPOCHS + 1, 2e-3, tuned(pair(TEACHER))
            ),
        }
    )
    ten = {"engine": found["ten"], "first": COUNT * found["first"], "tuned": COUNT * found["tuned"]}
    arithmetic = 3 * macs(Scorer(pair(STUDENT).detector), raw[:1]) * len(raw) / matrix_rate(torch.float32)
    return [
        *against("step 1, one small student", found, (10, 6), len(raw), plan),
        *against("step 1, ten small students", ten, (25, 15), COUNT * len(raw), None),
        row("a small student's step over its arithmetic", found["engine"] / arithmetic, "<= 4", f"{spelled(plan)}"),
    ]


def joint_rows() -> list[Row]:
    """Step 2."""
    raw = images(4 * reference.BATCH)
    x = pair(1).detector.prepare(raw)
    plan = fastest(pair(TEACHER))
    loop = reference.train_joint
    found = medians(
        {
            "engine": engine(planned(joint, raw, True), pair(STUDENT), pair(TEACHER, 9), raw, plan),
            "first": loop(pair(STUDENT), pair(TEACHER, 9), x, EPOCHS + 1, 1e-3, 2e-5, plain()),
            "tuned": loop(pair(STUDENT), pair(TEACHER, 9), x, EPOCHS + 1, 1e-3, 2e-5, tuned(pair(TEACHER))),
        }
    )
    return against("step 2, joint", found, (1.8, 1.3), len(raw), plan)


def batched_rows() -> list[Row]:
    """Ten students at once over one after another, the better form for each."""
    rows = []
    for batch_size, least in ((16, 4), (64, 3)):
        raw = images(10 * batch_size)
        teacher = pair(16, 9)
        stages = planned(frozen, raw, True, batch_size=batch_size)
        ways = {
            f"one {spelled(plan)}": engine(stages, pair(STUDENT), copy.deepcopy(teacher), raw, plan)
            for plan in (Plan(), Plan(channels_last=True), Plan(folded=True), Plan(channels_last=True, folded=True))
        } | {
            f"ten {spelled(plan)}": together(stages, COUNT, copy.deepcopy(teacher), raw, plan)
            for plan in (Plan(), Plan(channels_last=True))
        }
        found = medians(ways)
        one, ten = (min((k for k in found if k.startswith(kind)), key=found.__getitem__) for kind in ("one", "ten"))
        note = f"{one}: {found[one] * 100:.1f} ms a step; {ten}: {found[ten] * 100:.1f} ms"
        ratio = COUNT * found[one] / found[ten]
        rows.append(row(f"ten students at once, batch {batch_size}", ratio, f">= {least}", note))
    return rows


def scoring_rows() -> list[Row]:
    """Scoring, student over teacher."""
    raw = images(1)
    teacher, student = (
        latency_ms(Scorer(pair(base).detector), raw, 64, device=place(), seconds=3) for base in (TEACHER, STUDENT)
    )
    note = f"{64000 / teacher:.0f} and {64000 / student:.0f} images/s"
    return [row("scoring at batch 64, student over teacher", teacher / student, ">= 30", note)]


def scaling_rows() -> list[Row]:
    """Time per sample with many samples over that with few: a step costs what it costs."""
    few, many = images(1024), images(60 * 1024)
    stages = planned(frozen, few, True)
    plan = fastest(pair(STUDENT))
    found = medians({f"{len(raw)}": engine(stages, pair(STUDENT), pair(STUDENT, 9), raw, plan) for raw in (few, many)})
    ratio = found[f"{len(many)}"] / found[f"{len(few)}"] * len(few) / len(many)
    return [row("time per sample, 61,440 over 1,024 samples", ratio, "<= 1.1", spelled(plan))]
