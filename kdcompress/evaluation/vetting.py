"""Whether a teacher can teach: what is wrong with its scores is said before anything is trained."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kdcompress import queries
from kdcompress.errors import InputError, ScoreError
from kdcompress.evaluation.scoring import score
from kdcompress.seeding import derive
from kdcompress.types import Detector

_SAMPLES = 64
_CLOSE = 1e-3
"""By how much scores of the same samples may differ, in units of their spread."""


def vetted(detector: Detector, normals: Tensor, device: torch.device | str = "cpu") -> tuple[str, ...]:
    """Return warnings about a teacher, by its scores of some held-out normals and of changed ones.

    Args:
        detector: the teacher; it is moved to ``device``.
        normals: raw held-out normals [N, ...]; no labels are read.
        device: where to compute.

    Raises:
        InputError: where its scores are not finite numbers, one for each sample, are all the same, or differ when it
            is asked again.
    """
    detector.to(device)
    some = normals[:_SAMPLES]
    changed = queries.made(("noise", "shuffles", "uniform"), some, len(some), derive(0, "vetting"))
    both = torch.cat([some, changed])
    try:
        found, again = (score(detector, both, device=device) for _ in range(2))
    except ScoreError as error:
        raise InputError(f"teacher: {error}") from error
    spread = float(np.ptp(found))
    if spread == 0:
        raise InputError(
            f"teacher: all its scores are {found[0]:g}, of {len(some)} held-out normals and of as many changed ones: "
            "there is nothing to learn from it (is its score the right output, and its preparation the right one?)"
        )
    if float(np.abs(found - again).max()) > _CLOSE * spread:
        raise InputError(
            "teacher: it gave other scores when it was asked again for the same samples: a teacher has to be "
            "deterministic (dropout or random augmentation that is on in eval mode?)"
        )
    usual, odd = np.median(found[: len(some)]), np.median(found[len(some) :])
    if usual > odd:
        return (
            f"the teacher's scores of held-out normals (median {usual:.4g}) are higher than those of changed ones "
            f"({odd:.4g}): higher should be more anomalous; is its score the other way round?",
        )
    return ()
