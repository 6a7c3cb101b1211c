"""An int8 file of an ONNX file: calibrated on held-out normals, with a threshold and a self-test of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from kdcompress.architectures.rows import evenly
from kdcompress.bundle import Bundle
from kdcompress.errors import InputError
from kdcompress.evaluation.thresholds import threshold
from kdcompress.exporting import int8, onnx
from kdcompress.exporting.exported import Array, Exported
from kdcompress.exporting.inputs import Inputs, made_up
from kdcompress.exporting.limit import told
from kdcompress.exporting.metadata import Quantisation, SelfTest, self_test, self_test_size
from kdcompress.exporting.parity import Limits, rank_correlation, scores
from kdcompress.exporting.search import Choice, choose, costs_of
from kdcompress.types import SCORE

if TYPE_CHECKING:
    from onnx import ModelProto

_CALIBRATED, _TRIED = 1000, 400
"""Held-out normals that ranges are taken from, and those whose scores are compared while layers are chosen."""

_TESTED = 64
_OFF = 0.01
"""How far the self-test's scores may be off, as a share of their spread: one of 255 steps is 0.004."""


@dataclass(frozen=True)
class Eight:
    """An int8 file.

    Attributes:
        data: its content.
        exported: the detector in it.
        costliest: says which layer costs most; measured when it is asked for.
    """

    data: bytes
    exported: Exported
    costliest: Callable[[], str]


@dataclass(frozen=True)
class _Float:
    """An ONNX file with what its layers are tried by.

    Attributes:
        path: for messages.
        proto: its graph.
        exported: the detector in it.
        layers: that can be in eight bits.
        known: between which bounds the values of normals lie.
        tried: held-out normals, and these with perturbed ones: each shall keep its order.
        wanted: their scores in float.
    """

    path: Path
    proto: ModelProto
    exported: Exported
    layers: int8.Layers
    known: int8.Ranges
    tried: tuple[Array, ...]
    wanted: tuple[Array, ...]


def calibrated(
    bundle: Bundle, plain: bytes, path: Path, given: Inputs, known: Array, limits: Limits, *, keep: bool = False
) -> Eight:
    """Return the int8 file of an ONNX file; no test sample and no label takes part.

    Args:
        bundle: that the ONNX file was made of.
        plain: the ONNX file.
        path: of the int8 file, for messages.
        given: with the held-out normals.
        known: the bundle's scores of these [n].
        limits: layers stay in float until the normals' scores keep this rank correlation.
        keep: whether the file keeps its scores of held-out normals.

    Raises:
        InputError: where there are no held-out normals, or nothing is to be quantised.
    """
    normals = held_out(given, path)
    whole = _float(bundle, plain, path, given, evenly(normals, _CALIBRATED).numpy())
    chosen = choose(tuple(whole.layers), lambda names: _kept(whole, names), limits.spearman)
    final = _graph(whole, chosen.layers)
    metadata = replace(
        whole.exported.metadata,
        inner=onnx.still_there(whole.exported.metadata.inner, final),
        quantisation=_quantisation(whole, chosen, min(_CALIBRATED, len(normals))),
    )
    draft = onnx.opened(onnx.sealed(final, metadata), path)
    own = scores(draft, normals.numpy())
    metadata = replace(
        metadata, self_test=_self_test(bundle, draft), threshold=_threshold(bundle.manifest.threshold, known, own)
    )
    metadata = told(metadata, own, keep=keep)
    data = onnx.sealed(final, metadata)
    return Eight(data, onnx.opened(data, path), lambda: _costliest(whole, given))


def held_out(given: Inputs, path: Path) -> Tensor:
    """Return the held-out normals [n, ...].

    Raises:
        InputError: where there are none.
    """
    if given.normals is None or not len(given.normals):
        raise InputError(
            f"{path}: calibration needs held-out normals of the data that the detector was trained on, and they are "
            "not on this machine; say which with --set data..., or export on the machine that has them"
        )
    return given.normals


def _float(bundle: Bundle, plain: bytes, path: Path, given: Inputs, normals: Array) -> _Float:
    exported, proto = onnx.opened(plain, path), onnx.parsed(plain, path)
    layers = int8.layers(proto, bundle.detector, exported.metadata.inner)
    if not layers:
        raise InputError(
            f"{path}: {bundle.manifest.architecture} has no layers to put in eight bits: what it computes with are "
            "distances or trees, which stay in float (allowed: --to onnx)"
        )
    # Those without a label are normals, held out, and perturbed ones.
    every = normals[:: -(-len(normals) // _TRIED)], given.raw[len(given.labels) :].numpy()
    tried = tuple(raw for raw in every if len(raw))
    wanted = tuple(scores(exported, raw) for raw in tried)
    return _Float(path, proto, exported, layers, int8.ranges(proto, layers, normals, path), tried, wanted)


def _graph(whole: _Float, names: Sequence[str]) -> ModelProto:
    return int8.quantised(whole.proto, {name: whole.layers[name] for name in names}, whole.known)


def _kept(whole: _Float, names: Sequence[str]) -> float:
    """Return the rank correlation that is left with these layers in eight bits; -1 where all scores are the same."""
    running = onnx.session(_graph(whole, names).SerializeToString(), whole.path)
    found = []
    for raw, wanted in zip(whole.tried, whole.wanted, strict=True):
        scored = [onnx.ran(running, [SCORE], part, whole.path)[0] for part in int8.parts(raw)]
        found.append(rank_correlation(wanted, np.concatenate(scored)))
    return min(-1.0 if one is None else one for one in found)


def _quantisation(whole: _Float, chosen: Choice, normals: int) -> Quantisation:
    kinds = int8.kinds(whole.proto, whole.layers)
    return Quantisation(
        layers=chosen.layers,
        in_float=tuple(name for name in whole.layers if name not in chosen.layers),
        computed_in_float=tuple(name for name in chosen.layers if kinds[name] in int8.WITHOUT_KERNEL),
        costs=chosen.costs,
        calibrated_on=f"{normals} held-out normals",
    )


def _costliest(whole: _Float, given: Inputs) -> str:
    """Say which layer costs most on what the gate compares; it is told, and nothing is chosen by it."""
    raw = given.raw.numpy()
    seen = replace(whole, tried=(raw,), wanted=(scores(whole.exported, raw),))
    names = tuple(whole.layers)
    costs = costs_of(names, lambda some: _kept(seen, some), _kept(seen, names))
    name = max(costs, key=lambda one: costs[one])
    kind = int8.kinds(whole.proto, whole.layers)[name]
    return f"; of its layers '{name}' ({kind}) costs most, {costs[name]:.4f} of the rank correlation"


def _threshold(whole: float | None, known: Array, own: Array) -> float | None:
    """Return the file's own threshold: as many held-out normals lie above it as above the bundle's."""
    if whole is None:
        return None
    above, count = int((known > whole).sum()), len(known)
    # The rate by which `threshold` leaves that many above; all of them cannot be.
    rate = (min(above, count - 1) + 1) / (count + 1)
    return threshold(own, rate)


def _self_test(bundle: Bundle, exported: Exported) -> SelfTest:
    """Return made-up inputs with the file's own scores: devices that round alike have them."""
    raw = made_up(bundle.detector, bundle.manifest.input_shape, _TESTED).raw.numpy()
    found = scores(exported, raw)
    few = self_test_size(bundle.manifest.input_shape)
    return self_test(raw[:few], found[:few], _tolerance(found))


def _tolerance(found: Array) -> float:
    return _OFF * float(max(np.median(np.abs(found)), np.ptp(found)))
