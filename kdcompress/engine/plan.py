"""How a stage computes on this machine: precision, memory format and arithmetic, chosen by measurement."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import time
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from kdcompress.architectures.folded import folded
from kdcompress.errors import InputError
from kdcompress.types import Pair

Part = TypeVar("Part", bound=nn.Module)

Precision: TypeAlias = Literal["auto", "fp32", "bf16"]
Switch: TypeAlias = bool | Literal["auto"]

# A choice other than plain float32 has to earn its place by more than the noise of the measurement.
_GAIN = 1.1
_ROUNDS = 4

# A candidate this many times slower than the best on a few samples is not measured on a whole batch: bfloat16 on a
# processor without instructions for it takes thirty times as long as float32.
_HOPELESS = 3.0
_FEW = 8
_SIDE = 256
"""Rows and columns of the matrices whose product says what bfloat16 is worth here."""


@dataclass(frozen=True)
class Plan:
    """How a stage computes.

    ``folded`` says whether what is trained has its strided convolutions folded (`architectures.folded`), ``compiled``
    whether it goes through ``torch.compile``.

    ``measured_ms`` has the candidates' times for one training step of one detector; that of a hopeless one is
    extrapolated from a few samples.
    """

    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
    folded: bool = False
    compiled: bool = False
    measured_ms: tuple[tuple[str, float], ...] = ()

    def autocast(self, device: torch.device) -> torch.autocast:
        """Return the context in which forward passes run."""
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format of images and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def network(self, part: Part) -> Part:
        """Return a detector or critic as it is computed in training; it shares the weights of the given one."""
        part = folded(part) if self.folded else part
        return torch.compile(part) if self.compiled else part  # type: ignore[return-value]


def device_for(name: str) -> torch.device:
    """Return the device of a name: ``auto`` takes CUDA where there is one.

    Raises:
        InputError: where the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in {"cpu", "cuda"}:
        raise InputError(f"--device {name}: unknown device (allowed: auto, cpu, cuda)")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA device is visible to torch here (allowed here: auto, cpu)")
    return torch.device(name)


def choose(
    pair: Pair,
    x: Tensor,
    *,
    precision: Precision,
    channels_last: Switch,
    fold: Switch,
    compiled: bool = False,
    known: MutableMapping[str, Any],
) -> Plan:
    """Return the fastest allowed plan for training a pair on batches like ``x`` [N, ...].

    What was measured before for the same network, batch, machine and threads is taken from ``known`` and new
    measurements are put there: so runs on one machine compute alike, to the bit.
    """
    plans = _candidates(x, precision, channels_last, fold)
    if compiled:
        _check_compiler(x.device)
    if len(plans) == 1:
        return replace(plans[0], compiled=compiled)
    key = _key(pair, x)
    everything = _candidates(x, "auto", "auto", "auto")
    if set(known.get(key, ())) != set(map(_label, everything)):
        known[key] = _milliseconds(pair, x, everything)
    times: dict[str, float] = {_label(plan): known[key][_label(plan)] for plan in plans}
    fastest = min(plans, key=lambda plan: times[_label(plan)])
    worth = times[_label(fastest)] * _GAIN < times[_label(plans[0])]
    return replace(fastest if worth else plans[0], compiled=compiled, measured_ms=tuple(times.items()))


def _check_compiler(device: torch.device) -> None:
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise InputError(
            f"engine.compile: torch.compile needs a C++ compiler, and there is no {compiler} (allowed: false)"
        )


def _candidates(x: Tensor, precision: Precision, channels_last: Switch, fold: Switch) -> list[Plan]:
    precisions: list[Literal["fp32", "bf16"]] = ["fp32", "bf16"] if precision == "auto" else [precision]
    if channels_last is True and x.ndim != 4:
        raise InputError(
            "engine.channels_last: only images [N, C, H, W] have that memory format (allowed: auto, false)"
        )
    formats, folds = ([False, True] if asked == "auto" else [asked] for asked in (channels_last, fold))
    if x.ndim != 4:
        formats = folds = [False]
    return [Plan(chosen, last, fold) for fold, chosen, last in itertools.product(folds, precisions, formats)]


def _label(plan: Plan) -> str:
    memory_format = "channels_last" if plan.channels_last else "contiguous"
    return f"{plan.precision} {memory_format}{' folded' if plan.folded else ''}"


def _key(pair: Pair, x: Tensor) -> str:
    machine = torch.cuda.get_device_name() if x.is_cuda else torch.backends.cpu.get_cpu_capability()
    facts = (torch.__version__, machine, torch.get_num_threads(), repr(pair), tuple(x.shape))
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _milliseconds(pair: Pair, x: Tensor, plans: list[Plan]) -> dict[str, float]:
    """Return the time of a forward and backward pass by each plan.

    The plans take turns, and the shortest time of each counts: whatever else the machine does can only add. Gradients
    are thrown away, buffers put back.
    """
    buffers = {name: value.clone() for name, value in pair.detector.named_buffers()}
    slower = _bf16_over_fp32(x.device)
    tried = [plan for plan in plans if plan.precision == "fp32" or slower <= _HOPELESS]
    few = _shortest(pair, x[:_FEW], tried, rounds=2)
    # Without instructions for it a step in bfloat16 takes seconds: it is not taken to see how many.
    few |= {_label(plan): slower * few[_label(replace(plan, precision="fp32"))] for plan in plans if plan not in tried}
    promising = [plan for plan in plans if few[_label(plan)] <= _HOPELESS * min(few.values())]
    times = {label: seconds * max(1.0, len(x) / _FEW) for label, seconds in few.items()}
    times |= _shortest(pair, x, promising, rounds=_ROUNDS)
    pair.detector.to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        for name, value in pair.detector.named_buffers():
            value.copy_(buffers[name])
    return {label: round(1000 * seconds, 3) for label, seconds in times.items()}


def _bf16_over_fp32(device: torch.device) -> float:
    """Return the time of a small matrix product in bfloat16 over that in float32."""
    one = torch.ones(_SIDE, _SIDE, device=device)
    shortest = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, taken = one.to(dtype), []
        for _ in range(4):
            start = time.perf_counter()
            x @ x
            if x.is_cuda:
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
        shortest[dtype] = min(taken[1:])
    return shortest[torch.bfloat16] / shortest[torch.float32]


def _shortest(pair: Pair, x: Tensor, plans: list[Plan], *, rounds: int) -> dict[str, float]:
    """Return the shortest seconds of each plan, after a round that warms up."""
    rows = [[_seconds(pair, x, plan) for plan in plans] for _ in range(rounds + 1)]
    return {_label(plan): min(column) for plan, column in zip(plans, zip(*rows[1:], strict=True), strict=True)}


def _seconds(pair: Pair, x: Tensor, plan: Plan) -> float:
    detector = plan.network(pair.detector.to(memory_format=plan.memory_format))
    x = x.contiguous(memory_format=plan.memory_format)
    params = [param for param in detector.parameters() if param.requires_grad]
    start = time.perf_counter()
    with plan.autocast(x.device):
        total = sum(value.float().square().mean() for value in detector(x).values())
    torch.autograd.grad(total, params, allow_unused=True)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def as_json(plan: Plan) -> dict[str, Any]:
    """Return the plan for ``environment.json``."""
    return {**asdict(plan), "measured_ms": dict(plan.measured_ms)}


def from_json(plain: dict[str, Any]) -> Plan:
    """Return the plan that `as_json` wrote."""
    return Plan(**{**plain, "measured_ms": tuple(plain["measured_ms"].items())})
