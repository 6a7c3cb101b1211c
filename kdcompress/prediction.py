"""A saved detector, whatever its format, on samples that come one after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from kdcompress import bundle
from kdcompress.architectures.file_model import FileModel, sized
from kdcompress.architectures.onnx_file import OnnxModel
from kdcompress.architectures.pt2_file import Pt2Model
from kdcompress.architectures.scoring import Preparation, Scale
from kdcompress.data.streamed import Array, Sample
from kdcompress.errors import InputError, unknown
from kdcompress.evaluation.scoring import unchecked
from kdcompress.evaluation.thresholds import p_values
from kdcompress.exporting import ENDINGS, exported
from kdcompress.exporting.metadata import Input, input_of
from kdcompress.exporting.parity import scores

_BATCH = 64
_MODELS: Mapping[str, type[FileModel]] = {".onnx": OnnxModel, ".pt2": Pt2Model}


@dataclass(frozen=True)
class Scoring:
    """What scores: a bundle's detector or an exported one.

    Attributes:
        input: what goes in.
        threshold: above it a score means anomaly; None where none was chosen.
        score: raw data [N, ...] to scores [N], finite or not.
        normals: scores of held-out normals, for p-values; None where the file keeps none.
    """

    input: Input
    threshold: float | None
    score: Callable[[Array], Array]
    normals: Array | None = None


@dataclass(frozen=True)
class Predicted:
    """A sample with its score, and with its decision where there is a threshold: 0 normal, 1 anomaly.

    ``p_value`` is there where scores of held-out normals are.
    """

    sample: Sample
    score: float | None
    decision: int | None
    p_value: float | None = None


@dataclass(frozen=True)
class Asked:
    """How a file of another tool is asked.

    Attributes:
        output: which of its outputs is the score: a name, ``output``, ``output.0``, ...
        shape: of one raw sample; None for what the file declares.
        scale: what it sees of images, as `Preparation.scale`.
    """

    output: str
    shape: tuple[int, ...] | None = None
    scale: str = "raw"


def load_other(target: Path, asked: Asked) -> Scoring:
    """Read an exported file of another tool, of which only the user knows what its score is.

    Raises:
        InputError: where it is no exported file by its name, cannot be loaded, has no such output, or declares no
            shape and none is given.
        BundleError: where this package wrote it: it says itself what its score is.
    """
    kind = _MODELS.get(target.suffix.lower())
    if kind is None:
        raise InputError(f"--score-output: {target} is no exported file (allowed: {', '.join(ENDINGS)})")
    scales: tuple[Scale, ...] = get_args(Scale)
    scale = next((one for one in scales if one == asked.scale), None)
    if scale is None:
        raise InputError(f"--scale: {unknown('scale', asked.scale, scales)}")
    if exported.is_own(target):
        raise InputError(f"--score-output: kdcompress wrote {target}, which says itself what its score is")
    preparation = Preparation(scale=scale)
    try:
        file = sized(str(target))
    except ValueError as error:
        raise InputError(str(error)) from error
    shape = _agreed(target, asked.shape, kind(file, asked.output, preparation, ()).declared()[1:])
    # Said here in the words of the options: the preparation's own messages are those of a recipe.
    if scale == "imagenet" and not (len(shape) == 3 and shape[0] == 3):
        raise InputError(
            f"--scale imagenet: is for images of three channels, and {target} takes samples of shape {shape} "
            f"(allowed: {', '.join(one for one in scales if one != scale)})"
        )
    detector = kind(file, asked.output, preparation, shape).eval()
    # An output that is not there is told before any sample is read.
    try:
        unchecked(detector, torch.zeros(1, *shape))
    except (RuntimeError, MemoryError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{target}: cannot score a sample of shape {shape}: {said[0]}") from error
    return Scoring(input_of(shape), None, lambda raw: unchecked(detector, torch.from_numpy(raw)))


def _agreed(target: Path, given: tuple[int, ...] | None, declared: tuple[int | None, ...]) -> tuple[int, ...]:
    """Return the shape of a sample that user and file agree on; sides that a file leaves open are None."""
    shown = ", ".join("any" if side is None else str(side) for side in declared)
    if given is None:
        known = tuple(side for side in declared if side is not None)
        if not declared or len(known) < len(declared):
            raise InputError(f"{target}: takes samples of shape ({shown}): say which they have, e.g. --input 3,256,256")
        return known
    fits = len(given) == len(declared) and all(own in (None, side) for side, own in zip(given, declared, strict=True))
    if declared and not fits:
        raise InputError(f"--input {','.join(map(str, given))}: {target} takes samples of shape ({shown})")
    return given


def load(target: Path) -> Scoring:
    """Read a bundle or an exported file.

    Raises:
        BundleError: where it cannot be used.
    """
    if exported.is_exported(str(target)):
        found = exported.load(target)
        normals = None if found.metadata.normals is None else np.asarray(found.metadata.normals)
        return Scoring(found.metadata.input, found.metadata.threshold, lambda raw: scores(found, raw), normals)
    loaded = bundle.load(target)
    known = input_of(loaded.manifest.input_shape)
    return Scoring(known, loaded.manifest.threshold, lambda raw: unchecked(loaded.detector, torch.from_numpy(raw)))


def predict(scoring: Scoring, samples: Iterable[Sample]) -> Iterator[Predicted]:
    """Score samples in their order, a batch at a time; what has a problem, or no finite score, gets none."""
    left = iter(samples)
    while batch := list(itertools.islice(left, _BATCH)):
        good = [one.values for one in batch if one.values is not None]
        values = scoring.score(np.stack(good)) if good else np.zeros(0)
        beside = [None] * len(values) if scoring.normals is None else p_values(scoring.normals, values).tolist()
        found = zip(values.tolist(), beside, strict=True)
        for sample in batch:
            yield Predicted(sample, None, None) if sample.values is None else _decided(scoring, sample, *next(found))


def _decided(scoring: Scoring, sample: Sample, score: float, p_value: float | None) -> Predicted:
    if not math.isfinite(score):
        # No comparison with a threshold says anything of it: NaN would pass for normal.
        place = sample.file if sample.row is None else f"{sample.file}: row {sample.row}"
        problem = f"{place}: its score is {score:g}, expected a finite number (values far from the training's overflow)"
        return Predicted(replace(sample, values=None, problem=problem), None, None)
    return Predicted(sample, score, None if scoring.threshold is None else int(score > scoring.threshold), p_value)
