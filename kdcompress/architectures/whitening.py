"""The linear map after which normals vary alike in all directions: a squared length is then a Mahalanobis distance."""

from __future__ import annotations

import torch
from torch import Tensor


def inverse_root(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Return (W, L) with W C W^T = I and C = L L^T, W the inverse of L, for the covariance C of samples [N, D].

    C is Ledoit and Wolf's (2004) shrunk covariance, computed in float64.
    """
    # scikit-learn takes long to load, and only a stage that calibrates needs it.
    from sklearn.covariance import ledoit_wolf

    covariance = torch.from_numpy(ledoit_wolf(samples.double().cpu().numpy())[0]).to(samples.device)
    # Of a few samples, or copies, it may be singular although it is shrunk.
    lower, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        floor = 1e-6 * covariance.diagonal().mean()
        lower = torch.linalg.cholesky(covariance + floor * torch.eye(len(covariance)).to(covariance))
    return torch.linalg.solve_triangular(lower, torch.eye(len(lower)).to(lower), upper=False), lower
