"""Everything that a detector costs, in one record."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from kdcompress.profiling import COUNTERS
from kdcompress.profiling.counters import params, tensor_bytes
from kdcompress.profiling.latency import latency_ms
from kdcompress.profiling.memory import peak_memory_bytes
from kdcompress.profiling.subject import available, batch, subject
from kdcompress.results import Count, Profile
from kdcompress.types import Detector, Scorer

BATCH_SIZES = (1, 64)


def profile(detector: Detector, raw: Tensor, *, device: torch.device | str = "cpu") -> Profile:
    """Measure the way from one raw input [1, ...] to its score; the detector is left as it was.

    ``macs`` is fvcore's integer. The counters agree on modules made of convolutions and linear layers; where they do
    not, ``counters`` shows it, with the operators behind each figure: thop misses what no module computes, and what
    a counter has no rule for is in its ``uncounted``. MACs are counted on the CPU; latency and peak memory are taken
    on ``device``. ``peak_memory_bytes`` is that of one input, as the MACs are; ``bytes`` are the state dict's tensors
    as the detector holds them, without a file's header.

    Raises ``InputError`` where ``raw`` is not one input or the device is not there.
    """
    scorer = subject(Scorer(detector), "cpu")
    one, place = batch(raw, 1, "cpu"), available(device)
    counts = {name: COUNTERS[name](scorer, one) for name in COUNTERS}
    return Profile(
        params=params(detector),
        macs=counts["fvcore"].macs,
        bytes=tensor_bytes(detector),
        latency_ms={f"batch_{size}": latency_ms(scorer, one, size, device=place) for size in BATCH_SIZES},
        peak_memory_bytes=peak_memory_bytes(scorer, one.to(place)),
        counters=counts,
    )


def counters_json(profile: Profile) -> dict[str, Any]:
    """Return the counters as ``result.json`` has them: one entry a counter, and ``uncounted`` of all together.

    Names tell whose they are: ``aten::...`` are fvcore's operators, the rest thop's module types.
    """
    entries: dict[str, Any] = {name: _entry(count) for name, count in profile.counters.items()}
    uncounted = {name: times for count in profile.counters.values() for name, times in count.uncounted.items()}
    return {**entries, "uncounted": uncounted}


def _entry(count: Count) -> dict[str, Any]:
    plain = dataclasses.asdict(count)
    plain.pop("uncounted")
    return plain
