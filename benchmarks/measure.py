"""What the rows of `speed.py` share: networks, images, ways of training, and how their times become rows."""

from __future__ import annotations

import statistics
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
from kdcompress.stage import Stage, fed
from kdcompress.types import Pair, interface

IMAGE = (1, 32, 32)
TEACHER, STUDENT = 64, 3
EPOCHS = 4
Row = dict[str, Any]
KNOWN: dict[str, Any] = {}
_USED = [torch.device("cpu")]


def use(name: str) -> None:
    """Measure on a device from now on; without a call it is the CPU.

    Raises:
        InputError: where the device is not there.
    """
    _USED[0] = plans.device_for(name)


def place() -> torch.device:
    """Return what is measured on."""
    return _USED[0]


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
    x = one.detector.prepare(images(batch_size).to(place()))
    one.detector.to(place()).train()
    return plans.choose(one, x, precision="auto", channels_last=channels_last, fold=fold, known=KNOWN)


def fastest(one: Pair, batch_size: int = reference.BATCH) -> Plan:
    """Return how the engine would train a pair on this machine."""
    return chosen(one, batch_size, "auto", "auto")


def plain() -> Way:
    """Return the first reference's way: as one first writes it."""
    return Way(place())


def tuned(one: Pair) -> Way:
    """Return the tuned reference's way: channels-last, in bfloat16 where that is faster."""
    return Way(place(), torch.channels_last, chosen(one, reference.BATCH, True, False).precision == "bf16")


def planned(strategy: Callable[..., tuple[Stage, ...]], raw: Tensor, taught: bool, **options: Any) -> tuple[Stage, ...]:  # noqa: ANN401
    """Return the stages of a small student, or of a teacher alone."""
    student = interface(pair(STUDENT if taught else TEACHER), raw[:2])
    teacher = interface(pair(TEACHER), raw[:2]) if taught else None
    return fed(strategy(student, teacher, epochs=EPOCHS + 1, **options), student, teacher)[0]


def engine(stages: tuple[Stage, ...], student: Pair, teacher: Pair | None, raw: Tensor, plan: Plan) -> Iterator[float]:
    """Train by the engine and yield the seconds of each epoch."""
    return seconds(fit(stages, student, teacher, raw, device=place(), plan_for=lambda _: plan, seed=0, slot=Forget()))


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
            device=place(),
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


def matrix_rate(dtype: torch.dtype) -> float:
    """Return the machine's multiply-accumulates a second in products of 2048 x 2048."""
    one, other = (torch.randn(2048, 2048, device=place()).to(dtype) for _ in range(2))
    taken = []
    for _ in range(9):
        started = time.perf_counter()
        one @ other
        reference.wait(place())
        taken.append(time.perf_counter() - started)
    return 2048**3 / statistics.median(taken)


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


def skipped(name: str, wanted: str, why: str) -> Row:
    """Return a row that was not measured."""
    return {"name": name, "value": None, "wanted": wanted, "reached": None, "note": f"skipped: {why}"}


def spelled(plan: Plan) -> str:
    """Return a plan in words."""
    parts = [plan.precision, "channels-last" if plan.channels_last else "contiguous", *["folded"] * plan.folded]
    return " ".join(parts)
