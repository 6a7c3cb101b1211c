"""By what a search chooses, without a label: how detectors rank held-out normals and changed ones."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from kdcompress import bundle, document, evaluation, queries, start
from kdcompress import recipe as recipes
from kdcompress.errors import ScoreError
from kdcompress.pipeline import Run
from kdcompress.results import Result, Selection
from kdcompress.seeding import derive
from kdcompress.types import Detector

AGREEMENT, SEPARATION = "agreement", "separation"
"""With the teacher's ranks of changed normals, and of these from normals; the second where there is no teacher."""

_KINDS = ("noise", "mixes", "shuffles")
_CHANGED = 2000
"""How many changed normals there are at least: of fewer, the ranks say too little."""


def judged(run: Run) -> Result:
    """Return a run's result with what a search chooses by: its student's value, and its control's, by the same rule.

    Samples that are made of held-out normals (`kdcompress.queries`) are scored by both and the teacher, and the normals
    themselves where there is none: how a student ranks normals among each other says nothing of what it detects. No
    label is read, and nothing of the test set.
    """
    data = start.load_data(recipes.parse(document.parse(run.rundir.recipe(), "recipe.yaml")).data)
    held = data.validation
    asked = queries.made(_KINDS, held, max(_CHANGED, len(held)), derive(run.result.seed, "selection"))
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
    seen = asked if teacher is not None else torch.cat([held, asked])
    scores = evaluation.score(detector, seen)
    try:
        evaluation.check_scores(scores, "student")
    except ScoreError:
        return None
    if teacher is not None:
        return evaluation.fidelity(evaluation.score(teacher, seen), scores, 0.0, 0.0).spearman
    labels = torch.cat([torch.zeros(len(held)), torch.ones(len(asked))]).numpy()
    return evaluation.auroc(labels, scores)
