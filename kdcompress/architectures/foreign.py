"""What computes outside of torch: an operator of its own, so that it can be planned, traced and counted like any other.

Counters name it as what they cannot count; nothing is differentiated through it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from kdcompress.errors import ScoreError

Compute: TypeAlias = Callable[[np.ndarray], Sequence[np.ndarray]]
"""A batch [N, ...] to its results, each [N, ...]."""


class Foreign:
    """Marks a detector that computes outside of torch: it teaches, and cannot be trained along or exported."""


@dataclass(frozen=True)
class _Called:
    compute: Compute
    shapes: Callable[[], list[tuple[int, ...]]]


_CALLED: list[_Called] = []


def registered(compute: Compute, shapes: Callable[[], list[tuple[int, ...]]]) -> int:
    """Return a number for something that computes; ``shapes`` tells its results' shapes for one sample when asked."""
    _CALLED.append(_Called(compute, shapes))
    return len(_CALLED) - 1


@torch.library.custom_op("kdcompress::foreign", mutates_args=())
def foreign(x: Tensor, number: int) -> list[Tensor]:
    """Compute the results of a batch, in float32.

    Raises:
        ScoreError: where a result is not one for each sample.
    """
    called = _CALLED[number]
    found = [np.asarray(one) for one in called.compute(x.detach().cpu().numpy())]
    for one, shape in zip(found, called.shapes(), strict=True):
        if one.shape != (len(x), *shape):
            raise ScoreError(f"a foreign detector gave {one.shape} for {len(x)} samples, not {(len(x), *shape)}")
    return [torch.tensor(one, dtype=torch.float32, device=x.device) for one in found]


@foreign.register_fake
def _(x: Tensor, number: int) -> list[Tensor]:
    return [x.new_empty((len(x), *shape), dtype=torch.float32) for shape in _CALLED[number].shapes()]
