"""Optimisers of a stage, and their state as named tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdcompress.stage import Update


def make(update: Update, params: list[nn.Parameter]) -> torch.optim.Adam:
    """Return a new optimiser; the fused form does all parameters in one call."""
    adam = update.optimizer
    return torch.optim.Adam(params, lr=adam.learning_rate, betas=adam.betas, weight_decay=adam.weight_decay, fused=True)


def state(optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    """Return the optimiser's tensors by parameter index; empty before its first step."""
    return {
        f"{index}.{key}": value
        for index, param in enumerate(optimizer.param_groups[0]["params"])
        for key, value in optimizer.state.get(param, {}).items()
    }


def restore(optimizer: torch.optim.Adam, saved: dict[str, Tensor]) -> None:
    """Put back what `state` returned, in each parameter's own memory format."""
    params = optimizer.param_groups[0]["params"]
    optimizer.state.clear()
    for name, value in saved.items():
        index, key = name.split(".")
        param = params[int(index)]
        own = torch.zeros_like(param) if value.shape == param.shape and key != "step" else torch.empty_like(value)
        optimizer.state[param][key] = own.to(param.device).copy_(value)
