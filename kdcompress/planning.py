"""What a run is going to train, known before anything is trained: so wrong input costs nobody an hour."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kdcompress import queries, signature
from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.ensemble import Ensemble
from kdcompress.architectures.foreign import Foreign
from kdcompress.bundle import Bundle, Manifest
from kdcompress.data.one_class import OneClassData
from kdcompress.errors import InputError
from kdcompress.product import built
from kdcompress.profiling.counters import macs, params
from kdcompress.recipe import PLACES, SIZES, Recipe, Ref, Student, Teacher
from kdcompress.results import Target
from kdcompress.stage import Stage, fed
from kdcompress.strategies import STRATEGIES
from kdcompress.students.width import solve
from kdcompress.types import Interface, Pair, Scorer, interface


@dataclass(frozen=True)
class Planned:
    """The student, the stages of its training and of its control's, the terms that the pair cannot feed, and notes."""

    manifest: Manifest
    target: Target
    taught: tuple[Stage, ...]
    alone: tuple[Stage, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()


def plan(recipe: Recipe, digest: str, data: OneClassData, given: Bundle | None) -> Planned:
    """Return what a resolved recipe trains; ``given`` is the teacher where it comes from a bundle.

    Nothing is computed: networks are built without memory for their weights.

    Raises:
        InputError: where the student cannot have the wanted size, or the two sides do not fit.
    """
    raw = torch.empty((2, *data.input_shape), dtype=data.train.dtype, device="meta")
    known = _teacher(recipe.teacher, data, raw, "teacher") if recipe.teacher is not None and given is None else None
    if given is not None:
        known = _of_bundle(given, raw)
    own = _capped(recipe.student.name, recipe.student.options, data)
    with _named("student", recipe.student.name):
        target = _size(recipe.student, own, raw, known)
        options = {**own, "width": target.width}
        pair = _meta(recipe.student.name, options, raw)
        pair.detector.inherit(known.detector if known is not None else None)
        student = interface(pair, raw)
    manifest = Manifest(
        recipe.student.name,
        options,
        data.input_shape,
        data={key: value for key, value in recipe.data.model_dump().items() if key not in PLACES},
        recipe=recipe.name,
        digest=digest,
        critic=known is None,
    )
    taught, left_out = _stages(recipe.strategy, student, interface(known, raw) if known is not None else None)
    alone, _ = _stages(recipe.strategy, student, None)
    for stage in taught:
        if said := queries.unfit(stage.queries, data.input_shape):
            place = "strategy." if len(taught) == 1 else f"strategy: stage '{stage.name}': "
            raise InputError(f"{place}queries: {said}")
    if pair.detector.fitted and not any("student" in stage.calibrated for stage in taught):
        assert recipe.strategy is not None, "a resolved recipe has a strategy"
        what = f"score '{options['score']}'" if "score" in options else "score"
        left_out += (f"the student's {what} needs a stage that fits it, and '{recipe.strategy.name}' has none",)
    return Planned(manifest, target, taught, alone, left_out, _notes(recipe.teacher if given is None else None))


def _of_bundle(given: Bundle, raw: Tensor) -> Pair:
    if any(isinstance(part, Foreign) for part in given.detector.modules()):
        # What its shapes follow from is in the bundle, and not in the options.
        return Pair(copy.deepcopy(given.detector).to("meta"))
    known = _meta(given.manifest.architecture, given.manifest.options, raw)
    return known if given.pair.critic is not None else Pair(known.detector)


def _teacher(source: Teacher, data: OneClassData, raw: Tensor, where: str) -> Pair:
    """Return a teacher that is to be trained, of the width that its own target asks for."""
    if source.ensemble is not None:
        members = [
            _teacher(one, data, raw, f"{where}.ensemble.{place}").detector for place, one in enumerate(source.ensemble)
        ]
        with torch.device("meta"):
            return Pair(Ensemble(members))
    assert source.architecture is not None, "a resolved teacher has an architecture"
    own = Student(name=source.architecture.name, **source.architecture.options)
    above = _teacher(source.teacher, data, raw, f"{where}.teacher") if source.teacher is not None else None
    options = _capped(own.name, own.options, data)
    with _named(f"{where}.{source.source_key}", own.name):
        pair = _meta(own.name, {**options, "width": _size(own, options, raw, above).width}, raw)
        interface(pair, raw)  # so that what its outputs lack is said of it, and not of whom it teaches
        if source.source_key == "adapter":
            _check_score(pair, raw)
        pair.detector.check_files()
    return pair


def _check_score(pair: Pair, raw: Tensor) -> None:
    """Check the shape of a detector's scores, as far as they can be had without data."""
    try:
        with torch.no_grad():
            found = Scorer(pair.detector.eval())(raw)
    except InputError:
        raise
    except Exception:  # noqa: BLE001 - what somebody else's code raises where it needs values; vetting has some
        return
    if found.shape != (len(raw),):
        raise InputError(f"score: {list(found.shape)} for {len(raw)} samples, not one number for each of them")


def _notes(source: Teacher | None) -> tuple[str, ...]:
    """Say where a network is taken for trained whose weights nobody named."""
    adapted = source.architecture if source is not None and source.source_key == "adapter" else None
    if adapted is None or adapted.name != "module" or adapted.options.get("checkpoint") is not None:
        return ()
    return ("the teacher has no checkpoint: its weights are random, unless its function loads some itself",)


@contextmanager
def _named(where: str, architecture: str) -> Iterator[None]:
    """Say of an error which side it is about: as a key, where it begins with an option of that architecture."""
    try:
        yield
    except InputError as error:
        if type(error) is not InputError:
            raise
        known = {*SIZES, *(option.name for option in signature.options(ARCHITECTURES[architecture]))}
        begins = re.match(r"[a-z_]+(?=[:.])", str(error))
        joint = "." if begins is not None and begins.group() in known else ": "
        raise InputError(f"{where}{joint}{error}") from error


def _capped(architecture: str, options: dict[str, Any], data: OneClassData) -> dict[str, Any]:
    return signature.capped(ARCHITECTURES[architecture], options, len(data.train))


def _size(student: Student, options: dict[str, Any], raw: Tensor, teacher: Pair | None) -> Target:
    """Return a student's width: as given, or the largest that meets the target."""
    metric, asked = student.target
    if metric == "width":
        return Target(metric, asked, asked, asked)

    def cost(width: float) -> int:
        pair = _meta(student.name, {**options, "width": width}, raw)
        return params(pair.detector) if metric == "params" else _macs(pair, raw)

    reference = None
    if metric == "macs_ratio":
        assert teacher is not None, "a resolved recipe has a teacher where it has a ratio"
        reference = _macs(teacher, raw)
        if reference == 0:
            raise InputError("macs_ratio: the teacher has no multiply-accumulates (allowed: width, macs, params)")
    return solve(cost, metric, asked, reference)


def _meta(architecture: str, options: dict[str, Any], raw: Tensor) -> Pair:
    with torch.device("meta"):
        return built(ARCHITECTURES, Pair, architecture, options, tuple(raw.shape[1:]))


def _macs(pair: Pair, raw: Tensor) -> int:
    return macs(Scorer(pair.detector), raw[:1])


def _stages(
    ref: Ref | None, student: Interface, teacher: Interface | None
) -> tuple[tuple[Stage, ...], tuple[str, ...]]:
    assert ref is not None, "a resolved recipe has a strategy"
    return fed(built(STRATEGIES, tuple[Stage, ...], ref.name, ref.options, student, teacher), student, teacher)
