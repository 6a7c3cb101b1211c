import pytest
import torch
from sklearn.covariance import LedoitWolf

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.blocks import depth_for, halved, ladder, scaled
from kdcompress.errors import InputError
from kdcompress.evaluation import score
from kdcompress.profiling.counters import macs, params
from kdcompress.types import Scorer, interface

BUILD = ARCHITECTURES["ede_gan"]


def raw(shape, count=2):
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8)


def expected_macs(shape, base, latent, width=1.0, depth=None):
    """Convolutions by output positions, transposed ones by input positions: the paper's three networks."""
    size = (shape[1], shape[2])
    depth = depth_for(size, depth)
    sizes = halved(size, depth)
    channels = [shape[0], *ladder(base, depth, width)]
    innermost = sizes[-1][0] * sizes[-1][1]
    encoder = channels[-1] * innermost * latent
    decoder = latent * channels[-1] * innermost  # kernel as large as the map, from one position
    for level in range(depth):
        inner, outer = channels[level], channels[level + 1]
        positions = sizes[level + 1][0] * sizes[level + 1][1]
        encoder += inner * outer * 16 * positions
        decoder += inner * outer * 16 * positions
    return 2 * encoder + decoder


def innermost(shape, base):
    """Return the height, width and channels of the innermost map."""
    depth = depth_for((shape[1], shape[2]), None)
    return (*halved((shape[1], shape[2]), depth)[-1], ladder(base, depth, 1.0)[-1])


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 9, 13), (1, 100, 30), (4, 57, 57), (3, 8, 64), (1, 31, 8)]
)
def test_any_size_is_reconstructed_in_its_own_shape_and_costs_what_the_formula_says(shape):
    pair = BUILD(shape, base=4, latent=7)
    offered = interface(pair, raw(shape))
    assert offered.outputs == {
        "score": (),
        "latent": (7,),
        "reconstruction": shape,
        "latent_of_reconstruction": (7,),
        "features": innermost(shape, 4),
    }
    assert macs(Scorer(pair.detector), raw(shape, 1)) == expected_macs(shape, 4, 7)


@pytest.mark.slow
def test_the_largest_size():
    pair = BUILD((4, 256, 256), base=2)
    assert score(pair.detector, raw((4, 256, 256))).shape == (2,)


def test_the_teacher_of_the_paper_s_size():
    with torch.device("meta"):
        detector = BUILD((1, 28, 28), size=32).detector
    one = torch.zeros(1, 1, 28, 28, dtype=torch.uint8, device="meta")
    assert macs(Scorer(detector), one) == expected_macs((1, 32, 32), 64, 128) == 52_690_944


@pytest.mark.parametrize("norm", ["instance", "batch", "group", "none"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_options(norm, depth):
    pair = BUILD((1, 16, 16), base=4, latent=5, depth=depth, norm=norm)
    assert score(pair.detector, raw((1, 16, 16))).shape == (2,)
    pair.detector.train()
    pair.detector(pair.detector.prepare(raw((1, 16, 16))))


def test_norms_cost_no_macs():
    costs = {
        macs(Scorer(BUILD((1, 16, 16), base=4, norm=norm).detector), raw((1, 16, 16), 1)) for norm in ("batch", "none")
    }
    assert len(costs) == 1


def test_scores_are_the_mean_squared_distance_of_the_latents():
    detector = BUILD((1, 8, 8), base=4, latent=3).detector.eval()
    x = torch.zeros(1, 1, 8, 8)
    outputs = {"latent": torch.tensor([[1.0, 2.0, 3.0]]), "latent_of_reconstruction": torch.tensor([[1.0, 0.0, 0.0]])}
    assert detector.score_outputs(x, outputs).tolist() == pytest.approx([(0 + 4 + 9) / 3])


def test_preparation_maps_bytes_to_minus_one_to_one():
    detector = BUILD((1, 8, 8), base=2).detector
    images = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 1, 8, 8)
    x = detector.prepare(images)
    assert x[0].unique().tolist() == [-1.0]
    assert x[1].unique().tolist() == [1.0]


def test_size_resizes_before_the_network():
    detector = BUILD((1, 28, 28), base=2, size=32).detector
    assert detector.prepare(raw((1, 28, 28))).shape == (2, 1, 32, 32)
    flat = torch.full((1, 1, 28, 28), 100, dtype=torch.uint8)
    torch.testing.assert_close(detector.prepare(flat), torch.full((1, 1, 32, 32), 100 / 127.5 - 1))


def test_reconstructions_stay_within_the_images_range():
    detector = BUILD((1, 8, 8), base=4).detector.eval()
    with torch.no_grad():
        out = detector(detector.prepare(raw((1, 8, 8), 16)))["reconstruction"]
    assert out.abs().max() <= 1


def test_the_latent_size_is_not_scaled_by_the_width():
    narrow = BUILD((1, 16, 16), width=0.05, base=64, latent=10)
    assert narrow.detector.encoder[-2].out_channels == 10
    assert narrow.detector.encoder[0].out_channels == 3


@pytest.mark.parametrize(
    ("channels", "width", "result"), [(64, 1.0, 64), (64, 0.05, 3), (64, 0.0390625, 3), (64, 1e-6, 1), (5, 0.5, 3)]
)
def test_channels_are_rounded_to_nearest_and_never_vanish(channels, width, result):
    assert scaled(channels, width) == result


def test_channels_double_up_to_eight_times():
    assert ladder(4, 6, 1.0) == [4, 8, 16, 32, 32, 32]


@pytest.mark.parametrize(
    ("size", "depth"), [((8, 8), 1), ((28, 28), 3), ((32, 32), 3), ((256, 256), 6), ((13, 200), 2)]
)
def test_the_innermost_map_has_a_shorter_side_of_three_to_five(size, depth):
    assert depth_for(size, None) == depth
    assert 3 <= min(halved(size, depth)[-1]) <= 5


@pytest.mark.parametrize("shape", [(1, 7, 8), (5, 8, 8), (1, 8), (1, 8, 257), (0, 8, 8)])
def test_other_input_is_refused(shape):
    with pytest.raises(InputError, match="1 x 8 x 8 to 4 x 256 x 256"):
        BUILD(shape)


def test_too_deep_is_refused_with_what_is_allowed():
    with pytest.raises(InputError, match=r"depth 4 .* 16 x 16 .*allowed: 1 to 3"):
        BUILD((1, 16, 16), depth=4)


def test_full_width_is_the_teacher():
    one, other = BUILD((1, 16, 16), base=8), BUILD((1, 16, 16), base=8, width=1.0)
    assert params(one.detector) == params(other.detector)
    assert BUILD((1, 16, 16), base=4).detector.state_dict().keys() == one.detector.state_dict().keys()
    shapes = [value.shape for value in BUILD((1, 16, 16), base=8, width=0.5).detector.state_dict().values()]
    assert shapes == [value.shape for value in BUILD((1, 16, 16), base=4).detector.state_dict().values()]


def outputs(detector, x):
    with torch.no_grad():
        return {name: value.double() for name, value in detector.eval()(x).items()}


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("depth", [1, 2])
def test_calibration_makes_the_score_a_mahalanobis_distance_and_changes_nothing_else(norm, depth):
    """Against scikit-learn's own distance of the same shrunk covariance."""
    torch.manual_seed(0)
    detector = BUILD((1, 12, 12), base=4, latent=5, norm=norm, depth=depth).detector.eval()
    x = detector.prepare(raw((1, 12, 12), 60))
    before = outputs(detector, x)
    cost = macs(Scorer(detector), raw((1, 12, 12), 1))
    with torch.no_grad():
        detector.calibrate(x.split(25))
    after = outputs(detector, x)
    difference = (before["latent"] - before["latent_of_reconstruction"]).numpy()
    distance = torch.from_numpy(LedoitWolf().fit(difference).mahalanobis(difference))
    found = detector.score_outputs(x, after)
    assert torch.allclose(found / found.mean(), distance / distance.mean(), rtol=1e-3)
    assert torch.allclose(after["reconstruction"], before["reconstruction"], atol=1e-5)
    assert after["latent"].var(dim=0).mean() == pytest.approx(1.0, rel=1e-3)
    assert macs(Scorer(detector), raw((1, 12, 12), 1)) == cost


def test_calibrating_again_changes_no_score_but_its_scale():
    torch.manual_seed(0)
    detector = BUILD((1, 12, 12), base=4, latent=5).detector.eval()
    x = detector.prepare(raw((1, 12, 12), 2000))
    found = []
    for _ in range(2):
        with torch.no_grad():
            detector.calibrate(x.split(500))
        found.append(detector.score_outputs(x, outputs(detector, x)))
    # What Ledoit and Wolf shrink a second time is white already.
    assert torch.allclose(found[0] / found[0].mean(), found[1] / found[1].mean(), rtol=2e-2)


def test_a_collapsed_detector_stays_as_it_is():
    detector = BUILD((1, 12, 12), base=4, latent=5).detector.eval()
    x = detector.prepare(torch.zeros(4, 1, 12, 12, dtype=torch.uint8))
    before = outputs(detector, x)["latent"]
    with torch.no_grad():
        detector.calibrate([x])
    assert torch.equal(outputs(detector, x)["latent"], before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_samples_or_copies_of_one_are_no_reason_to_fail(count):
    torch.manual_seed(0)
    detector = BUILD((1, 12, 12), base=4, latent=5).detector.eval()
    for x in (detector.prepare(raw((1, 12, 12), count)), detector.prepare(raw((1, 12, 12), count)).repeat(40, 1, 1, 1)):
        with torch.no_grad():
            detector.calibrate([x])
        assert all(value.isfinite().all() for value in outputs(detector, x).values())


def joint(**options):
    torch.manual_seed(0)
    detector = BUILD((1, 12, 12), **{"base": 4, "latent": 5, "score": "joint", **options}).detector.eval()
    return detector, detector.prepare(raw((1, 12, 12), 200))


def test_a_joint_score_is_the_distance_until_it_is_calibrated():
    detector, x = joint()
    plain = BUILD((1, 12, 12), base=4, latent=5).detector
    found = outputs(detector, x)
    assert torch.equal(detector.score_outputs(x, found), plain.score_outputs(x, found))


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_calibrated_joint_score_is_the_mahalanobis_distance_of_both_latents(norm, depth):
    """Against scikit-learn's own distance of the same shrunk covariance of the two latents side by side."""
    detector, x = joint(norm=norm, depth=depth)
    before = outputs(detector, x)
    cost = macs(Scorer(detector), raw((1, 12, 12), 1))
    with torch.no_grad():
        detector.calibrate(x.split(75))
    after = outputs(detector, x)
    both = torch.cat([before["latent"], before["latent_of_reconstruction"]], 1).numpy()
    distance = torch.from_numpy(LedoitWolf().fit(both).mahalanobis(both))
    found = detector.score_outputs(x, after)
    assert torch.allclose(found / found.mean(), distance / distance.mean(), rtol=1e-3)
    assert torch.allclose(after["reconstruction"], before["reconstruction"], atol=1e-5)
    assert after["latent"].var(dim=0).mean() == pytest.approx(1.0, rel=1e-3)
    assert macs(Scorer(detector), raw((1, 12, 12), 1)) == cost


def test_calibrating_a_joint_score_again_changes_only_its_scale():
    detector, _ = joint()
    x = detector.prepare(raw((1, 12, 12), 5000))
    found = []
    for _ in range(3):
        with torch.no_grad():
            detector.calibrate(x.split(500))
        found.append(detector.score_outputs(x, outputs(detector, x)))
    # The first time Ledoit and Wolf shrink other directions than of latents that are white already.
    assert torch.allclose(found[1] / found[1].mean(), found[2] / found[2].mean(), rtol=2e-2)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_joint_score_of_few_samples_stays_finite(count):
    detector, _ = joint()
    for x in (detector.prepare(raw((1, 12, 12), count)), detector.prepare(raw((1, 12, 12), count)).repeat(40, 1, 1, 1)):
        with torch.no_grad():
            detector.calibrate([x])
        assert detector.score_outputs(x, outputs(detector, x)).isfinite().all()
