"""One stage under way."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kdcompress.engine import optimizer as optimizers
from kdcompress.engine.checkpoint import Snapshot, kept, weights
from kdcompress.engine.events import Progress
from kdcompress.engine.plan import Plan
from kdcompress.engine.players import Fetched, Jury, Projections, player
from kdcompress.engine.store import Memory, Store, ahead
from kdcompress.seeding import derive
from kdcompress.stage import Side, SideName, Stage
from kdcompress.types import Pair

_TICK_SECONDS = 0.2
_OTHER: dict[SideName, SideName] = {"student": "teacher", "teacher": "student"}


class NotFinite(Exception):  # noqa: N818 - a signal to the loop, which makes an error of it when it has tried enough
    """A loss is infinite or undefined; the message names it."""


class StageRun:
    """One stage under way: its players, optimisers and averages."""

    def __init__(
        self,
        index: int,
        stage: Stage,
        pairs: Mapping[SideName, Pair],
        inputs: Mapping[SideName, Store],
        plan: Plan,
        seeds: tuple[int, ...],
        memory: Memory,
        normals: int,
    ) -> None:
        self.index, self.stage, self.plan, self.seeds, self.normals = index, stage, plan, seeds, normals
        self.epoch = self.batch = self.retries = 0
        self.seconds = 0.0
        self.device = inputs["student"].device
        self.players = {name: player(name, pair, inputs[name], stage, plan, memory) for name, pair in pairs.items()}
        self.from_files = any(one.in_file for player in self.players.values() for one in player.stores())
        self.projection = Projections(stage.projections, [derive(seed, "projection") for seed in seeds]).to(self.device)
        self.jury = Jury(stage.judge, derive(seeds[0], "judge")).to(self.device)
        self.parts: dict[str, nn.Module] = {"projection": self.projection, "judge": self.jury}
        for side, pair in pairs.items():
            self.parts |= {f"{side}.{name}": part for name, part in pair.parts().items()}
        self.params = [[p for part in update.parts for p in self.parts[part].parameters()] for update in stage.updates]
        self.optimizers = [optimizers.make(u, p) for u, p in zip(stage.updates, self.params, strict=True)]
        averaged = [part for part in sorted(stage.trained()) if part.endswith(".detector")] if stage.averaging else []
        self.averages = {part: [p.detach().clone() for p in self.parts[part].parameters()] for part in averaged}
        self.sums = torch.zeros(len(stage.terms()), device=self.device)

    def train_epoch(self) -> Generator[Progress, None, dict[str, Any]]:
        """Train an epoch, or the rest of one, and return its history row.

        Nothing waits for the device before the end. Between two steps the generator may be closed: what a snapshot then
        holds is complete.

        Raises:
            NotFinite: where the mean of a term over the epoch is not.
        """
        batches = self._batches()
        started = told = time.perf_counter()
        rates = self._set_rates(self.epoch / self.stage.epochs)
        for fetched in ahead(self._fetch, batches[self.batch :], threaded=self.from_files):
            rates = self._set_rates((self.epoch + self.batch / len(batches)) / self.stage.epochs)
            torch.manual_seed(derive(self.seeds[0], "forward", self.epoch, self.batch))
            self.sums = self.sums + self._step(fetched)
            self.batch += 1
            now = time.perf_counter()
            if now - told > _TICK_SECONDS:
                self.seconds, started, told = self.seconds + now - started, now, now
                rate = sum(map(len, batches[: self.batch])) / self.seconds
                yield Progress(self.stage, self.epoch, self.batch, len(batches), rate)
        losses, losses_of_each = self._losses(len(batches))
        self.seconds += time.perf_counter() - started
        row = {
            "stage": self.stage.name,
            "epoch": self.epoch,
            "epochs": self.stage.epochs,
            "step": (self.epoch + 1) * len(batches),
            "learning_rate": rates,
            "losses": losses,
            **({"losses_of_each": losses_of_each} if len(losses_of_each) > 1 else {}),
            "images_per_second": sum(map(len, batches)) / self.seconds,
            "seconds": self.seconds,
            "retries": self.retries,
        }
        self.epoch, self.batch, self.seconds = self.epoch + 1, 0, 0.0
        self.sums = torch.zeros(len(self.stage.terms()), device=self.device)
        return row

    def _fetch(self, rows: Tensor) -> dict[SideName, Fetched]:
        return {name: one.fetch(rows) for name, one in self.players.items()}

    def _step(self, fetched: Mapping[SideName, Fetched]) -> Tensor:
        """Do all updates on one batch and return the terms' values [T], or [K, T] for K students that train as one.

        Every detector and critic runs once. Each update differentiates its own terms with regard to its own parts
        only, all at the same weights; then all optimisers step. So nothing is moved by a term that is not its own.
        """
        seen = self._seen(self._sides(fetched))
        values, gradients = [], []
        for index, (update, params) in enumerate(zip(self.stage.updates, self.params, strict=True)):
            losses = [term.loss.compute(*seen[term.inputs, term.on]) for term in update.terms]
            weighted = [term.weight * loss for term, loss in zip(update.terms, losses, strict=True)]
            total = torch.stack([loss.sum() if loss.ndim else loss for loss in weighted]).sum()
            more = index + 1 < len(self.params)
            gradients.append(torch.autograd.grad(total, params, retain_graph=more, allow_unused=True))
            values += [loss.detach() for loss in losses]
        for optimizer, params, grads in zip(self.optimizers, self.params, gradients, strict=True):
            for param, grad in zip(params, grads, strict=True):
                param.grad = _laid_out_as(param, grad)
            optimizer.step()
        for part, averages in self.averages.items():
            torch._foreach_lerp_(averages, list(self.parts[part].parameters()), 1 - (self.stage.averaging or 0))
        return torch.stack(torch.broadcast_tensors(*values), -1)

    def _sides(self, fetched: Mapping[SideName, Fetched]) -> dict[SideName, Side]:
        sides = {name: one.side(fetched[name], self.plan) for name, one in self.players.items()}
        if self.stage.projections:
            sides["student"] = replace(sides["student"], aligned=self.projection(sides["student"].outputs))
        if self.stage.judge is not None:
            sides = {name: replace(side, verdict=self.jury(side)) for name, side in sides.items()}
        return sides

    def _seen(self, sides: dict[SideName, Side]) -> dict[tuple[str, SideName], tuple[Side, Side | None]]:
        """Return what terms see, their own side and the other one, by their inputs and the side that they are on."""
        size = min(self.stage.batch_size, self.normals)
        normals = sides
        if self.stage.queries:
            normals = {name: side.first(size) for name, side in sides.items()}
            sides = {name: replace(side, normals=size) for name, side in sides.items()}
        return {
            (inputs, name): (found[name], found.get(_OTHER[name]))
            for inputs, found in (("normals", normals), ("both", sides))
            for name in found
        }

    def _batches(self) -> list[Tensor]:
        """Return the rows of this epoch's batches, [B] or [B, K] for orders of their own, shuffled.

        A ragged remainder waits for another epoch. Where the stage has queries, their rows follow the normals'.
        """
        count = self.normals
        size = min(self.stage.batch_size, count)
        orders = []
        for seed in self.seeds:
            generator = torch.Generator().manual_seed(derive(seed, "batches", self.epoch))
            orders.append(torch.randperm(count, generator=generator)[: count - count % size])
        order = orders[0] if len(orders) == 1 else torch.stack(orders, 1)
        batches = list(order.to(self.device).split(size))
        asked = len(self.players["student"].x) - count
        if not asked:
            return batches
        generator = torch.Generator().manual_seed(derive(self.seeds[0], "queries", self.epoch))
        queries = (count + torch.randperm(asked, generator=generator)).to(self.device).tensor_split(len(batches))
        return [torch.cat(both) for both in zip(batches, queries, strict=True)]

    def _set_rates(self, progress: float) -> dict[str, float]:
        factor = self.stage.schedule(progress) * 0.5**self.retries
        rates = {}
        for update, optimizer in zip(self.stage.updates, self.optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = update.optimizer.learning_rate * factor
            rates[update.parts[0]] = update.optimizer.learning_rate * factor
        return rates

    def _losses(self, batches: int) -> tuple[dict[str, float], list[dict[str, float]]]:
        """Return the terms' means over the epoch, over all students and for each."""
        names = [f"{term.on}.{term.name}" for term in self.stage.terms()]
        of_each = (self.sums / batches).reshape(-1, len(names))
        losses = dict(zip(names, of_each.mean(0).tolist(), strict=True))
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise NotFinite(f"{', '.join(bad)} is not finite")
        return losses, [dict(zip(names, values, strict=True)) for values in of_each.tolist()]

    def snapshot(self) -> Snapshot:
        """Return everything that a resumed run needs."""
        tensors = weights(self.parts)
        for index, optimizer in enumerate(self.optimizers):
            tensors |= {f"optimizer/{index}/{k}": v for k, v in optimizers.state(optimizer).items()}
        tensors |= {f"average/{n}/{i}": v for n, averages in self.averages.items() for i, v in enumerate(averages)}
        tensors["sums"] = self.sums
        state = {"batch": self.batch, "retries": self.retries, "seconds": self.seconds}
        return Snapshot(self.index, self.epoch, kept(tensors), state)

    def restore(self, snapshot: Snapshot, retries: int | None = None) -> None:
        """Go on from a snapshot of this stage; ``retries`` halves the learning rates so many times."""
        self.epoch, self.batch, self.seconds = snapshot.epoch, snapshot.state["batch"], snapshot.state["seconds"]
        self.retries = snapshot.state["retries"] if retries is None else retries
        self.sums = snapshot.tensors["sums"].to(self.device)
        for name, part in self.parts.items():
            part.load_state_dict(snapshot.under(f"part/{name}/"))
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


def _laid_out_as(param: nn.Parameter, grad: Tensor | None) -> Tensor | None:
    """Return the gradient in its parameter's memory layout: the fused optimiser pairs elements by address."""
    if grad is None or grad.stride() == param.stride():
        return grad
    return torch.empty_like(param).copy_(grad)
