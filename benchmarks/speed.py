"""How fast the engine trains and scores, as ratios measured in one run.

    python benchmarks/speed.py [--json] [--rows NAME ...]

The first reference is `reference_loop.py` in float32 and contiguous memory; the tuned one is the same loop in
channels-last, and in bfloat16 where that is faster. The engine computes as it would in a run: what it measures to be
fastest. Epochs of all ways are interleaved, the first does not count, medians are compared. Time it on an idle machine.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import reference_loop as reference
import torch
from reference_loop import Way
from torch import Tensor

from kdcompress.architectures.ede_gan import ede_gan
from kdcompress.engine import plan as plans
from kdcompress.engine.batched import fit_batched
from kdcompress.engine.events import EpochDone, Event
from kdcompress.engine.fit import fit
from kdcompress.engine.plan import Plan
from kdcompress.environment import describe
from kdcompress.profiling.counters import macs
from kdcompress.profiling.latency import latency_ms
from kdcompress.stage import Stage, fed
from kdcompress.strategies.frozen import frozen
from kdcompress.strategies.joint import joint
from kdcompress.strategies.scratch import scratch
from kdcompress.types import Pair, Scorer, interface

DEVICE = torch.device("cpu")
IMAGE = (1, 32, 32)
TEACHER, STUDENT, COUNT = 64, 3, 10
EPOCHS = 4
Row = dict[str, Any]
KNOWN: dict[str, Any] = {}


class Forget:
    """A slot that keeps nothing."""

    def read(self) -> bytes | None:
        """Return nothing."""
        return None

    def write(self, checkpoint: bytes, row: dict[str, Any] | None) -> None:
        """Keep nothing."""


def pair(base: int, seed: int = 0) -> Pair:
    """Return a GAN with so many channels in its first level."""
    torch.manual_seed(seed)
    return ede_gan(IMAGE, base=base)


def images(count: int) -> Tensor:
    """Return random images: what they show costs no time."""
    return torch.randint(0, 256, (count, *IMAGE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def chosen(one: Pair, batch_size: int, channels_last: plans.Switch, fold: plans.Switch) -> Plan:
    """Return how the engine would train a pair on this machine, with the choice that it is left."""
    x = one.detector.prepare(images(batch_size))
    one.detector.train()
    return plans.choose(one, x, precision="auto", channels_last=channels_last, fold=fold, known=KNOWN)


def fastest(one: Pair, batch_size: int = reference.BATCH) -> Plan:
    """Return how the engine would train a pair on this machine."""
    return chosen(one, batch_size, "auto", "auto")


def tuned(one: Pair) -> Way:
    """Return the tuned reference's way: channels-last, in bfloat16 where that is faster."""
    return Way(torch.channels_last, chosen(one, reference.BATCH, True, False).precision == "bf16")


def engine(stages: tuple[Stage, ...], student: Pair, teacher: Pair | None, raw: Tensor, plan: Plan) -> Iterator[float]:
    """Train by the engine and yield the seconds of each epoch."""
    return seconds(fit(stages, student, teacher, raw, device=DEVICE, plan_for=lambda _: plan, seed=0, slot=Forget()))


def together(
    stages: tuple[Stage, ...], count: int, teacher: Pair, raw: Tensor, plan: Plan | None = None
) -> Iterator[float]:
    """Train several small students as one and yield the seconds of each epoch; without a plan, the fastest."""
    many = [pair(STUDENT, seed) for seed in range(count)]
    return seconds(
        fit_batched(
            stages,
            many,
            teacher,
            raw,
            device=DEVICE,
            plan_for=lambda stage, joint: plan or fastest(joint, stage.batch_size),
            seed=0,
            slot=Forget(),
        )
    )


def seconds(events: Iterator[Event]) -> Iterator[float]:
    """Yield the seconds of each epoch."""
    return (event.row["seconds"] for event in events if isinstance(event, EpochDone))


def medians(ways: dict[str, Iterator[float]]) -> dict[str, float]:
    """Return the median seconds of an epoch of each way, their epochs interleaved, the first one left out."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(EPOCHS + 1):
        for name, epochs in ways.items():
            taken[name].append(next(epochs))
    return {name: statistics.median(values[1:]) for name, values in taken.items()}


def against(
    name: str, found: dict[str, float], wanted: tuple[float, float], count: int, plan: Plan | None
) -> list[Row]:
    """Return the rows of one comparison with both references."""
    note = f"engine {count / found['engine']:.0f} images/s{f' ({spelled(plan)})' if plan else ''}"
    return [
        row(
            f"{name}, over the {which} reference",
            found[which] / found["engine"],
            f">= {least}",
            f"{note}, reference {count / found[which]:.0f}",
        )
        for which, least in zip(("first", "tuned"), wanted, strict=True)
    ]


def row(name: str, value: float, wanted: str, note: str = "") -> Row:
    """Return one row, and whether it is what was wanted."""
    sign, _, limit = wanted.partition(" ")
    reached = value >= float(limit) if sign == ">=" else value <= float(limit)
    return {"name": name, "value": round(value, 3), "wanted": wanted, "reached": reached, "note": note}


def spelled(plan: Plan) -> str:
    """Return a plan in words."""
    parts = [plan.precision, "channels-last" if plan.channels_last else "contiguous", *["folded"] * plan.folded]
    return " ".join(parts)


def planned(strategy: Callable[..., tuple[Stage, ...]], raw: Tensor, taught: bool, **options: Any) -> tuple[Stage, ...]:  # noqa: ANN401
    """Return the stages of a small student, or of a teacher alone."""
    student = interface(pair(STUDENT if taught else TEACHER), raw[:2])
    teacher = interface(pair(TEACHER), raw[:2]) if taught else None
    return fed(strategy(student, teacher, epochs=EPOCHS + 1, **options), student, teacher)[0]


def teacher_rows() -> list[Row]:
    """Teacher training, and its share of the machine's rate."""
    raw = images(5 * reference.BATCH)
    x = pair(1).detector.prepare(raw)
    plan = fastest(pair(TEACHER))
    found = medians(
        {
            "engine": engine(planned(scratch, raw, False), pair(TEACHER), None, raw, plan),
            "first": reference.train_alone(pair(TEACHER), x, EPOCHS + 1, 4e-4, Way()),
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


def matrix_rate(dtype: torch.dtype) -> float:
    """Return the machine's multiply-accumulates a second in products of 2048 x 2048."""
    one, other = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
    taken = []
    for _ in range(9):
        started = time.perf_counter()
        one @ other
        taken.append(time.perf_counter() - started)
    return 2048**3 / statistics.median(taken)


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
            "first": reference.train_frozen(pair(STUDENT), copy.deepcopy(teacher), x, EPOCHS + 1, 2e-3, Way()),
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
            "first": loop(pair(STUDENT), pair(TEACHER, 9), x, EPOCHS + 1, 1e-3, 2e-5, Way()),
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
    teacher, student = (latency_ms(Scorer(pair(base).detector), raw, 64, seconds=3) for base in (TEACHER, STUDENT))
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


def startup_rows() -> list[Row]:
    """Seconds until a command has answered."""
    rows = []
    for command, limit in ((["--help"], 0.3), (["list"], 0.3)):
        taken = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", "kdcompress", *command], check=True, capture_output=True)
            taken.append(time.perf_counter() - started)
        rows.append(row(f"kdcompress {command[0]}, s", statistics.median(taken), f"<= {limit}"))
    return rows


ROWS: dict[str, Callable[[], list[Row]]] = {
    "startup": startup_rows,
    "scoring": scoring_rows,
    "frozen": frozen_rows,
    "batched": batched_rows,
    "teacher": teacher_rows,
    "joint": joint_rows,
    "scaling": scaling_rows,
}


def machine() -> dict[str, Any]:
    """Return what was computed on."""
    found = describe(DEVICE, torch.get_num_threads())
    kept = ("processor", "cpu_capability", "cpus", "threads", "python")
    return {**{key: found[key] for key in kept}, "torch": found["libraries"]["torch"]}


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.rows:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        found = ROWS[name]()
        rows += found
        for one in found:
            print(f"  {one['name']}: {one['value']} ({one['wanted']}) {one['note']}", file=sys.stderr, flush=True)
    if options.json:
        json.dump({"machine": machine(), "rows": rows}, sys.stdout, indent=1)
        print()
        return
    for one in rows:
        print(f"{one['name']:<58} {one['value']:>8.2f}  {one['wanted']:<8} {'' if one['reached'] else 'not reached'}")
        print(f"    {one['note']}" if one["note"] else "", end="\n" if one["note"] else "")


if __name__ == "__main__":
    main()
