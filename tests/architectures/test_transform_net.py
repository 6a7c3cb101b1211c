import math

import pytest
import torch
from sklearn.covariance import LedoitWolf
from torch.nn import functional as F

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.blocks import scaled
from kdcompress.architectures.dirichlet import fitted
from kdcompress.errors import InputError
from kdcompress.profiling.counters import macs
from kdcompress.types import Scorer

BUILD = ARCHITECTURES["transform_net"]


def raw(shape, count=2):
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def expected_macs(shape, base, depth, width, passes):
    """Each block: a 1 x 1 shortcut and two 3 x 3 convolutions at half the side."""
    channels = [scaled(base * min(2**level, 8), width) for level in range(depth)]
    stem, side = scaled(base, width), shape[1]
    total = shape[0] * stem * 9 * side * side
    for inner, outer in zip([stem, *channels], channels, strict=False):
        side = -(-side // 2)
        total += side * side * outer * (inner + 9 * inner + 9 * outer)
    return passes * (total + channels[-1] * passes)


@pytest.mark.parametrize(
    ("transforms", "passes"),
    [("rotations", 4), ("shifts", 5), ("rotations_shifts", 20), ("rotations_shifts_flips", 40)],
)
@pytest.mark.parametrize(
    ("shape", "depth", "width"), [((3, 32, 32), 3, 1.0), ((1, 28, 28), 2, 0.2), ((2, 9, 9), 3, 0.1)]
)
def test_all_passes_are_counted(transforms, passes, shape, depth, width):
    detector = BUILD(shape, base=8, depth=depth, width=width, transforms=transforms).detector
    assert macs(Scorer(detector), raw(shape, 1)) == expected_macs(shape, 8, depth, width, passes)


def test_the_shipped_teacher_has_less_than_sixty_million():
    with torch.device("meta"):
        detector = BUILD((3, 32, 32)).detector
    one = torch.zeros(1, 3, 32, 32, dtype=torch.uint8, device="meta")
    assert macs(Scorer(detector), one) == expected_macs((3, 32, 32), 32, 3, 1.0, 4) < 60_000_000


def seen_by(detector, x):
    """Return what the network is shown, [N, T, C, H, W]."""
    shown = []
    handle = detector.network[0].register_forward_pre_hook(lambda _, given: shown.append(given[0]))
    with torch.no_grad():
        detector(x)
    handle.remove()
    return shown[0].unflatten(0, (len(x), -1))


def test_the_network_sees_every_transformation_once():
    detector = BUILD((1, 8, 8), base=2, depth=1, transforms="rotations_shifts").detector.eval()
    x = torch.rand(3, 1, 8, 8)
    shown = seen_by(detector, x)
    assert torch.equal(shown[:, 0], x)
    assert torch.equal(shown[:, 5], torch.rot90(x, 1, (2, 3)))
    assert torch.equal(shown[:, 10], torch.rot90(x, 2, (2, 3)))
    right, left, down, up = (shown[:, place] for place in (1, 2, 3, 4))
    assert torch.equal(right[..., 2:], x[..., :-2])
    assert torch.equal(left[..., :-2], x[..., 2:])
    assert torch.equal(down[..., 2:, :], x[..., :-2, :])
    assert torch.equal(up[..., :-2, :], x[..., 2:, :])
    assert torch.equal(shown[:, 6], torch.rot90(right, 1, (2, 3)))
    assert len({tuple(one.flatten().tolist()) for one in shown[0]}) == 20


def test_mirrored_images_are_told_apart_too():
    detector = BUILD((1, 8, 8), base=2, depth=1, transforms="rotations_flips").detector.eval()
    x = torch.rand(3, 1, 8, 8)
    shown = seen_by(detector, x)
    assert torch.equal(shown[:, 4], x.flip(3))
    assert torch.equal(shown[:, 5], torch.rot90(x.flip(3), 1, (2, 3)))
    # The eight symmetries of a square.
    assert len({tuple(one.flatten().tolist()) for one in shown[0]}) == 8
    assert seen_by(BUILD((1, 8, 8), base=2, depth=1, transforms="flips").detector.eval(), x).shape[1] == 2


def test_what_is_told_apart_is_not_mirrored_at_random():
    with pytest.raises(InputError, match="flip mirrors at random what is to be told apart"):
        BUILD((1, 8, 8), transforms="rotations_flips", flip=True)


def test_images_vary_in_training_only():
    detector = BUILD((1, 8, 8), base=2, depth=1, jitter=2, flip=True).detector
    x = torch.rand(400, 1, 8, 8)
    assert torch.equal(seen_by(detector.eval(), x)[:, 0], x)
    shown = seen_by(detector.train(), x)[:, 0]
    padded = F.pad(x, (2, 2, 2, 2), mode="reflect")
    views = [padded[..., d : d + 8, r : r + 8] for d in range(5) for r in range(5)]
    views += [view.flip(3) for view in views]
    matches = torch.stack([(shown == view).flatten(1).all(1) for view in views])
    assert (matches.sum(0) == 1).all()
    # Each of the 50 views is drawn 8 times on average.
    assert (matches.sum(1) > 0).all()
    assert matches.sum(1).max() < 30


def test_the_score_is_the_mean_negative_log_likelihood():
    detector = BUILD((1, 8, 8), base=2, depth=1).detector
    x = torch.zeros(2, 1, 8, 8)
    alike = torch.zeros(2, 4, 4)
    assert detector.score_outputs(x, {"logits": alike}).tolist() == pytest.approx([math.log(4)] * 2)
    sure = 50 * torch.eye(4).expand(2, -1, -1)
    assert detector.score_outputs(x, {"logits": sure}).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    logits = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(1))
    by_hand = F.cross_entropy(logits.flatten(0, 1), torch.arange(4).repeat(2), reduction="none").view(2, 4).mean(1)
    torch.testing.assert_close(detector.score_outputs(x, {"logits": logits}), by_hand)


def combined(**options):
    torch.manual_seed(0)
    detector = BUILD((1, 8, 8), **{"base": 2, "depth": 1, "score": "combined", **options}).detector.eval()
    return detector, detector.prepare(raw((1, 8, 8), 100))


def calibrated(detector, *chunks):
    with torch.no_grad():
        detector.calibrate(chunks)


def test_a_combined_score_is_the_likelihood_until_it_is_calibrated():
    detector, x = combined()
    plain = BUILD((1, 8, 8), base=2, depth=1).detector.eval()
    plain.load_state_dict(detector.state_dict(), strict=False)
    with torch.no_grad():
        ours, its = detector(x), plain(x)
        assert torch.equal(ours["logits"], its["logits"])
        assert torch.equal(detector.score_outputs(x, ours), plain.score_outputs(x, its) / 2)


@pytest.mark.parametrize("transforms", ["rotations", "shifts"])
def test_a_calibrated_score_is_the_likelihood_and_the_distance_each_in_units_of_normals(transforms):
    """Against scikit-learn's Mahalanobis distance of what the last layer sees."""
    detector, x = combined(transforms=transforms)
    seen = []
    detector.network[-1].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        logits = detector(x)["logits"]
    features = seen[0].flatten(1).double().numpy()
    calibrated(detector, x[:30], x[30:])
    with torch.no_grad():
        outputs = detector(x)
    assert torch.equal(outputs["logits"], logits)
    distance = torch.from_numpy(LedoitWolf().fit(features).mahalanobis(features)).float()
    likelihood = -torch.log_softmax(logits, 2).diagonal(dim1=1, dim2=2).mean(1)
    torch.testing.assert_close(outputs["distance"], distance / features.shape[1], rtol=1e-3, atol=1e-4)
    expected = (likelihood / likelihood.mean() + distance / distance.mean()) / 2
    torch.testing.assert_close(detector.score_outputs(x, outputs), expected, rtol=1e-3, atol=1e-4)


def test_a_standardised_score_is_the_log_odds_and_the_distances_logarithm_each_in_units_of_normals():
    detector, x = combined(score="standardised")
    before = detector.score_outputs(x, detector(x)).detach()
    with torch.no_grad():
        logits = detector(x)["logits"]
    wrong = torch.softmax(logits.double(), 2).diagonal(dim1=1, dim2=2).neg().add(1)
    odds = (wrong.log() - (1 - wrong).log()).mean(1)
    torch.testing.assert_close(1.5 * (before - before[0]).double(), odds - odds[0], rtol=1e-2, atol=1e-5)
    calibrated(detector, x[:30], x[30:])
    with torch.no_grad():
        outputs = detector(x)
    far = outputs["distance"].double().log()
    expected = (odds / odds.std() + 0.5 * far / far.std()) / 1.5
    torch.testing.assert_close(detector.score_outputs(x, outputs).double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("score", ["likelihood", "combined", "standardised", "dirichlet"])
def test_fewer_passes_are_the_first_ones_and_cost_their_share(score):
    whole, few = (combined(score=score, passes=passes)[0] for passes in (None, 2))
    few.network.load_state_dict(whole.network.state_dict())
    x = whole.prepare(raw((1, 8, 8), 100))
    for detector in (whole, few):
        calibrated(detector, x)
    with torch.no_grad():
        every, first = whole(x), few(x)
    assert torch.equal(first["logits"], every["logits"][:, :2])
    assert torch.equal(first["features"], every["features"][:, :2])
    assert few.score(raw((1, 8, 8), 5)).shape == (5,)
    likely = [
        macs(Scorer(combined(score="likelihood", passes=passes)[0]), raw((1, 8, 8), 1)) for passes in (None, 2, 1)
    ]
    assert likely == [likely[2] * 4, likely[2] * 2, likely[2]]


def test_in_training_all_transformations_are_seen():
    detector, x = combined(passes=1)
    assert detector.train()(x)["logits"].shape == (100, 4, 4)
    assert detector.eval()(x)["logits"].shape == (100, 1, 4)
    assert detector.train()(x)["distance"].shape == (100,)


def test_more_passes_than_transformations_are_refused():
    with pytest.raises(InputError, match=r"passes 5 of 4 transformations \(allowed: 1 to 4\)"):
        BUILD((1, 8, 8), passes=5, depth=1)


def test_what_is_unlike_all_normals_scores_higher_by_its_distance():
    detector, x = combined(base=4)
    calibrated(detector, x)
    scores = [
        detector.score(255 * torch.randint(0, 2, (50, 1, 8, 8), dtype=torch.uint8)),
        detector.score(raw((1, 8, 8), 50)),
    ]
    assert scores[0].mean() > 1.5 * scores[1].mean()


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_or_equal_samples_leave_the_score_as_it_is(count):
    detector, x = combined()
    before = detector.score_outputs(x, detector(x)).detach()
    calibrated(detector, x[:1] if count else x[:1].repeat(5, 1, 1, 1))
    assert torch.equal(detector.score_outputs(x, detector(x)), before)


def test_the_distance_costs_the_square_of_the_features():
    costs = [macs(Scorer(combined(score=score)[0]), raw((1, 8, 8), 1)) for score in ("likelihood", "combined")]
    assert costs[1] - costs[0] == (4 * 2) ** 2


@pytest.mark.parametrize(
    ("shape", "options", "match"),
    [
        ((1, 12, 16), {}, "have to be square, not 12 x 16; give a size"),
        ((1, 8, 8), {"depth": 4}, r"depth 4 is too much for images of side 8 \(allowed: 1 to 3\)"),
        ((1, 8, 8), {"jitter": 8}, r"jitter 8 is too much for images of side 8 \(allowed: 0 to 7\)"),
        ((6,), {}, "takes images C x H x W"),
    ],
)
def test_what_it_cannot_take_is_refused(shape, options, match):
    with pytest.raises(InputError, match=match):
        BUILD(shape, **options)


def test_until_it_is_calibrated_a_dirichlet_score_is_the_likelihood():
    plain, other = (
        BUILD((1, 8, 8), base=2, depth=2, score=score).detector.eval() for score in ("likelihood", "dirichlet")
    )
    other.load_state_dict({**plain.state_dict(), "shares": other.shares})
    torch.testing.assert_close(other.score(raw((1, 8, 8), 5)), plain.score(raw((1, 8, 8), 5)))


def test_a_calibrated_one_is_the_likelihood_of_all_answers_under_what_normals_give():
    detector, x = combined(score="dirichlet", base=2)
    with torch.no_grad():
        # An untrained network gives nearly the same answers to everything.
        detector.network[-1].weight.mul_(20)
    calibrated(detector, x[:30], x[30:])
    with torch.no_grad():
        outputs = detector(x)
        answers = torch.softmax(outputs["logits"].double(), 2)
    concentrations = fitted(answers.log())
    likely = sum(
        torch.distributions.Dirichlet(concentrations[i]).log_prob(answers[:, i]) for i in range(answers.shape[1])
    )
    scores = detector.score_outputs(x, outputs).double() * answers.shape[1]
    # Equal but for one constant: what normalises the distributions.
    torch.testing.assert_close(scores - scores[0], -(likely - likely[0]), rtol=1e-3, atol=1e-3)
    assert scores.std() > 0


def test_images_that_are_not_square_are_resized():
    detector = BUILD((1, 12, 16), size=8, base=2, depth=2).detector
    assert detector.score(raw((1, 12, 16))).shape == (2,)
