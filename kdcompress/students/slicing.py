"""A torch module with fewer channels, for a width or for a cost."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from kdcompress.architectures.importance import importance
from kdcompress.architectures.narrowing import narrow, understood, verified
from kdcompress.errors import InputError
from kdcompress.profiling.counters import macs as counted
from kdcompress.students.width import solve


def sliced(network: nn.Module, x: Tensor, *, width: float | None = None, macs: float | None = None) -> nn.Module:
    """Return a copy of a network with its most important channels alone; the network stays as it is.

    What it puts out keeps its shape.

    Args:
        network: on the CPU.
        x: an example input [N, ...] of two samples or more, on the CPU.
        width: share of each layer's channels that stay, in (0, 1].
        macs: or the most multiply-accumulates that one sample may take.

    Raises:
        InputError: with the kind and the name of a layer that cannot be narrowed, or for a budget that is too small.
    """
    if (width is None) == (macs is None) or (width is not None and not 0 < width <= 1):
        raise InputError(f"sliced: give one of width, in (0, 1], and macs (given: width {width}, macs {macs})")
    coupling = understood(network, x)
    ranked = importance(network, coupling)

    def at(share: float) -> nn.Module:
        own = copy.deepcopy(network)
        narrow(own, coupling.gone(share, ranked))
        return own

    def cost(share: float) -> int:
        with torch.no_grad():
            return counted(at(share).to("meta"), x[:1].to("meta"))

    found = at(solve(cost, "macs", macs).width if macs is not None else width or 1.0)
    verified(found, coupling)
    return found
