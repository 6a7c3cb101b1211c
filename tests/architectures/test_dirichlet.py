"""The most likely Dirichlet distribution, by what it has to satisfy and by samples of a known one."""

import pytest
import torch

from kdcompress.architectures.dirichlet import _inverse_digamma, fitted


@pytest.mark.parametrize("concentrations", [[2.0, 5.0, 1.0], [0.3, 0.3, 0.3, 8.0], [40.0, 60.0]])
def test_it_is_found_from_samples_and_its_gradient_is_zero(concentrations):
    torch.manual_seed(0)
    known = torch.tensor(concentrations, dtype=torch.float64)
    logs = torch.distributions.Dirichlet(known).sample((20_000,)).log()
    found = fitted(logs)
    assert found.tolist() == pytest.approx(concentrations, rel=0.05)
    gradient = torch.digamma(found.sum()) - torch.digamma(found) + logs.mean(0)
    assert gradient.abs().max() < 1e-3


def test_several_are_fitted_each_by_itself():
    torch.manual_seed(0)
    logs = torch.distributions.Dirichlet(torch.tensor([[2.0, 5.0], [7.0, 1.0]])).sample((500,)).log()
    torch.testing.assert_close(fitted(logs), torch.stack([fitted(logs[:, 0]), fitted(logs[:, 1])]))


def test_a_classifier_that_is_always_sure_leaves_them_finite():
    logs = torch.log_softmax(torch.tensor([[30.0, 0.0, 0.0]]).repeat(50, 1) + 0.1 * torch.randn(50, 3), 1)
    assert torch.isfinite(fitted(logs)).all()


def test_the_inverse_of_the_digamma_function():
    x = torch.tensor([1e-3, 0.1, 1.0, 3.0, 500.0], dtype=torch.float64)
    torch.testing.assert_close(_inverse_digamma(torch.digamma(x)), x)
