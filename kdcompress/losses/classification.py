"""What a detector learns that tells transformations apart, and what it learns from another one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kdcompress.losses import LOSSES
from kdcompress.stage import Loss, Side, loss


@LOSSES.register("transformation")
@loss(outputs=("logits",))
def transformation(own: Side, other: Side | None) -> Tensor:
    """Cross-entropy of telling which transformation was applied (Golan and El-Yaniv, NeurIPS 2018, eq. 1)."""
    logits = own.outputs["logits"]
    right = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
    return F.cross_entropy(logits.flatten(0, 1), right.flatten())


@dataclass(frozen=True)
class _Softened:
    """Compares logits at a temperature; a dataclass, so that equal settings give equal stages."""

    temperature: float

    def __call__(self, own: Side, other: Side | None) -> Tensor:
        assert other is not None, "the engine checks that a distillation term has another side"
        count = min(side.aligned["logits"].shape[1] for side in (own, other))
        mine, theirs = (
            F.log_softmax(side.aligned["logits"][:, :count].flatten(0, 1) / self.temperature, 1)
            for side in (own, other)
        )
        return self.temperature**2 * F.kl_div(mine, theirs, reduction="batchmean", log_target=True)


def softened(temperature: float) -> Loss:
    """Return the divergence of the two sides' softened logits [N, P, K] (Hinton et al., 2015), scaled by T squared.

    Where one side has fewer passes P, the first ones are compared.
    """
    return Loss(_Softened(temperature), shared=("logits",))


distil_logits = LOSSES.register("distil_logits")(softened(2.0))
"""At temperature 2."""
