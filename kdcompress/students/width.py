"""The width of a student for a wanted cost."""

from __future__ import annotations

import math
from collections.abc import Callable

from kdcompress.errors import InputError
from kdcompress.results import Target

_WIDEST = 16.0
_NARROWEST = 1e-6


def solve(cost: Callable[[float], int], metric: str, asked: float, reference: int | None = None) -> Target:
    """Return the largest width whose cost does not exceed what was asked, as its shortest decimal.

    Args:
        cost: from width to MACs or parameters; it must not fall when the width grows.
        metric: ``macs``, ``params``, or ``macs_ratio`` for which ``reference`` is the teacher's MACs.
        asked: the most that the student may cost, or the least that the ratio may be.
        reference: the teacher's MACs.

    Raises:
        InputError: where even the narrowest student costs too much.
    """
    narrowest = cost(_NARROWEST)
    if not _fits(narrowest, asked, reference):
        # Rounded towards what can be reached, and written so that it can be pasted.
        limit = f"at least {narrowest}" if reference is None else f"at most {_floor(reference / narrowest)}"
        raise InputError(
            f"{metric}: {_floor(asked)} cannot be reached with this architecture (allowed: {limit}, "
            "the narrowest student); other options of the architecture, e.g. latent, may allow more"
        )
    low, high = _NARROWEST, 1.0
    while _fits(cost(high), asked, reference):
        low, high = high, high * 2
        if low >= _WIDEST:
            return Target(metric, asked, _reached(cost(_WIDEST), reference), _WIDEST)
    while high - low > 1e-7 * low:
        middle = (low + high) / 2
        low, high = (middle, high) if _fits(cost(middle), asked, reference) else (low, middle)
    width = _shortest(cost, low)
    return Target(metric, asked, _reached(cost(width), reference), width)


def _fits(spent: int, asked: float, reference: int | None) -> bool:
    # The same quotient as is reported: the ratio that one student reached can be asked of the next.
    return spent <= asked if reference is None else reference / spent >= asked


def _reached(spent: int, reference: int | None) -> float:
    return float(spent) if reference is None else reference / spent


def _shortest(cost: Callable[[float], int], width: float) -> float:
    """Return the shortest decimal not above a width that costs the same."""
    for digits in range(1, 9):
        scale = 10.0**digits
        shorter = math.floor(width * scale) / scale
        if shorter > 0 and cost(shorter) == cost(width):
            return shorter
    return width


def _floor(value: float) -> str:
    """Write a number in full, cut after two decimals."""
    return f"{math.floor(value * 100) / 100:.2f}".rstrip("0").rstrip(".")
