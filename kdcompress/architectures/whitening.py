"""Linear maps after which normals vary alike in all directions: a squared length is then a Mahalanobis distance."""

from __future__ import annotations

import torch
from torch import Tensor


def covariance(samples: Tensor) -> Tensor:
    """Return Ledoit and Wolf's (2004) shrunk covariance of samples [N, D] in float64; it has an inverse."""
    # scikit-learn takes long to load, and only a stage that calibrates needs it.
    from sklearn.covariance import ledoit_wolf

    found = torch.from_numpy(ledoit_wolf(samples.double().cpu().numpy())[0]).to(samples.device)
    # Of a few samples, or copies, it may be singular although it is shrunk.
    if torch.linalg.cholesky_ex(found)[1]:
        found += 1e-6 * found.diagonal().mean() * torch.eye(len(found)).to(found)
    return found


def inverse_root(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return (W, L) with C = L L^T and W the inverse of L, so that W C W^T = I, for a covariance C."""
    lower = torch.linalg.cholesky(matrix)
    return torch.linalg.solve_triangular(lower, torch.eye(len(lower)).to(lower), upper=False), lower


def canonical(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (V, W, inverse of V, r): Hotelling's (1936) canonical correlations r of samples [N, D] of two vectors.

    Along the rows of V and W the two vectors have unit variances, and no covariance but r between like rows.
    """
    size = first.shape[1]
    joint = covariance(torch.cat([first, second], 1))
    (one, lower), (other, _) = (inverse_root(joint[half, half]) for half in (slice(None, size), slice(size, None)))
    left, correlation, right = torch.linalg.svd(one @ joint[:size, size:] @ other.T)
    return left.T @ one, right @ other, lower @ left, correlation.clamp(max=1 - 1e-9)
