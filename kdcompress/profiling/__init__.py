"""What a detector costs: parameters, MACs by three counters, bytes, latency and peak memory.

Importing this package imports neither torch nor a counter's library; ``COUNTERS`` loads a counter when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from kdcompress.registry import Entry, Registry
from kdcompress.results import Count

if TYPE_CHECKING:
    from torch import Tensor, nn

Counter: TypeAlias = "Callable[[nn.Module, Tensor], Count]"
"""(module, one raw input [1, ...]) to what the module's forward pass costs; the module is left as it was."""

COUNTERS: Registry[Counter] = Registry(
    "counter",
    {
        "fvcore": Entry(
            "kdcompress.profiling.counters:fvcore", "MACs by operator of a traced graph (fvcore); the primary count"
        ),
        "thop": Entry(
            "kdcompress.profiling.counters:thop", "MACs by module (thop), its transposed convolutions corrected"
        ),
        "torch": Entry(
            "kdcompress.profiling.counters:torch_counter",
            "MACs by dispatched operator (torch's own FLOP counter, halved)",
        ),
    },
)
