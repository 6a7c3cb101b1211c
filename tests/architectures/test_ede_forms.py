"""The forms of P-KDGAN's detector for tables and series; `test_ede_gan.py` has that for images."""

import pytest
import torch
from sklearn.covariance import LedoitWolf

import kdcompress as kd
from kdcompress import bundle
from kdcompress.architectures.blocks import ladder, scaled
from kdcompress.profiling import COUNTERS
from kdcompress.profiling.counters import macs
from kdcompress.types import Scorer

FORMS = [("mlp_ede_gan", (9,)), ("conv1d_ede_gan", (2, 40))]


def normals(shape, count=80):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


def ready(name, shape, **options):
    pair = bundle.build(name, options, shape, 0)
    with torch.no_grad():
        pair.detector.eval().adapt([normals(shape)])
    return pair


def outputs(detector, x):
    with torch.no_grad():
        return detector(x)


@pytest.mark.parametrize("counter", ["torch", "fvcore", "thop"])
@pytest.mark.parametrize("width", [1.0, 0.3])
def test_rows_cost_three_autoencoder_halves(counter, width):
    first, second = (scaled(inner, width) for inner in (16, 8))
    half = 9 * first + first * second + second * 5
    detector = ready("mlp_ede_gan", (9,), base=16, latent=5, width=width).detector
    one = normals((9,), 1)
    assert COUNTERS[counter](Scorer(detector), one).macs == macs(Scorer(detector), one) == 3 * half


@pytest.mark.parametrize("counter", ["torch", "fvcore", "thop"])
def test_windows_cost_three_autoencoder_halves(counter):
    first, second = ladder(4, 2, 1.0)
    half = 20 * (2 * first * 4) + 10 * (first * second * 4) + second * 3 * 10
    detector = ready("conv1d_ede_gan", (2, 40), base=4, latent=3, depth=2).detector
    one = normals((2, 40), 1)
    assert COUNTERS[counter](Scorer(detector), one).macs == macs(Scorer(detector), one) == 3 * half


@pytest.mark.parametrize(("name", "shape"), FORMS)
def test_the_score_is_the_distance_of_the_two_latents_and_the_second_is_of_the_reconstruction(name, shape):
    detector = ready(name, shape, base=8, latent=5).detector
    x = detector.prepare(normals(shape))
    found = outputs(detector, x)
    assert found["reconstruction"].shape == x.shape
    with torch.no_grad():
        again = detector.second_encoder(detector.decoder(detector.encoder(x)))
    torch.testing.assert_close(found["latent_of_reconstruction"], again)
    expected = [torch.nn.functional.mse_loss(a, b) for a, b in zip(found["latent"], again, strict=True)]
    torch.testing.assert_close(detector.score(normals(shape)), torch.stack(expected))


@pytest.mark.parametrize(("name", "shape"), FORMS)
def test_the_critic_judges_one_sample_at_a_time_by_its_features(name, shape):
    pair = ready(name, shape, base=8, latent=5)
    x = pair.detector.prepare(normals(shape, 6))
    found = outputs(pair.detector, x)
    with torch.no_grad():
        judged = pair.critic.eval()(x, found)
        fooled = pair.critic(found["reconstruction"], found)
    assert judged["real_logit"].shape == judged["fake_logit"].shape == (6,)
    assert torch.equal(judged["fake_logit"], fooled["real_logit"])
    assert torch.equal(judged["fake_features"], fooled["real_features"])
    assert not torch.equal(judged["real_logit"], judged["fake_logit"])


@pytest.mark.parametrize(("name", "shape"), FORMS)
@pytest.mark.parametrize("depth", [1, 2])
def test_calibration_makes_the_score_a_mahalanobis_distance_and_changes_nothing_else(name, shape, depth):
    """Against scikit-learn's own distance of the same shrunk covariance."""
    detector = ready(name, shape, base=8, latent=5, depth=depth).detector
    x = detector.prepare(normals(shape))
    before = outputs(detector, x)
    with torch.no_grad():
        detector.calibrate(x.split(25))
    after = outputs(detector, x)
    difference = (before["latent"] - before["latent_of_reconstruction"]).numpy()
    distance = torch.from_numpy(LedoitWolf().fit(difference).mahalanobis(difference)).float()
    found = detector.score_outputs(x, after)
    assert torch.allclose(found / found.mean(), distance / distance.mean(), rtol=1e-3)
    assert torch.allclose(after["reconstruction"], before["reconstruction"], atol=1e-5)
    assert after["latent"].var(dim=0).mean() == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize(("name", "shape"), FORMS)
def test_the_paper_s_recipe_runs_on_them_with_both_critics(name, shape, tmp_path):
    made = {"name": name, "base": 16, "latent": 4}
    steps = [{"gan": True, "epochs": 1}, {"teacher": "joint", "gan": True, "epochs": 1}]
    result = kd.distill(
        data=kd.samples(normals(shape, 200).numpy()),
        teacher={"architecture": made, "strategy": {"name": "scratch", "epochs": 1}},
        student={**made, "width": 0.5},
        strategy={"name": "progressive", "steps": steps},
        out=tmp_path,
    )
    assert result.compression.macs > 1.5
    assert len(result.student.stages) == 2
