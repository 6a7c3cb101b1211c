import pytest
import torch
from torch import nn

from kdcompress.scale.rule import _value
from kdcompress.types import Detector


class Sum(Detector):
    """Scores are sums of a row, times a factor."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(float(factor)))

    def prepare(self, raw):
        return raw.float()

    def forward(self, x):
        return {"total": self.factor * x.sum(1)}

    def score_outputs(self, x, outputs):
        return outputs["total"]


HELD, CHANGED = torch.arange(12.0).reshape(4, 3), 100 + torch.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize(("factor", "worth"), [(1, 1.0), (5, 1.0), (-1, -1.0), (0, None)])
def test_agreement_is_the_rank_correlation_with_the_teacher(factor, worth):
    assert _value(Sum(factor), Sum(1), HELD, CHANGED) == (worth if worth is None else pytest.approx(worth))


@pytest.mark.parametrize(("factor", "worth"), [(1, 1.0), (-1, 0.0), (0, None)])
def test_separation_is_the_auroc_of_normals_against_changed_ones(factor, worth):
    assert _value(Sum(factor), None, HELD, CHANGED) == worth
