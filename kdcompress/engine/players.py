"""The two sides of a stage as the loop sees them: inputs, modes, frozen outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdcompress.engine.plan import Plan
from kdcompress.engine.store import Memory, Store
from kdcompress.errors import InputError
from kdcompress.stage import Judge, Projection, Side, SideName, Stage
from kdcompress.types import SCORE, Outputs, Pair

_CHUNK = 256


class _Copies(nn.Module):
    """A linear map for each of several students, [N, K, ..., from] to [N, K, ..., to]."""

    def __init__(self, ones: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([one.weight.detach() for one in ones]))
        self.bias = nn.Parameter(torch.stack([one.bias.detach() for one in ones]))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.transpose(0, 1)
        mapped = torch.bmm(rows.flatten(1, -2), self.weight.transpose(1, 2)).unflatten(1, rows.shape[1:-1])
        found: Tensor = mapped.transpose(0, 1) + self.bias.view(len(self.bias), *[1] * (x.ndim - 3), -1)
        return found


class Projections(nn.Module):
    """A stage's learned linear maps of the student's outputs to the teacher's sizes.

    Students that train as one have maps of their own, which are the same at first where they share a seed.
    """

    def __init__(self, projections: Sequence[Projection], seeds: Sequence[int]) -> None:
        super().__init__()
        drawn = []
        for seed in seeds:
            torch.manual_seed(seed)
            drawn.append({one.output: nn.Linear(one.from_size, one.to_size) for one in projections})
        self.maps = nn.ModuleDict()
        for one in projections:
            maps = [of_seed[one.output] for of_seed in drawn]
            copies = one.copies // len(maps) if one.copies is not None else 1
            self.maps[one.output] = maps[0] if one.copies is None else _Copies(maps * copies)

    def forward(self, outputs: Outputs) -> Outputs:
        """Return the outputs, those with a map mapped."""
        return {name: self.maps[name](value) if name in self.maps else value for name, value in outputs.items()}


class Jury(nn.Module):
    """A stage's judge, if it has one."""

    def __init__(self, judge: Judge | None, seed: int) -> None:
        super().__init__()
        self.output = judge.output if judge is not None else None
        self.layers = nn.Sequential()
        if judge is not None:
            torch.manual_seed(seed)
            self.layers.extend([nn.Linear(judge.size, judge.hidden), nn.LeakyReLU(0.2), nn.Linear(judge.hidden, 1)])

    def forward(self, side: Side) -> Tensor | None:
        """Return the log-odds [N] that a side's output is the teacher's."""
        if self.output is None:
            return None
        value = side.aligned[self.output]
        vectors = value.flatten(1, -2).mean(1) if value.ndim > 2 else value  # noqa: PLR2004 - [N, Z] or [N, ..., C]
        found: Tensor = self.layers(vectors).squeeze(1)
        return found


@dataclass(frozen=True)
class Fetched:
    """What a side needs for one batch: its input, and its outputs where they are cached."""

    x: Tensor
    outputs: dict[str, Tensor] | None


@dataclass
class Player:
    """One side in one stage.

    Attributes:
        pair: its detector and critic, as they are computed.
        x: its prepared training input, all of it.
        cached: the outputs over all of ``x`` where no update of the stage trains the detector, else None.
        judged: whether any term reads its critic.
        scored: whether any term reads its score.
    """

    pair: Pair
    x: Store
    cached: dict[str, Store] | None
    judged: bool
    scored: bool

    def stores(self) -> list[Store]:
        """Return everything that is read in each step."""
        return [self.x, *(self.cached or {}).values()]

    def fetch(self, rows: Tensor) -> Fetched:
        """Read what a batch needs."""
        cached = {name: store.rows(rows) for name, store in self.cached.items()} if self.cached is not None else None
        return Fetched(self.x.rows(rows), cached)

    def side(self, fetched: Fetched, plan: Plan) -> Side:
        """Return this side of a batch, in float32 whatever the plan's precision."""
        x = _formatted(fetched.x, plan)
        with plan.autocast(x.device):
            outputs = self.pair.detector(x) if fetched.outputs is None else fetched.outputs
            critic = self.pair.critic(x, outputs) if self.judged and self.pair.critic is not None else {}
        outputs = _float(outputs)
        if self.scored and SCORE not in outputs:
            outputs = _with_score(self.pair, x, outputs)
        return Side(x, outputs, _float(critic), aligned=outputs)


def player(name: SideName, pair: Pair, x: Store, stage: Stage, plan: Plan, memory: Memory) -> Player:
    """Put a side into the stage's modes and compute what stays the same throughout.

    Whatever an update trains is in train mode with gradients, everything else in eval mode without.
    """
    trained = stage.trained()
    for part_name, part in pair.parts().items():
        moves = f"{name}.{part_name}" in trained
        part.train(moves).requires_grad_(moves)
        part.to(x.device, memory_format=plan.memory_format)  # type: ignore[call-overload]
    judged = any(term.on == name and term.loss.critic for term in stage.terms())
    wanted = {output for term in stage.terms() for output in term.loss.shared}
    wanted |= {output for term in stage.terms() if term.on == name for output in term.loss.outputs}
    scored = SCORE in wanted
    if f"{name}.detector" in trained:
        critic = plan.network(pair.critic) if pair.critic is not None else None
        return Player(Pair(plan.network(pair.detector), critic), x, None, judged, scored)
    cached = _outputs(name, pair, x, wanted, plan, memory, everything=judged) if wanted or judged else {}
    return Player(pair, x, cached, judged, scored)


def _outputs(
    name: SideName, pair: Pair, x: Store, wanted: set[str], plan: Plan, memory: Memory, *, everything: bool
) -> dict[str, Store]:
    """Run a frozen detector once over its input and keep the wanted outputs, or all: a critic may read any."""
    stores: dict[str, Store] = {}
    with torch.no_grad(), plan.autocast(x.device):
        for chunk in x.chunks(_CHUNK):
            part = _formatted(chunk, plan)
            outputs = _float(pair.detector(part))
            outputs = _with_score(pair, part, outputs) if SCORE in wanted else outputs
            for output in wanted & outputs.keys():
                if not outputs[output].isfinite().all():
                    raise InputError(
                        f"{name}: its output '{output}' has values that are no finite numbers for training normals, or "
                        "what was made of them: nobody can learn from it (are its preparation and its weights right?)"
                    )
            for output in [one for one in outputs if everything or one in wanted]:
                if output not in stores:
                    stores[output] = memory.store(f"the {name}'s outputs '{output}'", len(x), outputs[output][0])
                stores[output].append(outputs[output])
    return stores


def _with_score(pair: Pair, x: Tensor, outputs: Outputs) -> dict[str, Tensor]:
    with torch.autocast(x.device.type, enabled=False):
        return {**outputs, SCORE: pair.detector.score_outputs(x, outputs)}


def _formatted(x: Tensor, plan: Plan) -> Tensor:
    return x.contiguous(memory_format=plan.memory_format) if x.ndim == 4 else x


def _float(outputs: Outputs) -> Outputs:
    return {name: value.float() for name, value in outputs.items()}
