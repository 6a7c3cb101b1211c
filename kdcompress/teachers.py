"""What a recipe's teacher is trained by: its own recipe, or those of the members of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from kdcompress import recipe as recipes
from kdcompress.architectures.ensemble import Ensemble
from kdcompress.bundle import Bundle, Manifest
from kdcompress.recipe import Recipe, Student, Teacher
from kdcompress.types import Pair

_CHUNK = 1024


def teacher_recipes(recipe: Recipe) -> list[Recipe]:
    """Return the recipes that train a resolved recipe's teacher, or its members; none where nothing is to train."""
    source = recipe.teacher
    if source is None:
        return []
    if source.ensemble is not None:
        return [_own_recipe(recipe, one, f"-{place + 1}") for place, one in enumerate(source.ensemble)]
    return [_own_recipe(recipe, source)] if source.bundle is None else []


def _own_recipe(recipe: Recipe, source: Teacher, place: str = "") -> Recipe:
    assert source.architecture is not None and source.seed is not None, "a resolved teacher has both"  # noqa: PT018
    return Recipe(
        name=_teacher_name(recipe, source, place),
        seed=source.seed,
        data=recipe.data,
        teacher=source.teacher,
        student=Student(name=source.architecture.name, **source.architecture.options),
        strategy=source.strategy,
        control=source.teacher is None,
        engine=recipe.engine,
        plugins=recipe.plugins,
    )


def _teacher_name(recipe: Recipe, source: Teacher, place: str) -> str:
    """Return the folder of a teacher's runs: its recipe's name where that can be one."""
    own = Path(source.recipe).stem if source.recipe else ""
    return own if recipes.NAME.fullmatch(own) else f"{recipe.name[:85]}-teacher{place}"


def ensemble_of(bundles: Sequence[Bundle], raw: Tensor) -> Bundle:
    """Return several trained detectors as one, its scores standardised over training normals [N, ...]."""
    members = [{"name": one.manifest.architecture, **one.manifest.options} for one in bundles]
    whole = Ensemble([one.detector for one in bundles]).eval()
    with torch.no_grad():
        whole.calibrate(whole.prepare(chunk) for chunk in raw.split(_CHUNK))
    first = bundles[0].manifest
    options = {"members": members, "width": 1.0}
    return Bundle(Manifest("ensemble", options, first.input_shape, data=first.data, arm="teacher"), Pair(whole))
