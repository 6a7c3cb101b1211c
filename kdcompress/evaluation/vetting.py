"""Whether a teacher can teach: what is wrong with its scores is said before anything is trained."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kdcompress import queries
from kdcompress.errors import InputError, ScoreError
from kdcompress.evaluation.scoring import unchecked
from kdcompress.seeding import derive
from kdcompress.types import Detector

_SAMPLES = 64
_FEW = 30
"""Held-out normals, below which those of the training are looked at instead."""
_CLOSE = 1e-3
"""By how much scores of the same samples may differ, in units of their spread."""
_TURNED = 0.7
"""Share of pairs in which the normal one scores higher, above which a score seems the other way round."""


def vetted(
    detector: Detector, train: Tensor, held: Tensor, device: torch.device | str = "cpu", name: str = "teacher"
) -> tuple[str, ...]:
    """Return warnings about a detector that is there already, by its scores of some normals and of changed ones.

    Args:
        detector: what is looked at; it is moved to ``device``.
        train: raw training normals [N, ...], from which changed ones are made; no labels are read.
        held: raw held-out normals.
        device: where to compute.
        name: what to call it.

    Raises:
        InputError: where its scores are not finite numbers, one for each sample, are all the same, differ when it is
            asked again, or depend on what else is in a batch.
    """
    detector.to(device)
    some = (held if len(held) >= _FEW else train)[:_SAMPLES]
    changed = queries.made(("noise", "shuffles", "uniform"), train, _SAMPLES, derive(0, "vetting"))
    both = torch.cat([some, changed])
    try:
        found, again, parted = (unchecked(detector, both, device=device, batch_size=size) for size in (512, 512, 7))
    except (InputError, ScoreError) as error:
        raise InputError(f"{name}: {error}") from error
    finite = np.isfinite(found)
    if not finite.all():
        raise InputError(
            f"{name}: its scores are no finite numbers for {_share(~finite[: len(some)])} normals and "
            f"{_share(~finite[len(some) :])} changed ones (are its score, its preparation and its weights right? "
            "scores are float32)"
        )
    spread = float(np.ptp(found))
    if spread == 0:
        raise InputError(
            f"{name}: all its scores are {found[0]:g}, of {len(some)} normals and of {len(changed)} changed ones: "
            "there is nothing to learn from it (is its score the right output, and its preparation the right one? "
            "scores are float32)"
        )
    if float(np.abs(found - again).max()) > _CLOSE * spread:
        raise InputError(
            f"{name}: it gave other scores when it was asked again for the same samples: it has to be deterministic "
            "(dropout or random augmentation that is on in eval mode?)"
        )
    if float(np.abs(found - parted).max()) > _CLOSE * spread:
        raise InputError(
            f"{name}: it gave other scores when the same samples came in smaller batches: a score may not depend on "
            "what else is in a batch (a batch norm that stays in train mode, ranks or scaling within a batch?)"
        )
    usual, odd = found[: len(some)], found[len(some) :]
    turned = float((usual[:, None] > odd[None]).mean())
    if turned > _TURNED:
        return (
            f"the {name}'s scores of normals (median {np.median(usual):.4g}) are mostly higher than those of changed "
            f"ones ({np.median(odd):.4g}): higher should be more anomalous; is its score the other way round?",
        )
    return ()


def _share(those: np.ndarray) -> str:
    return f"{int(those.sum())} of {len(those)}"
