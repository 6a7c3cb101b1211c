"""A counter of your own: MACs by what each module's forward pass was given and gave.

kdcompress profile conv_ae --input 1,28,28 --plugin examples/hooks.py
"""

import copy
from collections import Counter

import torch
from torch import Tensor, nn

import kdcompress as kd


@kd.COUNTERS.register("hooks")
def hooks(module: nn.Module, raw: Tensor) -> kd.Count:
    """MACs by module, from forward hooks: each element is multiplied with one slice of the weight."""
    macs: Counter[str] = Counter()

    def note(part: nn.Module, given: tuple[Tensor], gave: Tensor) -> None:
        elements = given[0] if isinstance(part, nn.ConvTranspose2d) else gave
        macs[type(part).__name__] += elements.numel() * part.weight[0].numel()

    measured = copy.deepcopy(module).eval()
    for part in measured.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            part.register_forward_hook(note)
    with torch.no_grad():
        measured(raw)
    return kd.Count(sum(macs.values()), dict(macs))
