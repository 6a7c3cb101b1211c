"""The only training loop: it runs any stages and knows no strategy and no architecture."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kdcompress.engine import optimizer as optimizers
from kdcompress.engine.checkpoint import Slot, Snapshot
from kdcompress.engine.events import EpochDone, Event, Progress, StageDone, Started
from kdcompress.engine.plan import Plan
from kdcompress.engine.players import Projections, player
from kdcompress.errors import KdcompressError
from kdcompress.seeding import derive
from kdcompress.stage import Side, SideName, Stage
from kdcompress.types import Pair

_TICK_SECONDS = 0.2
_CHUNK = 1024
_OTHER: dict[SideName, SideName] = {"student": "teacher", "teacher": "student"}


def fit(
    stages: tuple[Stage, ...],
    student: Pair,
    teacher: Pair | None,
    raw: Tensor,
    *,
    device: torch.device,
    plan_for: Callable[[Stage], Plan],
    seed: int,
    slot: Slot,
) -> Iterator[Event]:
    """Train through the stages, telling what happens; the pairs are trained in place.

    A checkpoint is written to ``slot`` after every epoch; if it holds one already, training goes on from there and ends
    with the same bits as if it had never stopped.

    Args:
        stages: what to train, in order.
        student: the pair that is trained.
        teacher: the pair that it learns from, if any.
        raw: the training normals as raw data [N, ...].
        device: where to compute.
        plan_for: how to compute a stage.
        seed: of batches and of whatever randomness a forward pass has.
        slot: where checkpoints go.

    Raises:
        KdcompressError: where a loss is no longer finite.
    """
    saved = slot.read()
    snapshot = Snapshot.from_bytes(saved) if saved is not None else None
    pairs: dict[SideName, Pair] = {"student": student} if teacher is None else {"student": student, "teacher": teacher}
    for name, pair in pairs.items():
        for part_name, part in pair.parts().items():
            part.to(device)
            if snapshot is not None:
                part.load_state_dict(snapshot.under(f"part/{name}.{part_name}/"))
    inputs = {name: _prepare(pair, raw, device) for name, pair in pairs.items()}
    for index, stage in enumerate(stages):
        if snapshot is not None and snapshot.stage > index:
            continue
        run = _StageRun(index, stage, pairs, inputs, plan_for(stage), derive(seed, "stage", index))
        if snapshot is not None:
            run.restore(snapshot)
            snapshot = None
        yield Started(index, stage, run.plan, run.epoch)
        while run.epoch < stage.epochs:
            row = yield from run.train_epoch()
            slot.write(run.snapshot().to_bytes(), row)
            yield EpochDone(stage, row)
        run.finish()
        yield StageDone(index, stage)


def _prepare(pair: Pair, raw: Tensor, device: torch.device) -> Tensor:
    """Return all of a detector's input on the device, prepared once."""
    chunks = [pair.detector.prepare(chunk.to(device)) for chunk in raw.split(_CHUNK)]
    return torch.cat(chunks)


class _StageRun:
    """One stage under way: its players, optimisers and averages."""

    def __init__(
        self,
        index: int,
        stage: Stage,
        pairs: Mapping[SideName, Pair],
        inputs: Mapping[SideName, Tensor],
        plan: Plan,
        seed: int,
    ) -> None:
        self.index, self.stage, self.plan, self.seed, self.epoch = index, stage, plan, seed, 0
        self.device = inputs["student"].device
        self.players = {name: player(name, pair, inputs[name], stage, plan) for name, pair in pairs.items()}
        torch.manual_seed(derive(seed, "projection"))
        self.projection = Projections(stage.projections).to(self.device)
        self.parts: dict[str, nn.Module] = {"projection": self.projection}
        for side, pair in pairs.items():
            self.parts |= {f"{side}.{name}": part for name, part in pair.parts().items()}
        self.params = [[p for part in update.parts for p in self.parts[part].parameters()] for update in stage.updates]
        self.optimizers = [optimizers.make(u, p) for u, p in zip(stage.updates, self.params, strict=True)]
        averaged = [part for part in sorted(stage.trained()) if part.endswith(".detector")] if stage.averaging else []
        self.averages = {part: [p.detach().clone() for p in self.parts[part].parameters()] for part in averaged}

    def train_epoch(self) -> Generator[Progress, None, dict[str, Any]]:
        """Train one epoch and return its history row; nothing waits for the device before its end."""
        batches = self._batches()
        torch.manual_seed(derive(self.seed, "forward", self.epoch))
        sums = torch.zeros(len(self.stage.terms()), device=self.device)
        start = told = time.perf_counter()
        rates: dict[str, float] = {}
        for batch, rows in enumerate(batches):
            rates = self._set_rates((self.epoch + batch / len(batches)) / self.stage.epochs)
            sums += self._step(rows)
            now = time.perf_counter()
            if now - told > _TICK_SECONDS:
                told = now
                done = (batch + 1) * len(rows)
                yield Progress(self.stage, self.epoch, batch + 1, len(batches), done / (now - start))
        names = [f"{term.on}.{term.name}" for term in self.stage.terms()]
        losses = dict(zip(names, (sums / len(batches)).tolist(), strict=True))
        self._check_finite(losses)
        seconds = time.perf_counter() - start
        self.epoch += 1
        return {
            "stage": self.stage.name,
            "epoch": self.epoch - 1,
            "epochs": self.stage.epochs,
            "step": self.epoch * len(batches),
            "learning_rate": rates,
            "losses": losses,
            "images_per_second": sum(map(len, batches)) / seconds,
            "seconds": seconds,
        }

    def _step(self, rows: Tensor) -> Tensor:
        """Do all updates on one batch and return the terms' values.

        Every detector and critic runs once. Each update differentiates its own terms with regard to its own parts
        only, all at the same weights; then all optimisers step. So nothing is moved by a term that is not its own.
        """
        sides = self._sides(rows)
        values, gradients = [], []
        for index, (update, params) in enumerate(zip(self.stage.updates, self.params, strict=True)):
            losses = [term.loss.compute(sides[term.on], sides.get(_OTHER[term.on])) for term in update.terms]
            total = torch.stack([term.weight * loss for term, loss in zip(update.terms, losses, strict=True)]).sum()
            more = index + 1 < len(self.params)
            gradients.append(torch.autograd.grad(total, params, retain_graph=more, allow_unused=True))
            values += [loss.detach() for loss in losses]
        for optimizer, params, grads in zip(self.optimizers, self.params, gradients, strict=True):
            for param, grad in zip(params, grads, strict=True):
                param.grad = grad
            optimizer.step()
        for part, averages in self.averages.items():
            torch._foreach_lerp_(averages, list(self.parts[part].parameters()), 1 - (self.stage.averaging or 0))
        return torch.stack(values)

    def _sides(self, rows: Tensor) -> dict[SideName, Side]:
        sides = {name: one.side(rows, self.plan) for name, one in self.players.items()}
        if self.stage.projections:
            sides["student"] = replace(sides["student"], aligned=self.projection(sides["student"].outputs))
        return sides

    def _batches(self) -> list[Tensor]:
        """Return the rows of this epoch's batches, shuffled; a ragged remainder waits for another epoch."""
        count = len(self.players["student"].x)
        size = min(self.stage.batch_size, count)
        generator = torch.Generator().manual_seed(derive(self.seed, "batches", self.epoch))
        order = torch.randperm(count, generator=generator)[: count - count % size]
        return list(order.to(self.device).split(size))

    def _set_rates(self, progress: float) -> dict[str, float]:
        factor = self.stage.schedule(progress)
        rates = {}
        for update, optimizer in zip(self.stage.updates, self.optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = update.optimizer.learning_rate * factor
            rates[update.parts[0]] = update.optimizer.learning_rate * factor
        return rates

    def _check_finite(self, losses: dict[str, float]) -> None:
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise KdcompressError(
                f"training diverged: {', '.join(bad)} is not finite in epoch {self.epoch + 1} of stage "
                f"'{self.stage.name}'; a smaller strategy learning_rate usually helps"
            )

    def snapshot(self) -> Snapshot:
        """Return everything that a resumed run needs."""
        tensors = {f"part/{n}/{k}": v for n, part in self.parts.items() for k, v in part.state_dict().items()}
        for index, optimizer in enumerate(self.optimizers):
            tensors |= {f"optimizer/{index}/{k}": v for k, v in optimizers.state(optimizer).items()}
        tensors |= {f"average/{n}/{i}": v for n, averages in self.averages.items() for i, v in enumerate(averages)}
        return Snapshot(self.index, self.epoch, tensors)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of this stage; the pairs have their weights from it already."""
        self.epoch = snapshot.epoch
        self.projection.load_state_dict(snapshot.under("part/projection/"))
        for index, optimizer in enumerate(self.optimizers):
            optimizers.restore(optimizer, snapshot.under(f"optimizer/{index}/"))
        for name, averages in self.averages.items():
            for key, value in snapshot.under(f"average/{name}/").items():
                averages[int(key)].copy_(value)

    def finish(self) -> None:
        """Put averaged weights in the place of the last ones, and leave everything in eval mode."""
        with torch.no_grad():
            for name, averages in self.averages.items():
                for param, average in zip(self.parts[name].parameters(), averages, strict=True):
                    param.copy_(average)
        for part in self.parts.values():
            part.eval()
