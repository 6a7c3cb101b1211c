"""Which test samples a report shows, and what the detectors make of them.

Labels are read here to choose what is shown, after everything has been trained and scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from kdcompress import evaluation
from kdcompress.data.one_class import OneClassData
from kdcompress.types import Detector

ARMS = ("teacher", "control", "student")
LIMITS = {"missed": 6, "false alarms": 6, "disagreement": 6, "typical": 6}
LONGEST_SIDE = 64
"""Larger images are shown, and stored, no larger than this."""

STRAY = 0.02
"""How far, as a share of the range from black to white, ``prepare`` may be from a scaling and a resizing."""

Array = np.ndarray


def specimens(
    detectors: Mapping[str, Detector], scores: Mapping[str, Array], data: OneClassData, device: torch.device
) -> dict[str, Array]:
    """Return the samples that a report shows, as arrays by name; empty where there is no image to show.

    ``group``, ``index``, ``label``, ``input`` and for each arm ``percentile_<arm>`` and, where it has one,
    ``reconstruction_<arm>``; images are uint8 [N, C, H, W]. The detectors must be on the device already.
    """
    if data.test.dtype != torch.uint8 or data.test.ndim != 4 or data.test.shape[1] not in (1, 3):
        return {}
    labels = data.labels.numpy()
    groups, indices = (np.array(one) for one in zip(*chosen(labels, scores), strict=True))
    raw = data.test[torch.from_numpy(indices)]
    images = {name: reconstructed(detectors[name], raw, device) for name in ARMS if name in detectors}
    shown = {f"reconstruction_{name}": _shown(image) for name, image in images.items() if image is not None}
    if not shown:
        return {}
    percentiles = {f"percentile_{name}": percentile(labels, scores[name])[indices] for name in images}
    about = {"group": groups, "index": indices, "label": labels[indices].astype(np.uint8)}
    return {**about, "input": _shown(raw.float()), **percentiles, **shown}


def chosen(labels: Array, scores: Mapping[str, Array]) -> Iterator[tuple[str, int]]:
    """Yield (group, index into the test set), the most telling samples first and none twice.

    The student's most wrongly scored samples, those on which teacher and student disagree most by rank, typical ones.
    """
    taken: set[int] = set()
    for group, limit, order in _orders(labels, scores):
        free = [int(index) for index in order if int(index) not in taken][:limit]
        taken.update(free)
        yield from ((group, index) for index in free)


def _orders(labels: Array, scores: Mapping[str, Array]) -> Iterator[tuple[str, int, Array]]:
    student, normals, anomalies = scores["student"], np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    yield "missed", LIMITS["missed"], _ascending(anomalies, student)
    yield "false alarms", LIMITS["false alarms"], _ascending(normals, -student)
    if "teacher" in scores:
        apart = np.abs(percentile(labels, scores["teacher"]) - percentile(labels, student))
        yield "disagreement", LIMITS["disagreement"], _ascending(np.flatnonzero(apart > 0), -apart)
    for kind in (normals, anomalies):
        middle = np.median(student[kind]) if len(kind) else 0.0
        yield "typical", LIMITS["typical"] // 2, _ascending(kind, np.abs(student - middle))


def _ascending(indices: Array, values: Array) -> Array:
    return indices[np.argsort(values[indices], kind="stable")]


def percentile(labels: Array, scores: Array) -> Array:
    """Return for each score the percentage of the test's normals (of all, where it has none) that are below it.

    Equal scores count half.
    """
    reference = np.sort(scores[labels == 0] if (labels == 0).any() else scores)
    below, not_above = (np.searchsorted(reference, scores, side) for side in ("left", "right"))
    return np.asarray(50.0 * (below + not_above) / len(reference))


def reconstructed(detector: Detector, raw: Tensor, device: torch.device) -> Tensor | None:
    """Return what a detector makes of raw images [N, C, H, W], in their size and in [0, 255].

    None where it makes no images, or where its ``prepare`` is more than a scaling of each channel and a resizing, so
    that its images have no honest way back.
    """
    scale = _scale(detector, raw.shape[1:], device)
    image = evaluation.outputs(detector, raw, device=device).get("reconstruction")
    if scale is None or image is None or image.ndim != 4 or image.shape[:2] != raw.shape[:2]:
        return None
    black, white = scale
    image = 255 * (image - black) / (white - black)
    return _resized(image, raw.shape[-2:]) if bool(image.isfinite().all()) else None


def _scale(detector: Detector, shape: torch.Size, device: torch.device) -> tuple[Tensor, Tensor] | None:
    """Return what black and white become in each channel [C, 1, 1]; None where that does not tell all."""
    probes = _probes(shape)
    with torch.inference_mode():
        prepared = detector.prepare(probes.to(device)).float().cpu()
    if prepared.ndim != 4 or prepared.shape[:2] != probes.shape[:2]:
        return None
    black, white = prepared[:2].mean(dim=(2, 3), keepdim=True)
    expected = black + (white - black) * _resized(probes / 255, prepared.shape[-2:])
    stray = (prepared - expected).abs().mean(dim=(2, 3))
    # Where black is white, or either is no number, this is False too.
    honest = (stray <= STRAY * (white - black).abs().flatten()) & (white != black).flatten()
    return (black, white) if bool(honest.all()) else None


def _probes(shape: torch.Size) -> Tensor:
    """Return a black and a white image, and one that brightens to the right and one downwards."""
    channels, height, width = shape
    right = torch.linspace(0, 255, width).expand(height, width)
    down = torch.linspace(0, 255, height)[:, None].expand(height, width)
    flat = torch.zeros(height, width)
    planes = torch.stack([flat, flat + 255, right, down]).round().to(torch.uint8)
    return planes[:, None].expand(4, channels, height, width).contiguous()


def _resized(image: Tensor, size: torch.Size | tuple[int, ...]) -> Tensor:
    if image.shape[-2:] == torch.Size(size):
        return image
    return nn.functional.interpolate(image, tuple(size), mode="bilinear", antialias=True, align_corners=False)


def _shown(image: Tensor) -> Array:
    height, width = image.shape[-2:]
    shrink = min(1.0, LONGEST_SIDE / max(height, width))
    size = max(1, round(height * shrink)), max(1, round(width * shrink))
    return np.asarray(_resized(image, size).round().clamp(0, 255).to(torch.uint8).numpy())
