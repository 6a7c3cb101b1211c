"""What training in bfloat16 does to AUROC, against float32, over several seeds.

    python benchmarks/precision.py [--recipe NAME] [--set KEY=VALUE ...] [--seeds N] [--emulated] [--json]

Each seed is one run in either precision: same first weights, same batches. Scores are always computed in float32. On a
processor without instructions for bfloat16 a step in it takes thirty times as long; with ``--emulated`` products are
computed in float32 from operands rounded to bfloat16, and everything that autocast would hold in bfloat16 is rounded to
it, gradients too: what a matrix unit does, which multiplies in bfloat16 and adds in float32. How near that comes to
torch's own bfloat16 is measured first, on one batch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from measure import TEACHER, images, pair
from scipy import stats
from torch import Tensor
from torch.overrides import TorchFunctionMode

from kdcompress import pipeline
from kdcompress import recipe as recipes
from kdcompress.engine.plan import Plan
from kdcompress.environment import describe

ARMS = ("teacher", "student")
PRODUCTS = {torch.conv2d, torch.conv_transpose2d, torch.nn.functional.linear, torch.bmm, torch.matmul}


class Rounded(TorchFunctionMode):
    """Float32 arithmetic on numbers that bfloat16 can hold."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call a function on rounded operands where it is a product, and round what it returns."""
        given = [rounded(one) for one in args] if func in PRODUCTS else args
        return rounded(func(*given, **(kwargs or {})))


def rounded(value: Any) -> Any:  # noqa: ANN401
    """Return a float32 tensor rounded to bfloat16, its gradient rounded too; anything else as it is."""
    return value.bfloat16().float() if isinstance(value, Tensor) and value.dtype == torch.float32 else value


@contextlib.contextmanager
def emulated() -> Iterator[None]:
    """Within, plans of bfloat16 compute in rounded float32."""

    def autocast(plan: Plan, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        return Rounded() if plan.precision == "bf16" else contextlib.nullcontext()

    with patch.object(Plan, "autocast", autocast):
        yield


def nearness() -> dict[str, float]:
    """Return how far a detector's outputs and gradients are from torch's bfloat16: emulated, and in float32.

    Each is the mean absolute difference over the mean absolute value, the mean over outputs or parameters.
    """
    raw = images(2)
    found: dict[str, list[Tensor]] = {}
    for name, context in (
        ("own", torch.autocast("cpu", dtype=torch.bfloat16)),
        ("emulated", Rounded()),
        ("fp32", contextlib.nullcontext()),
    ):
        detector = pair(TEACHER // 8).detector.train()
        x = detector.prepare(raw)
        with context:
            outputs = detector(x)
        torch.stack([one.float().square().mean() for one in outputs.values()]).sum().backward()
        found[name] = [one.float().detach() for one in outputs.values()]
        found[f"{name} gradient"] = [one.grad for one in detector.parameters() if one.grad is not None]
    return {
        f"{name}{what}": float(
            torch.stack([relative(*both) for both in zip(found[f"{name}{what}"], own, strict=True)]).mean()
        )
        for what in ("", " gradient")
        for own in [found[f"own{what}"]]
        for name in ("emulated", "fp32")
    }


def relative(one: Tensor, other: Tensor) -> Tensor:
    """Return the mean absolute difference over the mean absolute value."""
    return (one - other).abs().mean() / other.abs().mean()


def auroc(name: str, overrides: Sequence[str], seed: int, precision: str) -> dict[str, float]:
    """Return the AUROC of each arm of one run in %."""
    fixed = ["control=false", "engine.channels_last=false", "engine.folded=false", f"engine.precision={precision}"]
    recipe = recipes.load(name, [*fixed, f"seed={seed}", f"teacher.seed={seed}", *overrides])
    with tempfile.TemporaryDirectory() as folder:
        result = pipeline.run(recipe, Path(folder), device="cpu").result
    return {arm: 100 * float(getattr(result, arm).auroc) for arm in ARMS}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return for each arm the mean of bfloat16 less float32 in points, and half of its 95 % interval."""
    found = {}
    for arm in ARMS:
        differences = [row["bf16"][arm] - row["fp32"][arm] for row in rows]
        half = float(stats.sem(differences) * stats.t.ppf(0.975, len(rows) - 1))
        found[arm] = {"mean": sum(differences) / len(rows), "half_interval": half}
    return found


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--emulated", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    near = nearness() if options.emulated else {}
    rows: list[dict[str, Any]] = []
    with emulated() if options.emulated else contextlib.nullcontext():
        for seed in range(options.seeds):
            row = {one: auroc(options.recipe, options.overrides, seed, one) for one in ("fp32", "bf16")}
            rows.append({"seed": seed, **row})
            print(rows[-1], file=sys.stderr, flush=True)
    found = summary(rows)
    if options.json:
        asked = {"recipe": options.recipe, "set": options.overrides, "emulated": options.emulated}
        machine = describe(torch.device("cpu"), torch.get_num_threads())
        kept = {key: machine[key] for key in ("processor", "cpu_capability", "threads")}
        plain = {"machine": {**kept, "torch": torch.__version__}, **asked, "nearness": near, "rows": rows}
        json.dump({**plain, "bf16_less_fp32": found}, sys.stdout, indent=1)
        print()
        return
    print(f"{options.recipe}: AUROC in bfloat16 less that in float32, points, {len(rows)} seeds")
    for arm, one in found.items():
        print(f"{arm:<8} {one['mean']:+.2f} ± {one['half_interval']:.2f}")


if __name__ == "__main__":
    main()
