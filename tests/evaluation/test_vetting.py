"""What is wrong with a teacher is said before anything is trained."""

import pytest
import torch

from kdcompress.errors import InputError
from kdcompress.evaluation.vetting import vetted
from kdcompress.types import Detector

NORMALS = 10 + torch.randn(100, 4, generator=torch.Generator().manual_seed(0))


class Scored(Detector):
    def __init__(self, of):
        super().__init__()
        self.of = of

    def prepare(self, raw):
        return raw

    def forward(self, x):
        return {}

    def score_outputs(self, x, outputs):
        return self.of(x)


def distance(x):
    return (x - 10).square().sum(1)


def test_a_teacher_that_knows_normals_from_changed_ones_is_fine():
    assert vetted(Scored(distance), NORMALS, NORMALS[:40]) == ()


@pytest.mark.parametrize("held", [NORMALS[:40], NORMALS[:10]], ids=["many", "few"])
def test_a_score_the_other_way_round_is_a_warning(held):
    assert vetted(Scored(distance), NORMALS, held) == ()
    (said,) = vetted(Scored(lambda x: -distance(x)), NORMALS, held)
    assert "higher should be more anomalous" in said


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (lambda x: torch.full((len(x),), 3.0), "all its scores are 3"),
        (lambda x: torch.rand(len(x)), "has to be deterministic"),
        (lambda x: distance(x) / distance(x).mean(), "what else is in a batch"),
        (lambda x: distance(x) / 0, "no finite numbers for 40 of 40 normals and 64 of 64 .*are its score, its prep"),
        (lambda x: torch.where(x[:, 0] < 11, distance(x), torch.nan), r"numbers for [1-9]\d? of 40 normals and"),
        (lambda x: x, r"teacher: Scored\.score returned"),
    ],
)
def test_what_cannot_teach_is_refused(of, said):
    with pytest.raises(InputError, match=said):
        vetted(Scored(of), NORMALS, NORMALS[:40])


def test_what_is_wrong_with_a_teacher_is_not_blamed_on_a_learning_rate():
    with pytest.raises(InputError, match="not|no") as caught:
        vetted(Scored(lambda x: distance(x) * torch.nan), NORMALS, NORMALS[:40])
    assert "learning rate" not in str(caught.value)
