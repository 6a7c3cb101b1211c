import math

import pytest
import torch
from torch.nn import functional as F

from kdcompress.losses import LOSSES
from kdcompress.stage import Side


def side(**values):
    critic = {k: v for k, v in values.items() if k.startswith(("real", "fake"))}
    outputs = {k: v for k, v in values.items() if k not in critic and k != "x"}
    return Side(values.get("x", torch.zeros(1)), outputs, critic, aligned=outputs)


def value(name, own, other=None):
    return LOSSES[name].compute(own, other).item()


def test_reconstruction_is_the_mean_absolute_difference():
    own = side(x=torch.tensor([[1.0, -1.0]]), reconstruction=torch.tensor([[0.5, -0.75]]))
    assert value("reconstruction", own) == pytest.approx((0.5 + 0.25) / 2)


def test_latent_consistency_is_the_mean_square():
    own = side(latent=torch.tensor([[1.0, 2.0]]), latent_of_reconstruction=torch.tensor([[0.0, 4.0]]))
    assert value("latent_consistency", own) == pytest.approx((1 + 4) / 2)


def test_feature_matching_is_the_mean_square():
    own = side(real_features=torch.tensor([[1.0, 1.0]]), fake_features=torch.tensor([[0.0, 4.0]]))
    assert value("feature_matching", own) == pytest.approx((1 + 9) / 2)


@pytest.mark.parametrize("logit", [-30.0, -1.0, 0.0, 2.0, 30.0])
def test_adversarial_and_critic_are_cross_entropies(logit):
    fake, real = torch.full((3,), logit), torch.full((3,), 0.7)
    entropy = F.binary_cross_entropy_with_logits
    assert value("adversarial", side(fake_logit=fake)) == pytest.approx(entropy(fake, torch.ones(3)).item(), rel=1e-5)
    expected = (entropy(real, torch.ones(3)) + entropy(fake, torch.zeros(3))) / 2
    assert value("critic", side(real_logit=real, fake_logit=fake)) == pytest.approx(expected.item(), rel=1e-5)


def test_a_critic_that_cannot_tell_pays_log_two():
    zero = torch.zeros(4)
    assert value("critic", side(real_logit=zero, fake_logit=zero)) == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("name", "output", "expected"),
    [
        ("distil_latent", "latent", (1 + 9) / 2),
        ("distil_reconstruction", "reconstruction", (1 + 3) / 2),
        ("distil_latent_of_reconstruction", "latent_of_reconstruction", (1 + 9) / 2),
    ],
)
def test_distillation_terms_are_those_of_the_paper(name, output, expected):
    own, other = side(**{output: torch.tensor([[1.0, 2.0]])}), side(**{output: torch.tensor([[0.0, 5.0]])})
    assert value(name, own, other) == pytest.approx(expected)


def test_distillation_compares_projected_outputs():
    own = Side(torch.zeros(1), {"latent": torch.ones(1, 3)}, {}, aligned={"latent": torch.full((1, 2), 5.0)})
    other = side(latent=torch.full((1, 2), 4.0))
    assert value("distil_latent", own, other) == pytest.approx(1.0)


def scores(*values):
    return side(score=torch.tensor(values))


def test_scores_that_go_together_cost_nothing_whatever_their_unit():
    ours, theirs = scores(1.0, 2.0, 3.0, 9.0), scores(10.0, 20.0, 30.0, 90.0)
    assert value("distil_score", ours, theirs) == pytest.approx(0, abs=1e-5)
    assert value("distil_score", scores(-1.0, -2.0, -3.0), scores(1.0, 2.0, 3.0)) == pytest.approx(2, abs=1e-5)


def test_distil_score_is_one_less_the_correlation_of_logarithms():
    mine, theirs = torch.tensor([0.5, 1.0, 4.0]), torch.tensor([2.0, 1.0, 0.0])
    expected = 1 - torch.corrcoef(torch.stack([(mine / 1.0).log1p(), (theirs / 1.0).log1p()]))[0, 1]
    assert value("distil_score", side(score=mine), side(score=theirs)) == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_scores_of_no_spread_cost_one_and_have_a_finite_gradient(constant):
    mine = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    loss = LOSSES["distil_score"].compute(side(score=mine), scores(constant, constant, constant))
    assert loss.item() == pytest.approx(1)
    loss.backward()
    assert torch.isfinite(mine.grad).all()


def test_mostly_zero_scores_stay_finite():
    theirs = scores(0.0, 0.0, 0.0, 5.0)
    assert 0 <= value("distil_score", scores(0.0, 1.0, 2.0, 3.0), theirs) < 1


def test_contrast_is_the_mean_of_both_halves_however_many_queries():
    own = Side(torch.zeros(1), {"logit": torch.tensor([0.0, 0.0, 2.0])}, normals=2)
    expected = (math.log(2) + math.log1p(math.exp(-2))) / 2
    assert LOSSES["contrast"].compute(own, None).item() == pytest.approx(expected)
    alone = Side(torch.zeros(1), {"logit": torch.tensor([-2.0])})
    assert LOSSES["contrast"].compute(alone, None).item() == pytest.approx(math.log1p(math.exp(-2)))


def test_one_class_is_the_mean_distance():
    assert value("one_class", side(centre_distance=torch.tensor([1.0, 3.0]))) == 2


def test_feature_distance_is_the_sum_over_levels_and_the_mean_over_samples():
    assert value("feature_distance", side(feature_distance=torch.tensor([[1.0, 2.0], [3.0, 6.0]]))) == 6


def maps(*rows):
    """Return a map [1, H, W, 1]."""
    return side(features=torch.tensor(rows)[None, :, :, None])


def test_attention_is_the_squared_distance_of_where_the_squares_are():
    # Squares (1, 0, 0, 0) and (9, 16, 0, 0) / 5^2: (1, 0) against (9, 16) of length sqrt(337).
    ours, theirs = maps([1.0, 0.0], [0.0, 0.0]), maps([3.0, -4.0], [0.0, 0.0])
    expected = 2 - 2 * 9 / math.sqrt(337)
    assert value("distil_attention", ours, theirs) == pytest.approx(expected)
    assert value("distil_attention", ours, maps([0.0, 7.0], [0.0, 0.0])) == pytest.approx(2)


def test_attention_is_blind_to_scale_sign_and_number_of_channels():
    features = torch.randn(4, 3, 3, 5)
    ours, theirs = side(features=features), torch.randn(4, 3, 3, 2)
    for same in (7 * features, -features, features.repeat(1, 1, 1, 2), features[..., torch.randperm(5)]):
        assert value("distil_attention", side(features=same), ours) == pytest.approx(0, abs=1e-6)
    assert value("distil_attention", side(features=theirs), ours) > 0.01


def test_attention_is_the_mean_over_samples():
    first, second, theirs = (torch.randn(1, 3, 3, 2) for _ in range(3))
    each = [value("distil_attention", side(features=one), side(features=theirs)) for one in (first, second)]
    both = value(
        "distil_attention", side(features=torch.cat([first, second])), side(features=theirs.repeat(2, 1, 1, 1))
    )
    assert both == pytest.approx(sum(each) / 2)


@pytest.mark.parametrize("name", ["distil_attention", "distil_features"])
def test_maps_of_two_sizes_are_averaged_to_the_smaller(name):
    small, other = torch.rand(6, 2, 3, 4), torch.rand(6, 2, 3, 4)
    # Each pixel as a block of 2 x 2: its average is the pixel.
    large = small.repeat_interleave(2, 1).repeat_interleave(2, 2)
    expected = value(name, side(features=small), side(features=other))
    assert value(name, side(features=large), side(features=other)) == pytest.approx(expected, rel=1e-5)
    assert value(name, side(features=other), side(features=large)) == pytest.approx(
        value(name, side(features=other), side(features=small)), rel=1e-5
    )
    assert value(name, side(features=large), side(features=small)) == pytest.approx(0, abs=1e-6)


def test_what_varies_within_a_cell_of_the_smaller_map_does_not_count():
    small, other = torch.rand(6, 2, 3, 4), torch.rand(6, 2, 3, 4)
    checks = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 3)[:, :, None]
    large = small.repeat_interleave(2, 1).repeat_interleave(2, 2) + checks
    expected = value("distil_features", side(features=small), side(features=other))
    assert value("distil_features", side(features=large), side(features=other)) == pytest.approx(expected, rel=1e-5)


def test_a_map_of_zeros_has_a_finite_gradient():
    features = torch.zeros(2, 3, 3, 4, requires_grad=True)
    LOSSES["distil_attention"].compute(side(features=features), side(features=torch.rand(2, 3, 3, 4))).backward()
    assert torch.isfinite(features.grad).all()


def test_maps_are_alike_up_to_unit_and_offset_of_their_compressed_places():
    torch.manual_seed(0)
    maps = torch.rand(4, 1, 5, 5)
    ours, theirs = side(anomaly_map=maps), side(anomaly_map=7 * maps)
    assert value("distil_map", ours, theirs) == pytest.approx(0, abs=1e-5)
    assert value("distil_map", side(anomaly_map=-maps), theirs) == pytest.approx(2, abs=1e-5)
    shuffled = maps.flatten()[torch.randperm(maps.numel())].view_as(maps)
    assert 0.6 < value("distil_map", side(anomaly_map=shuffled), theirs) < 1.4
