"""What every registered loss must do."""

import pytest
import torch

from kdcompress.losses import LOSSES
from kdcompress.stage import Side
from kdcompress.types import Interface

NAMES = list(LOSSES)
VECTORS = ("latent", "latent_of_reconstruction")


def side(seed, count=6):
    torch.manual_seed(seed)
    outputs = {name: torch.randn(count, 5, requires_grad=True) for name in VECTORS}
    outputs["reconstruction"] = torch.randn(count, 1, 4, 4, requires_grad=True)
    critic = {name: torch.randn(count, requires_grad=True) for name in ("real_logit", "fake_logit")}
    critic |= {name: torch.randn(count, 3, requires_grad=True) for name in ("real_features", "fake_features")}
    return Side(torch.randn(count, 1, 4, 4), outputs, critic, aligned=outputs)


def offered(one):
    shapes = {name: tuple(value.shape[1:]) for name, value in one.outputs.items()}
    return Interface(shapes, {name: tuple(value.shape[1:]) for name, value in one.critic.items()})


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_finite_scalar_that_is_not_negative(name):
    value = LOSSES[name].compute(side(1), side(2))
    assert value.shape == ()
    assert 0 <= value.item() < float("inf")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_mean_over_the_batch(name):
    """Twice the same samples give the same loss."""

    def doubled(one):
        twice = {k: torch.cat([v, v]) for k, v in one.outputs.items()}
        return Side(torch.cat([one.x, one.x]), twice, {k: torch.cat([v, v]) for k, v in one.critic.items()}, twice)

    once = LOSSES[name].compute(side(1), side(2))
    torch.testing.assert_close(LOSSES[name].compute(doubled(side(1)), doubled(side(2))), once)


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_just_what_it_says(name):
    own, other, loss = side(1), side(2), LOSSES[name]
    loss.compute(own, other).backward()
    read = {key for key, value in own.outputs.items() if value.grad is not None}
    assert read == set(loss.outputs) | set(loss.shared)
    assert {key for key, value in own.critic.items() if value.grad is not None} == set(loss.critic)
    assert {key for key, value in other.outputs.items() if value.grad is not None} == set(loss.shared)


@pytest.mark.parametrize("name", NAMES)
def test_it_names_what_is_missing(name):
    loss = LOSSES[name]
    assert loss.missing(offered(side(1)), offered(side(2))) == ()
    nothing = Interface({})
    assert set(loss.missing(nothing, nothing)) >= set(loss.outputs) | set(loss.critic)
    assert loss.missing(nothing, None)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("distil_")])
def test_a_distillation_loss_is_zero_between_equals(name):
    assert LOSSES[name].compute(side(1), side(1)).item() == 0
    assert LOSSES[name].compute(side(1), side(2)).item() > 0
