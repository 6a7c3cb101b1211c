"""Randomness from (seed, what it is for): nothing to save, nothing to restore."""

from __future__ import annotations

import hashlib


def derive(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed that depends on the run's seed and on what it is used for.

    Two purposes give independent streams; the same purpose gives the same stream in a resumed run, so no
    generator state is ever stored.
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
