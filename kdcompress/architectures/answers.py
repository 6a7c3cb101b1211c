"""What a network answers to each of several transformed inputs, of which it shall tell which is which."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def unlikelihood(logits: Tensor) -> Tensor:
    """Return the mean negative log-likelihood [N] of the right answers, given logits [N, P, T]."""
    return -_right(F.log_softmax(logits, 2)).mean(1)


def odds(logits: Tensor) -> Tensor:
    """Return the mean log-odds [N] of the wrong answers, given logits [N, P, T]."""
    wrong = logits.masked_fill(_places(logits).bool(), -torch.inf).logsumexp(2)
    return (wrong - _right(logits)).mean(1)


def _right(values: Tensor) -> Tensor:
    """Return [N, P] of values [N, P, T] those of the right answers; torch's diagonal takes a dozen nodes in ONNX."""
    return (values * _places(values)).sum(2)


def _places(values: Tensor) -> Tensor:
    """Return [P, T]: 1 where an answer is right, else 0."""
    return torch.eye(values.shape[2], device=values.device)[: values.shape[1]]
