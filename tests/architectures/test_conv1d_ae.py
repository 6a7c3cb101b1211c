import pytest
import torch

from kdcompress import bundle
from kdcompress.errors import InputError
from kdcompress.profiling import COUNTERS
from kdcompress.profiling.counters import macs
from kdcompress.types import Scorer


def windows(count=50, channels=2, length=40, seed=0):
    drawn = torch.randn(count, channels, length, generator=torch.Generator().manual_seed(seed))
    return drawn * torch.tensor([3.0, 0.01])[:channels, None] + torch.tensor([100.0, -7.0])[:channels, None]


def ready(normals, **options):
    detector = bundle.build("conv1d_ae", options, tuple(normals.shape[1:]), 0).detector.eval()
    with torch.no_grad():
        detector.adapt(normals.split(20))
    return detector


def test_each_channel_is_scaled_over_all_points_of_the_normals():
    normals = windows()
    detector = ready(normals)
    x = detector.prepare(normals)
    assert x.shape == normals.shape
    torch.testing.assert_close(x.mean((0, 2)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std((0, 2), correction=0), torch.ones(2), atol=1e-4, rtol=0)
    assert detector.mean.shape == (2,)


def test_the_score_has_no_unit():
    normals, factor = windows(), torch.tensor([1000.0, 0.001])[:, None]
    one, other = ready(normals), ready(normals * factor)
    tested = windows(5, seed=1)
    torch.testing.assert_close(one.score(tested), other.score(tested * factor), rtol=1e-3, atol=0)


def test_the_score_is_the_mean_square_of_what_is_not_reconstructed():
    detector = ready(windows())
    x = detector.prepare(windows(6, seed=1))
    with torch.no_grad():
        found = detector(x)["reconstruction"]
    expected = torch.stack([torch.nn.functional.mse_loss(a, b) for a, b in zip(found, x, strict=True)])
    torch.testing.assert_close(detector.score(windows(6, seed=1)), expected)


@pytest.mark.parametrize("length", [8, 9, 31, 64, 100, 101])
@pytest.mark.parametrize("depth", [None, 1, 2])
def test_windows_of_any_length_come_back_in_their_own(length, depth):
    normals = windows(length=length)
    detector = ready(normals, depth=depth, width=0.25)
    with torch.no_grad():
        assert detector(detector.prepare(normals))["reconstruction"].shape == normals.shape


def test_rows_are_one_channel_and_images_are_read_line_by_line():
    rows, images = torch.randn(20, 30), torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8)
    assert ready(rows).prepare(rows).shape == (20, 1, 30)
    prepared = ready(images).prepare(images)
    assert prepared.shape == (20, 3, 64)
    assert torch.equal(prepared[:, 1, 8:16].argsort(stable=True), images[:, 1, 1].float().argsort(stable=True))


@pytest.mark.parametrize("counter", ["torch", "fvcore", "thop"])
def test_the_counters_agree_with_the_closed_form(counter):
    detector = ready(windows(length=40), base=4, latent=3, depth=2)
    # Each weight of a convolution meets each position of its output, each of a transposed one each of its input.
    inward = 20 * (2 * 4 * 4) + 10 * (4 * 8 * 4) + 8 * 3 * 10
    outward = 3 * 8 * 10 + 10 * (8 * 4 * 4) + 20 * (4 * 2 * 4)
    one = windows(1)
    assert COUNTERS[counter](Scorer(detector), one).macs == macs(Scorer(detector), one) == inward + outward


@pytest.mark.parametrize(
    ("shape", "options", "match"),
    [
        ((2, 7), {}, "conv1d_ae takes windows C x L of 8 points or more, not 2 x 7"),
        ((5,), {}, "not 1 x 5"),
        ((2, 40), {"depth": 5}, r"depth 5 is too much for windows of 40 points \(allowed: 1 to 4\)"),
        ((2, 40_000), {}, "conv1d_ae takes samples of 1 to 65,536 numbers"),
    ],
)
def test_what_is_no_window_is_refused(shape, options, match):
    with pytest.raises(InputError, match=match):
        bundle.build("conv1d_ae", options, shape, 0)
