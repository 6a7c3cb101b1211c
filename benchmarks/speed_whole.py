"""Rows of `speed.py`: a whole run of one class with its control, data and evaluation included.

The engine's is `kdcompress.pipeline.run` of P-KDGAN's two steps on MNIST with fewer epochs. The reference's is the same
in `reference_loop.py`: the same networks from the same first weights, the same split, rates, losses and number of
steps, the teacher, the student and the control scored in a plain loop. The engine's run does more: it plans, keeps
checkpoints, bundles, scores and samples, counts and times all detectors, computes intervals and writes the reports.
A run takes minutes, so each is timed once.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import reference_loop as reference
import torch
from measure import TEACHER, Row, pair, place, plain, row, skipped, tuned
from reference_loop import Way
from sklearn.metrics import roc_auc_score
from torch import Tensor

from kdcompress import bundle, pipeline
from kdcompress import recipe as recipes
from kdcompress.errors import MissingDataError
from kdcompress.recipe import Recipe, Ref
from kdcompress.seeding import derive
from kdcompress.start import Start, load_data
from kdcompress.teachers import teacher_recipes
from kdcompress.types import Pair

ARMS = ("teacher", "student", "control")
EPOCHS = {"teacher.strategy.epochs": 2, "strategy.steps.0.epochs": 6, "strategy.steps.1.epochs": 1}
"""6, 20 and 3 in about their proportion."""
SETTINGS = {
    "data.normal_class": 8,
    "student.macs_ratio": 230,
    "strategy.steps.0.gan": "true",
    "strategy.distil_weights.distil_reconstruction": 5,
    **EPOCHS,
}

WANTED = {"first": ">= 3", "tuned": ">= 2"}


@dataclass(frozen=True)
class Ran:
    """How long a whole run took, and the AUROC of its detectors in the order of ``ARMS``."""

    seconds: float
    auroc: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s ({', '.join(f'{100 * one:.1f}' for one in self.auroc)})"


@dataclass(frozen=True)
class Settings:
    """What the recipe comes to, in the reference's terms; ``student`` has its solved width."""

    data: Ref
    teacher: Ref
    student: Ref
    teacher_seed: int
    seed: int
    alone: dict[str, Any]
    steps: tuple[dict[str, Any], dict[str, Any]]
    distil_weights: tuple[float, ...]


def whole_rows() -> list[Row]:
    """A whole run over both references'."""
    name = "a whole run of MNIST's eights, over the {} reference"
    recipe = recipes.load("pkdgan-mnist", [f"{key}={value}" for key, value in SETTINGS.items()])
    try:
        with patch.dict(os.environ, {"KDCOMPRESS_OFFLINE": "1"}):
            settings = settings_of(recipe)
    except MissingDataError:
        why = "MNIST is not on this machine: say where it is with KDCOMPRESS_DATA"
        return [skipped(name.format(which), wanted, why) for which, wanted in WANTED.items()]
    ways = {"first": plain(), "tuned": tuned(pair(TEACHER))}
    ran = by_engine(recipe)
    found = {which: by_loop(settings, way) for which, way in ways.items()}
    return [
        row(
            name.format(which),
            one.seconds / ran.seconds,
            WANTED[which],
            f"engine {ran}, reference {one}; in brackets AUROC in % of {', '.join(ARMS)}",
        )
        for which, one in found.items()
    ]


def settings_of(recipe: Recipe) -> Settings:
    """Return what the reference has to do for a recipe of P-KDGAN's two steps."""
    begun = Start.of(recipe, "recipe")
    resolved = begun.recipe
    (taught,) = teacher_recipes(resolved)
    assert taught.strategy is not None
    assert resolved.strategy is not None
    student = begun.planned().manifest
    alone, options = taught.strategy.options, resolved.strategy.options
    frozen, joint = options["steps"]
    assert (frozen["teacher"], joint["teacher"], joint["gan"]) == ("frozen", "joint", True)
    assert alone["batch_size"] == options["batch_size"] == reference.BATCH
    return Settings(
        data=resolved.data,
        teacher=Ref(name=taught.student.name, **taught.student.options),
        student=Ref(name=student.architecture, **student.options),
        teacher_seed=taught.seed,
        seed=resolved.seed,
        alone=alone,
        steps=(frozen, joint),
        distil_weights=tuple(options["distil_weights"].values()),
    )


def by_engine(recipe: Recipe) -> Ran:
    """Run the recipe as a user does on a machine where nothing is measured yet."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"KDCOMPRESS_CACHE": f"{folder}/cache"}):
        started = time.perf_counter()
        result = pipeline.run(recipe, Path(folder), device=place().type).result
        seconds = time.perf_counter() - started
    return Ran(seconds, tuple(float(getattr(result, arm).auroc) for arm in ARMS))


def by_loop(settings: Settings, way: Way) -> Ran:
    """Do the same by the reference loop."""
    started = time.perf_counter()
    torch.manual_seed(settings.seed)
    data = load_data(settings.data)
    teacher = built(settings.teacher, data.input_shape, settings.teacher_seed)
    student, control = (built(settings.student, data.input_shape, settings.seed) for _ in range(2))
    x = teacher.detector.prepare(data.train)
    spend(reference.train_alone(teacher, x, settings.alone["epochs"], settings.alone["learning_rate"], way))
    # Before the second step, which trains it further.
    scores = {"teacher": reference.score(teacher, data.test, way)}
    x = student.detector.prepare(data.train)
    for step in settings.steps:
        spend(reference.train_alone(control, x, step["epochs"], step["learning_rate"], way))
    scores["control"] = reference.score(control, data.test, way)
    taught(settings, student, teacher, x, way)
    scores["student"] = reference.score(student, data.test, way)
    auroc = tuple(float(roc_auc_score(data.labels, scores[arm])) for arm in ARMS)
    return Ran(time.perf_counter() - started, auroc)


def taught(settings: Settings, student: Pair, teacher: Pair, x: Tensor, way: Way) -> None:
    """Take a student through both steps."""
    frozen, joint = settings.steps
    weights = settings.distil_weights
    one = frozen["epochs"], frozen["learning_rate"], way
    spend(reference.train_frozen(student, teacher, x, *one, gan=frozen["gan"], weights=weights))
    two = joint["epochs"], joint["learning_rate"], joint["teacher_learning_rate"], way
    spend(reference.train_joint(student, teacher, x, *two, weights=weights))


def built(ref: Ref, input_shape: tuple[int, ...], seed: int) -> Pair:
    """Return a network with the engine's first weights."""
    return bundle.build(ref.name, ref.options, input_shape, derive(seed, "student"))


def spend(epochs: Iterator[float]) -> None:
    """Train through all epochs."""
    deque(epochs, maxlen=0)
