"""What every registered loss must do."""

import torch

from kdcompress.losses import LOSSES
from kdcompress.stage import Side
from kdcompress.types import Interface

REGISTRY = LOSSES
NOISE = 1e-6  # of float32, e.g. in 1 - cosine
VECTORS = ("latent", "latent_of_reconstruction")
NUMBERS = ("score", "logit", "centre_distance", "divergence")


def side(loss, seed, count=6):
    """Return a side with images, vectors and whatever else the loss says that it reads."""
    torch.manual_seed(seed)
    vectors = dict.fromkeys((*VECTORS, *loss.outputs, *loss.shared))
    outputs = {name: torch.randn(count, 5, requires_grad=True) for name in vectors}
    outputs |= {name: torch.rand(count, requires_grad=True) for name in NUMBERS if name in outputs}
    if "feature_distance" in outputs:
        outputs["feature_distance"] = torch.rand(count, 3, requires_grad=True)
    outputs |= {name: torch.randn(count, 3, 3, 5, requires_grad=True) for name in ("features",) if name in outputs}
    outputs["reconstruction"] = torch.randn(count, 1, 4, 4, requires_grad=True)
    outputs["logits"] = torch.randn(count, 4, 4, requires_grad=True)
    critic = {name: torch.randn(count, requires_grad=True) for name in ("real_logit", "fake_logit")}
    critic |= {name: torch.randn(count, 3, requires_grad=True) for name in ("real_features", "fake_features")}
    return Side(torch.randn(count, 1, 4, 4), outputs, critic, aligned=outputs)


def offered(one):
    shapes = {name: tuple(value.shape[1:]) for name, value in one.outputs.items()}
    return Interface(shapes, {name: tuple(value.shape[1:]) for name, value in one.critic.items()})


def test_it_is_a_finite_scalar_that_is_not_negative(name):
    value = LOSSES[name].compute(side(LOSSES[name], 1), side(LOSSES[name], 2))
    assert value.shape == ()
    assert -NOISE <= value.item() < float("inf")


def test_it_is_a_mean_over_the_batch(name):
    """Twice the same samples give the same loss."""

    def doubled(one):
        twice = {k: torch.cat([v, v]) for k, v in one.outputs.items()}
        return Side(torch.cat([one.x, one.x]), twice, {k: torch.cat([v, v]) for k, v in one.critic.items()}, twice)

    once = LOSSES[name].compute(side(LOSSES[name], 1), side(LOSSES[name], 2))
    torch.testing.assert_close(
        LOSSES[name].compute(doubled(side(LOSSES[name], 1)), doubled(side(LOSSES[name], 2))), once
    )


def test_it_reads_just_what_it_says(name):
    own, other, loss = side(LOSSES[name], 1), side(LOSSES[name], 2), LOSSES[name]
    loss.compute(own, other).backward()
    read = {key for key, value in own.outputs.items() if value.grad is not None}
    assert read == set(loss.outputs) | set(loss.shared)
    assert {key for key, value in own.critic.items() if value.grad is not None} == set(loss.critic)
    assert {key for key, value in other.outputs.items() if value.grad is not None} == set(loss.shared)


def test_it_names_what_is_missing(name):
    loss = LOSSES[name]
    assert loss.missing(offered(side(LOSSES[name], 1)), offered(side(LOSSES[name], 2))) == ()
    nothing = Interface({})
    assert set(loss.missing(nothing, nothing)) >= set(loss.outputs) | set(loss.critic)
    assert loss.missing(nothing, None)


def test_a_loss_that_compares_two_sides_is_zero_between_equals(name):
    assert abs(LOSSES[name].compute(side(LOSSES[name], 1), side(LOSSES[name], 1)).item()) <= NOISE
    assert LOSSES[name].compute(side(LOSSES[name], 1), side(LOSSES[name], 2)).item() > NOISE


test_a_loss_that_compares_two_sides_is_zero_between_equals.wants = lambda name: LOSSES[name].shared
