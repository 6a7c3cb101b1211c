"""A detector and raw data to anomaly scores."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from kdcompress.errors import ScoreError
from kdcompress.evaluation.checks import check_finite
from kdcompress.types import Detector, Scorer


def score(detector: Detector, raw: Tensor, *, device: torch.device | str = "cpu", batch_size: int = 512) -> np.ndarray:
    """Return the float64 anomaly scores [N] of raw data [N, ...], computed in eval mode and float32.

    The detector must be on ``device`` already; raw data may be anywhere and move there batch by batch.
    Batches only bound the memory: scores differ between batch sizes by float32 rounding alone. The detector
    is left as it was, each module in the mode it had; one trained in a lower precision is scored through a
    float32 copy.

    Raises:
        ScoreError: a score is NaN or infinite, or the detector does not return [N].
    """
    scores = unchecked(detector, raw, device=device, batch_size=batch_size)
    check_finite(scores, type(detector).__name__)
    return scores


def unchecked(
    detector: Detector, raw: Tensor, *, device: torch.device | str = "cpu", batch_size: int = 512
) -> np.ndarray:
    """Return what `score` does, with scores that are not finite among them: for whoever says which sample it is.

    Raises:
        ScoreError: the detector does not return [N].
    """
    device = torch.device(device)
    scorer = Scorer(_in_float32(detector))
    scores = np.empty(len(raw), dtype=np.float64)
    with _eval_mode(scorer), _full_float32(device), torch.inference_mode():
        for start in range(0, len(raw), batch_size):
            batch = raw[start : start + batch_size].to(device)
            values = scorer(batch)
            if values.shape != (len(batch),):
                raise ScoreError(
                    f"{type(detector).__name__}.score returned {tuple(values.shape)} for a batch; "
                    f"it must return one score for each sample, ({len(batch)},)"
                )
            scores[start : start + batch_size] = values.cpu().double().numpy()
    return scores


def _in_float32(detector: Detector) -> Detector:
    if any(weight.is_floating_point() and weight.dtype != torch.float32 for weight in detector.parameters()):
        return copy.deepcopy(detector).float()
    return detector


def outputs(detector: Detector, raw: Tensor, *, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Return the named outputs for a few raw samples [N, ...], computed as `score` computes scores; on the CPU."""
    device = torch.device(device)
    plain = _in_float32(detector)
    with _eval_mode(plain), _full_float32(device), torch.inference_mode():
        return {name: value.float().cpu() for name, value in plain(plain.prepare(raw.to(device))).items()}


@contextmanager
def _eval_mode(module: nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        # One by one: train() would also wake modules that were frozen on purpose.
        for part, training in modes:
            part.training = training


@contextmanager
def _full_float32(device: torch.device) -> Iterator[None]:
    """Switch off autocast and TF32: CUDA convolutions use it by default, and it keeps 10 bits of mantissa."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)
