"""The Dirichlet distribution that answers of a classifier follow most likely."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 50
_LEAST, _MOST = 1e-3, 1e4


def fitted(logs: Tensor) -> Tensor:
    """Return the most likely concentrations [..., T] of probabilities given by their logarithms [N, ..., T].

    They satisfy psi(a) = psi(sum a) + mean log p (Minka, Estimating a Dirichlet distribution, 2000): some rounds of his
    fixed point (eq. 9), which always gets nearer, then as many of Newton's steps (eq. 15 to 18), which get there. In
    float64; concentrations are held to [1e-3, 1e4], where a classifier that is always sure would drive them further.
    """
    logs = logs.double()
    mean = logs.mean(0)
    probabilities = logs.exp()
    first = probabilities.mean(0)
    spread = (probabilities * logs).mean(0) - first * mean
    total = (logs.shape[-1] - 1) / (2 * spread.sum(-1, keepdim=True)).clamp(min=1e-9)
    found = (total * first).clamp(_LEAST, _MOST)
    for _ in range(_ROUNDS):
        found = _inverse_digamma(torch.digamma(found.sum(-1, keepdim=True)) + mean).clamp(_LEAST, _MOST)
    for _ in range(_ROUNDS):
        found = torch.where((step := _newton(found, mean)) > 0, step, found / 2).clamp(_LEAST, _MOST)
    return found


def _newton(found: Tensor, mean: Tensor) -> Tensor:
    total = found.sum(-1, keepdim=True)
    gradient = torch.digamma(total) - torch.digamma(found) + mean
    own, shared = -torch.polygamma(1, found), torch.polygamma(1, total)
    common = (gradient / own).sum(-1, keepdim=True) / (1 / shared + (1 / own).sum(-1, keepdim=True))
    return found - (gradient - common) / own


def _inverse_digamma(values: Tensor) -> Tensor:
    """Return where the digamma function has these values, by five of Newton's steps (Minka, 2000, appendix C)."""
    found = torch.where(values >= -2.22, values.exp() + 0.5, -1 / (values - torch.digamma(torch.ones_like(values))))
    for _ in range(5):
        found = found - (torch.digamma(found) - values) / torch.polygamma(1, found)
    return found
