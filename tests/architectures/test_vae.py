import pytest
import torch
from torch.distributions import Laplace, Normal, kl_divergence

from kdcompress import bundle
from kdcompress.losses import LOSSES
from kdcompress.profiling import COUNTERS
from kdcompress.stage import Side, fed
from kdcompress.strategies import STRATEGIES
from kdcompress.types import Interface, Scorer, interface

SIZE = 6


def rows(count=40, seed=0):
    return torch.randn(count, SIZE, generator=torch.Generator().manual_seed(seed)) * 5 + 2


def ready(**options):
    detector = bundle.build("vae", {"base": 16, "latent": 3, **options}, (SIZE,), 0).detector.eval()
    with torch.no_grad():
        detector.adapt([rows()])
    return detector


@pytest.mark.parametrize("noise", [0.1, 2.0])
def test_the_score_is_the_negative_lower_bound_of_torchs_distributions(noise):
    detector = ready(noise=noise)
    x = detector.prepare(rows(8, 1))
    with torch.no_grad():
        trunk = detector.trunk(x)
        code = Normal(detector.code(trunk), (detector.log_variance(trunk) / 2).exp())
        likelihood = Laplace(detector.decoder(code.mean), noise).log_prob(x).sum(1)
        divergence = kl_divergence(code, Normal(0.0, 1.0)).sum(1)
    constant = SIZE * torch.tensor(2 * noise).log()
    expected = (divergence - likelihood - constant) * noise / SIZE
    torch.testing.assert_close(detector.score(rows(8, 1)), expected)


def test_codes_are_drawn_in_training_alone():
    detector = ready()
    x = detector.prepare(rows(8))
    with torch.no_grad():
        assert torch.equal(detector(x)["reconstruction"], detector(x)["reconstruction"])
        detector.train()
        one, other = detector(x), detector(x)
    assert not torch.equal(one["reconstruction"], other["reconstruction"])
    assert torch.equal(one["latent"], other["latent"])
    assert torch.equal(one["divergence"], other["divergence"])


def test_what_is_drawn_is_spread_as_the_code_says():
    detector = ready().train()
    detector.decoder = torch.nn.Identity()
    x = detector.prepare(rows(2))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = detector(x[:1].expand(20_000, -1))["reconstruction"]
        trunk = detector.trunk(x[:1])
        mean, spread = detector.code(trunk)[0], (detector.log_variance(trunk)[0] / 2).exp()
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.std(0), spread, atol=0.05, rtol=0)


def test_a_variance_out_of_range_is_held():
    detector = ready()
    with torch.no_grad():
        detector.log_variance.bias.fill_(1000)
        assert detector.score(rows(3)).isfinite().all()


def test_the_loss_is_the_mean_divergence():
    detector = ready()
    x = detector.prepare(rows(8))
    with torch.no_grad():
        outputs = detector(x)
        found = LOSSES["divergence"].compute(Side(x, outputs), None)
    torch.testing.assert_close(found, outputs["divergence"].mean())


@pytest.mark.parametrize("counter", ["torch", "fvcore", "thop"])
def test_the_counters_agree_with_the_closed_form(counter):
    detector = ready()
    assert COUNTERS[counter](Scorer(detector), rows(1)).macs == 6 * 16 + 16 * 8 + 2 * 8 * 3 + 3 * 8 + 8 * 16 + 16 * 6


VAE = Interface({"score": (), "latent": (3,), "reconstruction": (SIZE,), "divergence": ()})
PLAIN = Interface({"score": (), "latent": (3,), "reconstruction": (SIZE,)})


def weights(name, student, teacher, **options):
    stages, _ = fed(STRATEGIES[name](student, teacher, **options), student, teacher)
    return [{term.name: term.weight for term in update.terms} for stage in stages for update in stage.updates]


def test_it_offers_what_strategies_plan_with():
    assert interface(bundle.build("vae", {"latent": 3}, (SIZE,), 0), rows(2)).outputs == VAE.outputs


@pytest.mark.parametrize("name", ["scratch", "response", "frozen", "progressive"])
@pytest.mark.parametrize("teacher", [None, VAE])
def test_no_strategy_trains_it_without_its_divergence(name, teacher):
    found = weights(name, VAE, teacher)
    assert all("divergence" in terms for terms in found)
    for terms in found:
        reconstructed = terms.get("reconstruction", terms.get("distil_reconstruction"))
        assert terms["divergence"] == reconstructed


def test_others_have_no_such_term():
    for name in ("scratch", "response", "progressive"):
        assert not [terms for terms in weights(name, PLAIN, None) if "divergence" in terms]
        _, left_out = fed(STRATEGIES[name](PLAIN, None), PLAIN, None)
        assert not [text for text in left_out if "divergence" in text]
