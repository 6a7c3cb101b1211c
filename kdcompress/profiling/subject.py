"""The copy of a module that is measured, so that measuring never changes the module itself."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from kdcompress.errors import InputError


def subject(module: nn.Module, device: torch.device | str | None = None) -> nn.Module:
    """Return a deep copy in eval mode, in float32 and without gradients, on a device (None: where it is)."""
    measured = copy.deepcopy(module).eval().float().requires_grad_(False)
    return measured if device is None else measured.to(available(device))


def available(device: torch.device | str) -> torch.device:
    """Return the device; raises ``InputError`` where this machine does not have it."""
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"device '{device}' cannot be used here: {reason} (allowed: cpu, cuda where present)"
        ) from None
    return found


def batch(raw: Tensor, size: int, device: torch.device | str | None = None) -> Tensor:
    """Repeat one raw input [1, ...] to a contiguous batch [size, ...]; floating raw data become float32.

    Raises ``InputError`` where ``raw`` is not exactly one input.
    """
    if raw.ndim == 0 or raw.shape[0] != 1:
        raise InputError(f"profiling needs one raw input of shape [1, ...]; got {list(raw.shape)}")
    one = raw.detach().to(device=device, dtype=torch.float32 if raw.is_floating_point() else raw.dtype)
    return one.repeat(size, *[1] * (raw.ndim - 1))
