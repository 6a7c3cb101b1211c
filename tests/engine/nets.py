"""Detectors small enough to train in milliseconds."""

import torch
from torch import nn

from kdcompress.engine.events import EpochDone
from kdcompress.engine.fit import fit
from kdcompress.engine.plan import Plan
from kdcompress.stage import Adam, Stage, Term, Update, constant
from kdcompress.types import Critic, Detector, Pair


class TinyDetector(Detector):
    def __init__(self, size=2, norm=False):
        super().__init__()
        self.encode = nn.Linear(6, size)
        self.norm = nn.BatchNorm1d(size) if norm else nn.Identity()
        self.decode = nn.Linear(size, 6)
        self.calls = 0

    def prepare(self, raw):
        return raw.float()

    def forward(self, x):
        self.calls += 1
        latent = self.norm(self.encode(x))
        reconstruction = self.decode(latent)
        return {
            "latent": latent,
            "reconstruction": reconstruction,
            "latent_of_reconstruction": self.encode(reconstruction),
        }

    def score_outputs(self, x, outputs):
        return (x - outputs["reconstruction"]).square().mean(1)


class TinyCritic(Critic):
    def __init__(self):
        super().__init__()
        self.features = nn.Linear(6, 3)
        self.logit = nn.Linear(3, 1)

    def forward(self, x, outputs):
        real, fake = self.features(x), self.features(outputs["reconstruction"])
        return {
            "real_features": real,
            "fake_features": fake,
            "real_logit": self.logit(real).flatten(),
            "fake_logit": self.logit(fake).flatten(),
        }


def pair(seed, size=2, critic=True, norm=False):
    torch.manual_seed(seed)
    return Pair(TinyDetector(size, norm), TinyCritic() if critic else None)


def samples(count=40, seed=5):
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


class Memory:
    """A slot in memory that can be made to stop after so many epochs."""

    def __init__(self, stop_after=None):
        self.saved, self.rows, self.stop_after = None, [], stop_after

    def read(self):
        return self.saved

    def write(self, checkpoint, row):
        self.rows += [row] if row is not None else []
        self.saved = checkpoint
        if self.stop_after is not None and len(self.rows) >= self.stop_after:
            raise InterruptedError("stopped on purpose")


def run(stages, student, teacher=None, raw=None, slot=None, seed=0, plan=None, memory=None):
    slot = slot if slot is not None else Memory()
    events = fit(
        stages,
        student,
        teacher,
        samples() if raw is None else raw,
        device=torch.device("cpu"),
        plan_for=lambda stage: plan or Plan(),
        seed=seed,
        slot=slot,
        memory=memory,
    )
    return [event.row for event in events if isinstance(event, EpochDone)]


def stage(*updates, epochs=2, batch_size=8, schedule=constant, **more):
    return Stage("stage", epochs, batch_size, updates, schedule, **more)


def update(parts, *terms, learning_rate=0.01):
    return Update((parts,) if isinstance(parts, str) else parts, terms, Adam(learning_rate))


def term(name, weight=1.0, on="student"):
    from kdcompress.losses import LOSSES

    return Term(name, LOSSES[name], weight, on)


def weights(part):
    return {name: value.clone() for name, value in part.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
