"""How much faster ten students train at once than one by one.

Epochs of both are interleaved in one process, so that whatever else the machine does falls on both; the first epoch is
not counted. Each way gets the fastest of float32 and bfloat16, contiguous and channels-last. One by one is the median
epoch of one student, times K.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from typing import Any

import torch

from kdcompress.architectures.ede_gan import ede_gan
from kdcompress.engine.batched import fit_batched
from kdcompress.engine.events import EpochDone, Event
from kdcompress.engine.fit import fit
from kdcompress.engine.plan import Plan
from kdcompress.stage import fed
from kdcompress.strategies.frozen import frozen
from kdcompress.types import Pair, interface

DEVICE = torch.device("cpu")
PLANS = (Plan("fp32"), Plan("bf16"), Plan("fp32", channels_last=True), Plan("bf16", channels_last=True))
KINDS = ("one by one", "at once")


class _Forget:
    """A slot that keeps nothing."""

    def read(self) -> bytes | None:
        return None

    def write(self, checkpoint: bytes, row: dict[str, Any] | None) -> None:
        pass


def _epochs(events: Iterator[Event]) -> Iterator[float]:
    return (event.row["seconds"] for event in events if isinstance(event, EpochDone))


def _pair(base: int, seed: int) -> Pair:
    torch.manual_seed(seed)
    return ede_gan((1, 32, 32), base=base)


def measure(count: int, base: int, gan: bool, batch_size: int, steps: int, epochs: int) -> dict[str, Any]:
    """Return the median milliseconds of one step of one student and of all, by precision, and their ratio."""
    raw = torch.randint(0, 256, (steps * batch_size, 1, 32, 32), dtype=torch.uint8)
    teacher = _pair(16, 0)
    sides = interface(_pair(base, 1), raw[:2]), interface(teacher, raw[:2])
    stages, _ = fed(frozen(*sides, gan=gan, epochs=epochs + 1, batch_size=batch_size), *sides)
    ways: dict[str, Iterator[float]] = {}
    for plan in PLANS:
        form = f"{plan.precision}{' channels_last' if plan.channels_last else ''}"
        ways[f"one by one {form}"] = _epochs(
            fit(
                stages,
                _pair(base, 1),
                teacher,
                raw,
                device=DEVICE,
                plan_for=lambda stage, plan=plan: plan,
                seed=0,
                slot=_Forget(),
            )
        )
        ways[f"at once {form}"] = _epochs(
            fit_batched(
                stages,
                [_pair(base, seed) for seed in range(count)],
                teacher,
                raw,
                device=DEVICE,
                plan_for=lambda stage, pair, plan=plan: plan,
                seed=0,
                slot=_Forget(),
            )
        )
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(epochs + 1):
        for way, times in ways.items():
            seconds[way].append(next(times))
    step = {way: 1000 * statistics.median(times[1:]) / steps for way, times in seconds.items()}
    step = {way: ms * count if way.startswith("one by one") else ms for way, ms in step.items()}
    alone, together = (min((w for w in step if w.startswith(kind)), key=step.__getitem__) for kind in KINDS)
    return {
        "base": base,
        "gan": gan,
        "batch_size": batch_size,
        "students": count,
        "milliseconds": {way: round(ms, 3) for way, ms in step.items()},
        "one_by_one": alone,
        "at_once": together,
        "ratio": round(step[alone] / step[together], 2),
    }


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--students", type=int, default=10)
    parser.add_argument("--bases", type=int, nargs="+", default=[2, 3, 13], help="channels of the first level")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="steps of an epoch")
    parser.add_argument("--epochs", type=int, default=7, help="epochs that count")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [
        measure(options.students, base, gan, batch_size, options.steps, options.epochs)
        for base in options.bases
        for gan in (False, True)
        for batch_size in (16, 64)
    ]
    if options.json:
        json.dump({"torch": torch.__version__, "threads": options.threads, "rows": rows}, sys.stdout, indent=1)
        return
    print(f"{options.students} students, {options.threads} threads; milliseconds of one step of all, the fastest way")
    for row in rows:
        ms, gan = row["milliseconds"], "with gan" if row["gan"] else "distilling"
        print(
            f"base {row['base']:>2}  batch {row['batch_size']:>2}  {gan}"
            f"  {ms[row['one_by_one']]:>7.1f} {row['one_by_one']}"
            f"  {ms[row['at_once']]:>7.1f} {row['at_once']}  ratio {row['ratio']:.2f}"
        )


if __name__ == "__main__":
    main()
