import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from kdcompress.losses import LOSSES
from kdcompress.losses.relations import angles, distances, similarity
from kdcompress.stage import Side

GENERATOR = torch.Generator().manual_seed(0)
POINTS = torch.randn(7, 3, generator=GENERATOR)
OTHERS = torch.randn(7, 5, generator=GENERATOR)
ROTATION = torch.linalg.qr(torch.randn(3, 3, generator=GENERATOR))[0]
RELATIONS = {"distances": distances, "angles": angles, "similarity": similarity}


def side(values, output="latent"):
    outputs = {output: values}
    return Side(torch.zeros(len(values), 1), outputs, aligned=outputs)


def value(loss, mine, theirs):
    return loss.compute(side(mine), side(theirs)).item()


@pytest.mark.parametrize("kind", ["distances", "angles"])
@pytest.mark.parametrize(
    "copy", [5 * POINTS, POINTS @ ROTATION, POINTS + 9, F.pad(POINTS, (0, 4)), -0.01 * POINTS @ ROTATION + 100]
)
def test_a_scaled_turned_or_shifted_copy_costs_nothing(kind, copy):
    assert value(RELATIONS[kind]("latent"), copy, POINTS) == pytest.approx(0, abs=1e-6)
    assert value(RELATIONS[kind]("latent"), OTHERS, POINTS) > 1e-2


def test_stretching_one_direction_costs_something():
    stretched = POINTS * torch.tensor([4.0, 1.0, 1.0])
    assert value(distances("latent"), stretched, POINTS) > 1e-2
    assert value(angles("latent"), stretched, POINTS) > 1e-2


def test_distances_are_hubers_loss_of_each_sides_share_of_its_mean_distance():
    # On a line at 0, 1, 3 the distances are 1, 2, 3 and their mean is 2; at 0, 1, 2 they are 1, 1, 2, mean 4/3.
    mine, theirs = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [1.0], [2.0]])
    differences = [1 / 2 - 3 / 4, 2 / 2 - 3 / 4, 3 / 2 - 6 / 4]
    # Each pair counts in both orders, among nine with those of a sample and itself.
    expected = 2 * sum(d**2 / 2 for d in differences) / 9
    assert value(distances("latent"), mine, theirs) == pytest.approx(expected)


def test_far_off_distances_count_by_their_size_and_not_by_its_square():
    mine = torch.cat([torch.zeros(20, 1), torch.ones(1, 1)])
    theirs = torch.linspace(0, 1, 21)[:, None]
    ours, its = (torch.cdist(one.double(), one.double()) for one in (mine, theirs))
    ours, its = (one / one[one > 0].mean() for one in (ours, its))
    assert (ours - its).abs().max() > 1
    assert value(distances("latent"), mine, theirs) == pytest.approx(F.smooth_l1_loss(ours, its).item())


def test_angles_are_hubers_loss_of_cosines():
    # A right angle against a straight line: cosines at the three corners 0, sqrt(1/2), sqrt(1/2) against -1, 1, 1.
    mine = torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    theirs = torch.tensor([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    sharp = 1 - math.sqrt(1 / 2)
    expected = 2 * (1**2 / 2 + 2 * sharp**2 / 2) / 27
    assert value(angles("latent"), mine, theirs) == pytest.approx(expected)


def test_angles_are_those_of_the_definition():
    def cosines(points):
        found = torch.zeros(len(points), len(points), len(points), dtype=torch.float64)
        for i, j, k in itertools.product(range(len(points)), repeat=3):
            if i != j != k:
                found[i, j, k] = F.cosine_similarity(points[i] - points[j], points[k] - points[j], 0)
        return found

    expected = F.smooth_l1_loss(cosines(POINTS.double()), cosines(OTHERS.double())).item()
    assert value(angles("latent"), POINTS, OTHERS) == pytest.approx(expected, rel=1e-6)


def test_similarity_of_equal_and_of_scaled_or_turned_features_is_zero():
    for copy in (POINTS, 3 * POINTS, POINTS @ ROTATION):
        assert value(similarity("latent"), copy, POINTS) == pytest.approx(0, abs=1e-6)
    # Products, unlike distances, know where the origin is.
    assert value(similarity("latent"), POINTS + 9, POINTS) > 1e-2


def test_similarity_of_orthogonal_features_against_equal_ones():
    # Rows (1, 0, 0, 0) against (1, 1, 1, 1) / 2: the squared distance is 1/4 + 3/4.
    assert value(similarity("latent"), torch.eye(4), torch.ones(4, 2)) == pytest.approx(1)
    # Rows that point the other way in all but themselves: 2 - 2 (1 - 3) / 4.
    simplex = torch.eye(4) - 0.25
    against = 2 * torch.eye(4) - 1
    rows = F.normalize(simplex @ simplex.T, dim=1), F.normalize(against @ against.T, dim=1)
    expected = (rows[0] - rows[1]).square().sum(1).mean().item()
    assert value(similarity("latent"), simplex, against) == pytest.approx(expected)


def test_similarity_is_that_of_the_paper_times_the_size_of_the_batch():
    grams = (F.normalize(one @ one.T, dim=1) for one in (POINTS, OTHERS))
    first, second = grams
    paper = torch.linalg.matrix_norm(first - second).square() / 7**2
    assert value(similarity("latent"), POINTS, OTHERS) == pytest.approx(7 * paper.item(), rel=1e-5)


@pytest.mark.parametrize("kind", RELATIONS)
def test_maps_are_compared_as_vectors(kind):
    maps = POINTS.repeat(1, 4).unflatten(1, (2, 2, 3))
    loss = RELATIONS[kind]("features")
    found = loss.compute(side(maps, "features"), side(OTHERS, "features")).item()
    assert loss.shared == ("features",)
    assert found == pytest.approx(value(RELATIONS[kind]("latent"), POINTS, OTHERS), rel=1e-5)


@pytest.mark.parametrize("kind", RELATIONS)
@pytest.mark.parametrize(
    "mine",
    [torch.zeros(5, 3), torch.ones(5, 3), torch.cat([POINTS[:3], POINTS[:3]]), torch.cat([torch.zeros(2, 3), POINTS])],
    ids=["zeros", "ones", "twice", "two zeros"],
)
def test_samples_that_are_one_have_finite_gradients(kind, mine):
    mine = mine.clone().requires_grad_()
    loss = RELATIONS[kind]("latent").compute(side(mine), side(torch.randn(len(mine), 4, generator=GENERATOR)))
    loss.backward()
    assert torch.isfinite(loss)
    assert mine.grad.abs().max() < 1e3


@pytest.mark.parametrize("kind", RELATIONS)
def test_the_gradient_is_that_of_finite_differences(kind):
    loss = RELATIONS[kind]("latent")
    mine, theirs = POINTS.double().requires_grad_(), side(OTHERS.double())
    assert torch.autograd.gradcheck(lambda x: loss.compute(side(x), theirs), (mine,))


@pytest.mark.parametrize("kind", RELATIONS)
def test_what_is_registered_is_of_latents(kind):
    assert LOSSES[f"distil_{kind}"] == RELATIONS[kind]("latent")
