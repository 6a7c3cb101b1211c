"""What the detectors see: test samples beside their reconstructions, the most wrongly scored first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kdcompress.reporting.png import data_uri
from kdcompress.reporting.record import ARMS, RunRecord, label
from kdcompress.results import Result

KINDS = ("normal", "anomaly")
TITLES = {
    "missed": "Most wrongly scored: anomalies with the lowest scores",
    "false alarms": "Most wrongly scored: normals with the highest scores",
    "disagreement": "Teacher and student disagree most",
    "typical": "Typical normals and anomalies",
}
OF_ONE_KIND = ("missed", "false alarms")
NOTE = (
    "Columns are test samples with their number, the most extreme first. Percentile: how many per cent of the test's "
    "normals score lower. Error: how far a reconstruction is from its input, black for not at all. A detector need not "
    "score by this error. Labels chose these samples after the evaluation, for this page alone."
)


@dataclass(frozen=True)
class Picture:
    """An image with what it says to those who do not see it."""

    source: str
    text: str


@dataclass(frozen=True)
class Strip:
    """One row of pictures; ``arm`` is the detector that made them, empty for the input."""

    name: str
    arm: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Panel:
    """Samples of one group: columns are samples, rows are what the detectors made of them and how they scored."""

    title: str
    samples: tuple[str, ...]
    strips: tuple[Strip, ...]
    words: tuple[tuple[str, ...], ...]


def gallery(record: RunRecord) -> tuple[Panel, ...]:
    """Return the panels of a run, the most wrongly scored samples first; none where it shows no images."""
    samples = record.samples
    if not samples:
        return ()
    groups = [name for name in TITLES if (samples["group"] == name).any()]
    return tuple(_panel(record.result, name, samples, np.flatnonzero(samples["group"] == name)) for name in groups)


def _panel(result: Result, group: str, samples: Mapping[str, np.ndarray], places: np.ndarray) -> Panel:
    labels = [KINDS[int(samples["label"][place])] for place in places]
    numbers = [f"#{samples['index'][place]}" for place in places]
    named = [f"sample {number}, {kind}" for number, kind in zip(numbers, labels, strict=True)]
    found = [arm for arm in ARMS if f"reconstruction_{arm}" in samples]
    inputs = samples["input"][places]
    made = {arm: samples[f"reconstruction_{arm}"][places] for arm in found}
    strips = [_strip("input", "", inputs, "Input", named)]
    strips += [
        _strip(label(result, arm), arm, made[arm], f"Reconstruction by the {label(result, arm)}", named)
        for arm in found
    ]
    strips += [
        _strip(
            f"{label(result, arm)}'s error", arm, _error(inputs, made[arm]), f"Error of the {label(result, arm)}", named
        )
        for arm in found
        if arm != "control"
    ]
    words = [("label", *labels)] if group not in OF_ONE_KIND else []
    for arm in ARMS:
        if (values := samples.get(f"percentile_{arm}")) is not None:
            words.append((f"{label(result, arm)}'s percentile", *(f"{values[place]:.1f}" for place in places)))
    return Panel(TITLES[group], tuple(numbers), tuple(strips), tuple(words))


def _strip(name: str, arm: str, images: np.ndarray, what: str, named: list[str]) -> Strip:
    pictures = [Picture(data_uri(image), f"{what}: {one}") for image, one in zip(images, named, strict=True)]
    return Strip(name, arm, tuple(pictures))


def _error(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Return the absolute difference, the mean of the channels, as grey images."""
    apart = np.abs(images.astype(np.int16) - reconstructions.astype(np.int16))
    return np.asarray(apart.mean(axis=1, keepdims=True).round(), np.uint8)
