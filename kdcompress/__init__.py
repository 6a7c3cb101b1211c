"""Model compression for one-class anomaly detectors.

What is here is what a user calls and what a plug-in is written with. Importing this package does not import torch: the
public names load what they need when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from kdcompress.api import benchmark as benchmark
    from kdcompress.api import distill as distill
    from kdcompress.api import load as load
    from kdcompress.api import search as search
    from kdcompress.architectures import ARCHITECTURES as ARCHITECTURES
    from kdcompress.architectures.modules import MODULES as MODULES
    from kdcompress.data import DATASETS as DATASETS
    from kdcompress.data.one_class import OneClassData as OneClassData
    from kdcompress.data.samples import Samples as Samples
    from kdcompress.data.samples import samples as samples
    from kdcompress.errors import InputError as InputError
    from kdcompress.errors import KdcompressError as KdcompressError
    from kdcompress.losses import LOSSES as LOSSES
    from kdcompress.profiling import COUNTERS as COUNTERS
    from kdcompress.results import Count as Count
    from kdcompress.results import Result as Result
    from kdcompress.stage import SCHEDULES as SCHEDULES
    from kdcompress.stage import Adam as Adam
    from kdcompress.stage import Side as Side
    from kdcompress.stage import Stage as Stage
    from kdcompress.stage import Term as Term
    from kdcompress.stage import Update as Update
    from kdcompress.stage import loss as loss
    from kdcompress.strategies import STRATEGIES as STRATEGIES
    from kdcompress.types import Critic as Critic
    from kdcompress.types import Detector as Detector
    from kdcompress.types import Interface as Interface
    from kdcompress.types import Outputs as Outputs
    from kdcompress.types import Pair as Pair
    from kdcompress.wrapping import Teacher as Teacher
    from kdcompress.wrapping import wrap as wrap

_PUBLIC = {
    "benchmark": "api",
    "distill": "api",
    "load": "api",
    "search": "api",
    "ARCHITECTURES": "architectures",
    "MODULES": "architectures.modules",
    "DATASETS": "data",
    "OneClassData": "data.one_class",
    "Samples": "data.samples",
    "samples": "data.samples",
    "InputError": "errors",
    "KdcompressError": "errors",
    "LOSSES": "losses",
    "COUNTERS": "profiling",
    "Count": "results",
    "Result": "results",
    "SCHEDULES": "stage",
    "Adam": "stage",
    "Side": "stage",
    "Stage": "stage",
    "Term": "stage",
    "Update": "stage",
    "loss": "stage",
    "STRATEGIES": "strategies",
    "Critic": "types",
    "Detector": "types",
    "Interface": "types",
    "Outputs": "types",
    "Pair": "types",
    "Teacher": "wrapping",
    "wrap": "wrapping",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'kdcompress' has no attribute '{name}'")
    return getattr(importlib.import_module(f"kdcompress.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
