"""Several pairs of one shape as one pair, so that small students train at the speed of a larger network.

Their channels stand side by side: what is [N, C, H, W] in one is [N, K * C, H, W] in K, and every layer keeps the
blocks of channels apart (convolutions by groups). Outside the network the students are a dimension: an output [N, ...]
of one is [N, K, ...] of K.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from kdcompress.architectures.grouped import RULES, Rule
from kdcompress.errors import InputError
from kdcompress.types import FEATURES, Critic, Detector, Outputs, Pair

_Module = TypeVar("_Module", bound=nn.Module)

# A wrong batched form is off by the size of the outputs; float32 in another order of summation by far less than this.
_TOLERANCE = 1e-3


class _BatchedDetector(Detector):
    """K detectors as one; ``x`` is [N, ...] where they share their data, else [N, K, ...]."""

    def __init__(self, inner: Detector, count: int, shared_data: bool) -> None:
        super().__init__()
        self.inner, self.count, self.shared_data = inner, count, shared_data

    def prepare(self, raw: Tensor) -> Tensor:
        if self.shared_data:
            return self.inner.prepare(raw)
        prepared: Tensor = self.inner.prepare(raw.flatten(0, 1)).unflatten(0, (-1, self.count))
        return prepared

    def forward(self, x: Tensor) -> Outputs:
        return _apart(self.inner(_beside(x, self.count, self.shared_data)), self.count)

    def extra_repr(self) -> str:
        return f"{self.count} students"


class _BatchedCritic(Critic):
    """K critics as one."""

    def __init__(self, inner: Critic, count: int, shared_data: bool) -> None:
        super().__init__()
        self.inner, self.count, self.shared_data = inner, count, shared_data

    def forward(self, x: Tensor, outputs: Outputs) -> Outputs:
        beside = {name: _together(name, value) for name, value in outputs.items()}
        return _apart(self.inner(_beside(x, self.count, self.shared_data), beside), self.count)


def _beside(x: Tensor, count: int, shared: bool) -> Tensor:
    """Put the students' inputs side by side: [N, C, ...], or [N, K, C, ...], to [N, K * C, ...]."""
    return torch.cat([x] * count, 1) if shared else x.flatten(1, 2)


def _apart(outputs: Outputs, count: int) -> dict[str, Tensor]:
    """Give the students a dimension: [N, K * C, ...] to [N, K, C, ...], and one number a sample, [N * K], to [N, K]."""

    def apart(name: str, value: Tensor) -> Tensor:
        if name == FEATURES:
            found: Tensor = value.unflatten(-1, (count, -1)).movedim(-2, 1)
        else:
            found = value.unflatten(1, (count, -1)) if value.ndim > 1 else value.unflatten(0, (-1, count))
        return found

    return {name: apart(name, value) for name, value in outputs.items()}


def _together(name: str, value: Tensor) -> Tensor:
    """Take the students' dimension away again."""
    if name == FEATURES:
        return value.movedim(1, -2).flatten(-2)
    return value.flatten(1, 2) if value.ndim > 2 else value.flatten()


def batch(pairs: Sequence[Pair], raw: Tensor, *, shared_data: bool = True) -> Pair:
    """Return K pairs of one shape as one pair, with copies of their weights.

    Args:
        pairs: the students.
        raw: a few samples of raw data [N, ...], to compare the result with the pairs one by one.
        shared_data: whether all see the same data [N, ...], or each its own: [N, K, ...].

    Raises:
        InputError: where they differ in shape, or where a layer or a forward pass has no batched form.
    """
    parts = [pair.parts() for pair in pairs]
    if any(repr(part) != repr(parts[0]) or _shapes(part) != _shapes(parts[0]) for part in parts):
        raise InputError("students train as one only where they have the same layers, in the same sizes")
    count, family = len(pairs), type(pairs[0].detector).__name__
    detector = _joined([pair.detector for pair in pairs], family)
    critics = [pair.critic for pair in pairs if pair.critic is not None]
    critic = _joined(critics, type(critics[0]).__name__) if critics else None
    found = Pair(
        _BatchedDetector(detector, count, shared_data),
        _BatchedCritic(critic, count, shared_data) if critic is not None else None,
    )
    _check(found, pairs, raw, family)
    return found


def unbatch(batched: Pair, pairs: Sequence[Pair]) -> None:
    """Give each pair its weights and statistics back."""
    joint = {name: part.get_submodule("inner").state_dict() for name, part in batched.parts().items()}
    for index, pair in enumerate(pairs):
        for name, part in pair.parts().items():
            part.load_state_dict(
                {k: v.chunk(len(pairs))[index] if v.ndim else v for k, v in joint[name].items()},
            )


def _shapes(parts: Mapping[str, nn.Module]) -> dict[str, tuple[int, ...]]:
    return {f"{n}.{key}": tuple(value.shape) for n, part in parts.items() for key, value in part.state_dict().items()}


def _joined(modules: Sequence[_Module], family: str) -> _Module:
    """Return a copy of the first module whose layers are those of all modules, side by side."""
    found = copy.deepcopy(modules[0])
    made: dict[int, nn.Module] = {}
    for path, layer in modules[0].named_modules(remove_duplicate=False):
        rule = RULES.get(type(layer))
        if rule is None:
            own = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
            if own or not any(layer.children()):
                raise InputError(f"{family} has no batched form: layer {path or 'itself'} ({type(layer).__name__})")
            continue
        if id(layer) not in made:
            made[id(layer)] = _layer(rule, [module.get_submodule(path) for module in modules], f"{family}: {path}")
        parent, _, name = path.rpartition(".")
        found.get_submodule(parent).add_module(name, made[id(layer)])
    return found


def _layer(rule: Rule, layers: Sequence[nn.Module], where: str) -> nn.Module:
    with torch.device("meta"):
        found = rule(layers[0], len(layers))
    states = [layer.state_dict() for layer in layers]
    joined = {}
    for key, value in states[0].items():
        values = [state[key] for state in states]
        if value.ndim == 0 and not all(torch.equal(value, other) for other in values):
            raise InputError(f"{where}: {key} differs between the students: only students equally far train as one")
        joined[key] = torch.cat(values) if value.ndim else value.clone()
    if found.state_dict().keys() != joined.keys():
        raise InputError(f"{where} ({type(layers[0]).__name__}) has no batched form: {', '.join(sorted(joined))}")
    found.load_state_dict(joined, assign=True)
    return found.train(layers[0].training)


def _check(batched: Pair, pairs: Sequence[Pair], raw: Tensor, family: str) -> None:
    """Compare the batched forward pass with the pairs' own, with weights and inputs of their own for each student.

    A forward pass may do more than call its layers, e.g. take a mean over channels: only running it can tell.
    """
    ones = copy.deepcopy(list(pairs))
    trial = copy.deepcopy(batched)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for param in [param for one in ones for part in one.parts().values() for param in part.parameters()]:
            noise = torch.randn(param.shape, generator=generator) / max(1, param[0].numel()) ** 0.5
            param.copy_(noise)
        for name, part in trial.parts().items():
            inner = part.get_submodule("inner")
            states = [one.parts()[name].state_dict() for one in ones]
            inner.load_state_dict({k: torch.cat([s[k] for s in states]) if v.ndim else v for k, v in states[0].items()})
            part.shared_data = False  # type: ignore[assignment]
        x = torch.stack([one.detector.prepare(raw) for one in ones], 1)
        x = x + torch.randn(x.shape, generator=generator).to(x)
        for training in (True, False):
            expected = [_run(one, x[:, index], training) for index, one in enumerate(ones)]
            try:
                found = _run(trial, x, training)
            except (RuntimeError, ValueError, TypeError, IndexError, InputError) as error:
                raise InputError(f"{family} has no batched form: its forward pass fails on several: {error}") from error
            for key in expected[0]:
                _compare(torch.stack([one[key] for one in expected], 1), found.get(key), f"{family}", key)


def _run(pair: Pair, x: Tensor, training: bool) -> dict[str, Tensor]:
    for part in pair.parts().values():
        part.train(training)
    outputs = pair.detector(x)
    judged = pair.critic(x, outputs) if pair.critic is not None else {}
    return {**outputs, **{f"critic's {name}": value for name, value in judged.items()}}


def _compare(expected: Tensor, found: Tensor | None, family: str, key: str) -> None:
    if (
        found is None
        or found.shape != expected.shape
        or not (found - expected).abs().max() <= _TOLERANCE * expected.abs().max()
    ):
        raise InputError(f"{family} has no batched form: its forward pass mixes the students ({key})")
