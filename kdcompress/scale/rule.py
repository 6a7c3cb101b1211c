"""By what a search chooses, without a label: how detectors rank held-out normals and changed ones."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from kdcompress import bundle, document, evaluation, pipeline, queries
from kdcompress import recipe as recipes
from kdcompress.errors import ScoreError
from kdcompress.pipeline import Run
from kdcompress.results import Result, Selection
from kdcompress.seeding import derive
from kdcompress.types import Detector

AGREEMENT, SEPARATION = "agreement", "separation"
"""With the teacher's ranks, and of normals from changed ones; the second where there is no teacher."""

_KINDS = ("noise", "mixes", "shuffles")


def judged(run: Run) -> Result:
    """Return a run's result with what a search chooses by: its student's value, and its control's, by the same rule.

    Held-out normals, and as many samples that are made of them (`kdcompress.queries`), are scored by both and the
    teacher. No label is read, and nothing of the test set.
    """
    data = pipeline.load_data(recipes.parse(document.parse(run.rundir.recipe(), "recipe.yaml")).data)
    held = data.validation
    asked = queries.made(_KINDS, held, len(held), derive(run.result.seed, "selection"))
    found: dict[str, Detector] = {
        name: bundle.load(run.rundir.bundle(name)).detector
        for name in ("teacher", "student", "control")
        if run.rundir.bundle(name).exists()
    }
    teacher = found.pop("teacher", None)
    values = {name: _value(one, teacher, held, asked) for name, one in found.items()}
    rule = AGREEMENT if teacher is not None else SEPARATION
    return replace(run.result, selection=Selection(rule, values["student"], values.get("control")))


def _value(detector: Detector, teacher: Detector | None, held: Tensor, asked: Tensor) -> float | None:
    """Return what a detector is worth by the rule; None where all of its scores are the same."""
    both = torch.cat([held, asked])
    scores = evaluation.score(detector, both)
    try:
        evaluation.check_scores(scores, "student")
    except ScoreError:
        return None
    if teacher is not None:
        return evaluation.fidelity(evaluation.score(teacher, both), scores, 0.0, 0.0).spearman
    labels = torch.cat([torch.zeros(len(held)), torch.ones(len(asked))]).numpy()
    return evaluation.auroc(labels, scores)
