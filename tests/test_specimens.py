"""The samples that a report shows are the ones it says, and the images are honest."""

import numpy as np
import pytest
import torch
from torch import nn

from kdcompress import specimens
from kdcompress.data.one_class import OneClassData
from kdcompress.types import Detector

CPU = torch.device("cpu")


class Copying(Detector):
    """Reconstructs its own input, which ``prepare`` made of the raw images."""

    def __init__(self, prepare):
        super().__init__()
        self.change, self.norm = prepare, nn.BatchNorm2d(3)

    def prepare(self, raw):
        return self.change(raw.float())

    def forward(self, x):
        assert not self.training
        return {"reconstruction": x}


def images(count=5, channels=3, height=12, width=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)


def scaled(x):
    return x / 127.5 - 1


def by_channel(x):
    mean, deviation = torch.tensor([0.48, 0.45, 0.4]), torch.tensor([0.23, 0.22, 0.25])
    return (x / 255 - mean[:, None, None]) / deviation[:, None, None]


def smooth(size):
    """Images that survive shrinking: one bright gradient each."""
    ramp = torch.linspace(0, 255, size).expand(2, 3, size, size)
    return torch.stack([ramp[0], ramp[1].mT]).to(torch.uint8)


def make_data(**changes):
    test = images(40, 1, 8, 8)
    given = {"train": test, "validation": test, "test": test, "labels": torch.arange(40) % 2}
    return OneClassData(name="made", normal_class=None, **(given | changes))


def make_scores(seed=0, count=40):
    rng = np.random.default_rng(seed)
    return {arm: rng.normal(size=count) for arm in ("teacher", "control", "student")}


@pytest.mark.parametrize("prepare", [scaled, by_channel, lambda x: -3 * x])
def test_a_copy_of_the_input_comes_back_as_the_raw_image(prepare):
    raw = images()
    found = specimens.reconstructed(Copying(prepare).train(), raw, CPU)
    torch.testing.assert_close(found, raw.float(), rtol=0, atol=1e-3)


def test_a_resized_copy_comes_back_in_the_raw_size():
    raw = smooth(32)
    small = Copying(lambda x: nn.functional.interpolate(scaled(x), (16, 16), mode="bilinear", antialias=True))
    found = specimens.reconstructed(small, raw, CPU)
    assert found.shape == raw.shape
    # The ends of a gradient are averaged away: one step of the small image.
    torch.testing.assert_close(found, raw.float(), rtol=0, atol=255 / 16)


@pytest.mark.parametrize(
    ("what", "prepare"),
    [
        ("each image by itself", lambda x: (x - x.mean((1, 2, 3), True)) / (x.std((1, 2, 3), keepdim=True) + 1e-6)),
        ("gamma", lambda x: (x / 255) ** 2.2),
        ("nothing left", torch.zeros_like),
        ("not a number", lambda x: x / 0),
        ("a part cut out", lambda x: scaled(x)[..., 3:9, 2:8]),
        ("turned round", lambda x: scaled(x).flip(-1)),
        ("no image", lambda x: x.flatten(1)),
    ],
)
def test_what_prepare_does_beyond_scaling_is_never_shown_as_if_undone(what, prepare):
    assert specimens.reconstructed(Copying(prepare), images(), CPU) is None, what


def test_groups_hold_the_most_wrongly_scored_samples_of_their_kind():
    labels, scores = np.arange(200) % 2, make_scores(count=200)
    groups = {}
    for group, index in specimens.chosen(labels, scores):
        groups.setdefault(group, []).append(index)
    order = np.argsort(scores["student"])
    assert groups["missed"] == [index for index in order if labels[index] == 1][:6]
    assert groups["false alarms"] == [index for index in order[::-1] if labels[index] == 0][:6]
    apart = np.abs(specimens.percentile(labels, scores["teacher"]) - specimens.percentile(labels, scores["student"]))
    shown = groups["missed"] + groups["false alarms"]
    rest = [index for index in np.argsort(-apart, kind="stable") if index not in shown]
    assert groups["disagreement"] == rest[:6]
    assert list(labels[groups["typical"]]) == [0, 0, 0, 1, 1, 1]
    everything = [index for one in groups.values() for index in one]
    assert len(everything) == len(set(everything)) == 24


def test_few_samples_one_class_or_one_detector_make_fewer_groups():
    alone = {"student": np.array([0.1, 0.2, 0.3])}
    assert dict(specimens.chosen(np.zeros(3), alone)) == {"false alarms": 0}
    assert dict(specimens.chosen(np.ones(3), alone)) == {"missed": 2}
    same = {"student": np.arange(99.0), "teacher": 7 * np.arange(99.0)}
    assert "disagreement" not in dict(specimens.chosen(np.arange(99) % 2, same))


def test_a_percentile_is_the_share_of_normals_below_and_ties_count_half():
    labels, scores = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([1.0, 2, 3, 4, 0, 2, 9])
    assert specimens.percentile(labels, scores).tolist() == [12.5, 37.5, 62.5, 87.5, 0, 37.5, 100]
    assert specimens.percentile(np.ones(2), np.array([5.0, 6])).tolist() == [25, 75]


def test_the_arrays_are_those_of_the_samples_that_they_name():
    data, scores = make_data(), make_scores()
    detectors = {"teacher": Copying(scaled), "student": Copying(scaled), "teacher_after": Copying(scaled)}
    found = specimens.specimens(detectors, scores, data, CPU)
    assert set(found) == {
        *("group", "index", "label", "input", "percentile_teacher", "percentile_student"),
        *("reconstruction_teacher", "reconstruction_student"),
    }
    np.testing.assert_array_equal(found["input"], data.test[found["index"]].numpy())
    np.testing.assert_array_equal(found["reconstruction_student"], found["input"])
    np.testing.assert_array_equal(found["label"], data.labels.numpy()[found["index"]])
    assert all(not values.dtype.hasobject for values in found.values())


def test_large_images_are_stored_small():
    detectors = {"student": Copying(scaled)}
    found = specimens.specimens(detectors, make_scores(), make_data(test=images(40, 3, 200, 100)), CPU)
    assert found["input"].shape[1:] == found["reconstruction_student"].shape[1:] == (3, 64, 32)


@pytest.mark.parametrize("test", [torch.zeros(40, 7), torch.zeros(40, 1, 8, 8), images(40, 2, 8, 8)])
def test_data_that_are_no_images_have_no_samples(test):
    assert specimens.specimens({"student": Copying(scaled)}, make_scores(), make_data(test=test), CPU) == {}


def test_detectors_without_reconstructions_have_no_samples():
    class Silent(Copying):
        def forward(self, x):
            return {"latent": x.flatten(1)}

    assert specimens.specimens({"student": Silent(scaled)}, make_scores(), make_data(), CPU) == {}
