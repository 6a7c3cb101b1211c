"""P-KDGAN as a competent person would first write it: what `speed.py` compares the engine with.

A DataLoader, float32, contiguous memory, the teacher run in every step. With ``tuned`` the same loop in channels-last,
and in bfloat16 where the processor has it. Networks, losses, weights, rates and schedules are those of the package.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from kdcompress.types import Pair

BATCH = 64
BETAS = (0.5, 0.999)
WEIGHTS = (1.0, 50.0, 1.0)
"""Of the distillation loss: latent, reconstruction, latent of the reconstruction."""


@dataclass(frozen=True)
class Way:
    """How the loop computes."""

    device: torch.device
    memory_format: torch.memory_format = torch.contiguous_format
    bf16: bool = False

    def autocast(self) -> torch.autocast:
        """Return the context of forward passes."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)


def generator_loss(pair: Pair, x: Tensor, out: dict[str, Tensor]) -> Tensor:
    """Feature matching, reconstruction and latent consistency at 1 / 50 / 1."""
    with torch.no_grad():
        real = pair.critic.features(x)
    fake = pair.critic.features(out["reconstruction"])
    return (
        F.mse_loss(fake.float(), real.float())
        + 50 * F.l1_loss(out["reconstruction"].float(), x)
        + F.mse_loss(out["latent_of_reconstruction"].float(), out["latent"].float())
    )


def critic_loss(pair: Pair, x: Tensor, out: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of real against reconstructed."""
    judged = pair.critic(x, {"reconstruction": out["reconstruction"].detach()})
    real, fake = judged["real_logit"].float(), judged["fake_logit"].float()
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


def distillation_loss(student: dict[str, Tensor], teacher: dict[str, Tensor], weights: tuple[float, ...]) -> Tensor:
    """K_l at the weights of latent, reconstruction and latent of the reconstruction."""
    w1, wx, w2 = weights
    return (
        w1 * F.mse_loss(student["latent"].float(), teacher["latent"].float())
        + wx * F.l1_loss(student["reconstruction"].float(), teacher["reconstruction"].float())
        + w2 * F.mse_loss(student["latent_of_reconstruction"].float(), teacher["latent_of_reconstruction"].float())
    )


class Trainer:
    """A pair with its two optimisers."""

    def __init__(self, pair: Pair, rate: float, way: Way) -> None:
        self.pair, self.way, self.rate = pair, way, rate
        for part in pair.parts().values():
            part.train().requires_grad_(True)
            part.to(way.device, memory_format=way.memory_format)
        self.detector = torch.optim.Adam(pair.detector.parameters(), lr=rate, betas=BETAS)
        self.critic = torch.optim.Adam(pair.critic.parameters(), lr=rate, betas=BETAS)

    def step(
        self, x: Tensor, more: Callable[[dict[str, Tensor]], Tensor] | None = None, *, gan: bool = True
    ) -> dict[str, Tensor]:
        """Train the critic, then the detector, on one batch; return what the detector made of it."""
        with self.way.autocast():
            out = self.pair.detector(x)
        if gan:
            with self.way.autocast():
                loss = critic_loss(self.pair, x, out)
            self.critic.zero_grad()
            loss.backward()
            self.critic.step()
        loss = more(out) if more is not None else torch.zeros(())
        if gan:
            with self.way.autocast():
                loss = loss + generator_loss(self.pair, x, out)
        self.detector.zero_grad()
        loss.backward()
        self.detector.step()
        return {name: value.detach() for name, value in out.items()}

    def schedule(self, progress: float) -> None:
        """Let the learning rates fall along half a cosine."""
        for optimizer in (self.detector, self.critic):
            optimizer.param_groups[0]["lr"] = self.rate * 0.5 * (1 + math.cos(math.pi * progress))


def epochs(
    x: Tensor, count: int, way: Way, trainers: list[Trainer], step: Callable[[Tensor], object]
) -> Iterator[float]:
    """Train for some epochs and yield the seconds of each."""
    loader = DataLoader(TensorDataset(x), batch_size=BATCH, shuffle=True, drop_last=True)
    for epoch in range(count):
        started = time.perf_counter()
        for index, (batch,) in enumerate(loader):
            for trainer in trainers:
                trainer.schedule((epoch + index / len(loader)) / count)
            step(batch.to(way.device).contiguous(memory_format=way.memory_format))
        wait(way.device)
        yield time.perf_counter() - started


def train_alone(pair: Pair, x: Tensor, count: int, rate: float, way: Way) -> Iterator[float]:
    """Train a teacher or a control on its own losses."""
    trainer = Trainer(pair, rate, way)
    return epochs(x, count, way, [trainer], trainer.step)


def train_frozen(
    student: Pair,
    teacher: Pair,
    x: Tensor,
    count: int,
    rate: float,
    way: Way,
    *,
    gan: bool = False,
    weights: tuple[float, ...] = WEIGHTS,
) -> Iterator[float]:
    """Step 1: the student learns from the frozen teacher, with ``gan`` on its own losses too."""
    trainer = Trainer(student, rate, way)
    frozen = teacher.detector.eval().to(way.device, memory_format=way.memory_format)

    def step(batch: Tensor) -> None:
        with torch.no_grad(), way.autocast():
            target = frozen(batch)
        trainer.step(batch, lambda out: distillation_loss(out, target, weights), gan=gan)

    return epochs(x, count, way, [trainer], step)


def train_joint(
    student: Pair,
    teacher: Pair,
    x: Tensor,
    count: int,
    rate: float,
    teacher_rate: float,
    way: Way,
    *,
    weights: tuple[float, ...] = WEIGHTS,
) -> Iterator[float]:
    """Step 2: teacher and student are trained on together."""
    trainers = [Trainer(student, rate, way), Trainer(teacher, teacher_rate, way)]

    def step(batch: Tensor) -> None:
        target = trainers[1].step(batch)
        trainers[0].step(batch, lambda out: distillation_loss(out, target, weights))

    return epochs(x, count, way, trainers, step)


def score(pair: Pair, raw: Tensor, way: Way) -> Tensor:
    """Return the anomaly scores [N] of raw images, in float32."""
    detector = pair.detector.eval().to(way.device)
    loader = DataLoader(TensorDataset(raw), batch_size=BATCH)
    return torch.cat([detector.score(batch.to(way.device)).cpu() for (batch,) in loader])


def wait(device: torch.device) -> None:
    """Wait until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
