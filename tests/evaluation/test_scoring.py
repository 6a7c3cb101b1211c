"""Scores depend on the detector and the data, on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kdcompress.errors import ScoreError
from kdcompress.evaluation.scoring import score
from kdcompress.types import Detector


class Small(Detector):
    """A convolution, batch norm and dropout: everything that behaves otherwise in train mode."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))

    def prepare(self, raw):
        return raw.float() / 127.5 - 1

    def forward(self, x):
        return {"features": self.body(x.to(self.body[0].weight.dtype))}

    def score_outputs(self, x, outputs):
        return outputs["features"].square().mean(dim=(1, 2, 3))


class Given(Detector):
    """Returns what a function makes of the raw data."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def score(self, raw):
        return self.function(raw)


@pytest.fixture
def detector():
    torch.manual_seed(0)
    small = Small()
    small(torch.randn(64, 1, 8, 8) * 3 + 1)  # running statistics other than 0 and 1
    return small


@pytest.fixture
def raw():
    return torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_scores_are_those_of_the_detector_in_eval_mode(detector, raw):
    scores = score(detector, raw)
    assert scores.dtype == np.float64
    with torch.no_grad():
        expected = detector.eval().score(raw)
    np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-6)  # float32 rounding


@pytest.mark.parametrize("batch_size", [1, 7, 49, 50])
def test_batch_size_does_not_change_scores(detector, raw, batch_size):
    whole = score(detector, raw)
    np.testing.assert_allclose(score(detector, raw, batch_size=batch_size), whole, rtol=1e-5)  # float32 rounding


def test_batches_are_no_larger_than_asked_for(raw):
    seen = []
    score(Given(lambda batch: seen.append(len(batch)) or torch.ones(len(batch))), raw, batch_size=20)
    assert seen == [20, 20, 10]


def test_each_module_keeps_its_mode_and_its_weights(detector, raw):
    detector.train()
    detector.body[1].eval()  # frozen on purpose
    modes = [part.training for part in detector.modules()]
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    score(detector, raw)
    assert [part.training for part in detector.modules()] == modes
    torch.testing.assert_close(dict(detector.state_dict()), before, rtol=0, atol=0)


def test_modes_come_back_after_an_error_too(raw):
    detector = Given(lambda batch: torch.full((len(batch),), torch.nan)).train()
    with pytest.raises(ScoreError, match="not finite"):
        score(detector, raw)
    failing = Given(lambda batch: batch.nonsense).train()
    with pytest.raises(AttributeError, match="nonsense"):
        score(failing, raw)
    assert detector.training
    assert failing.training


def test_a_surrounding_autocast_does_not_reach_the_scores(detector, raw):
    expected = score(detector, raw)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(score(detector, raw), expected)


def test_reduced_precision_products_are_off_while_scoring_and_back_after(raw):
    seen = []

    def note(batch):
        seen.append((torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()))
        return torch.ones(len(batch))

    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    try:
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("medium")
        score(Given(note), raw)
        after = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])
    assert seen == [(False, "highest")]
    assert after == (True, "medium")


def test_weights_of_lower_precision_are_scored_in_float32_and_left_as_they_are(detector, raw):
    detector.to(torch.bfloat16)
    scores = score(detector, raw)
    assert detector.body[0].weight.dtype == torch.bfloat16
    np.testing.assert_array_equal(scores, score(detector.float(), raw))


def test_no_graph_is_kept(raw):
    seen = []
    score(Given(lambda batch: seen.append(torch.is_inference_mode_enabled()) or torch.ones(len(batch))), raw)
    assert seen == [True]


def test_non_finite_scores_name_the_samples_over_all_batches(raw):
    raw = raw.clone()
    raw[:], raw[3], raw[41] = 1, 0, 0
    detector = Given(lambda batch: 1 / batch[:, 0, 0, 0].float())
    with pytest.raises(ScoreError, match=r"Given: 2 of 50 scores are not finite \(samples 3, 41\)"):
        score(detector, raw, batch_size=10)


def test_a_score_of_another_shape_is_refused(raw):
    with pytest.raises(ScoreError, match=r"Given\.score returned \(50, 1\).*\(50,\)"):
        score(Given(lambda batch: batch[:, 0, 0, :1].float()), raw)


def test_constant_scores_pass_here_for_a_single_sample_is_a_use_too(raw):
    assert score(Given(lambda batch: torch.ones(len(batch))), raw[:1]).tolist() == [1.0]
    assert score(Given(lambda batch: torch.ones(len(batch))), raw[:0]).shape == (0,)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_scores_of_the_cpu(detector, raw):
    expected = score(detector, raw)
    found = score(detector.cuda(), raw, device="cuda", batch_size=7)
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32 rounding; TF32 would be near 1e-3
