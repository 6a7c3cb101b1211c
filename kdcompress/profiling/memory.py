"""How much memory the tensors need that are alive while a batch is scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kdcompress.errors import InputError
from kdcompress.profiling.subject import subject


def peak_memory_bytes(module: nn.Module, raw: Tensor) -> int:
    """Return the peak bytes of all tensors alive while a raw batch [N, ...] is scored where it lies.

    Weights, buffers and the raw batch are included. On CUDA it is the allocator's peak, which has scratch memory of
    kernels and the rounding of activations to blocks in it. Elsewhere tensors are followed from operator to
    operator: deterministic and equal to a count by hand, but blind to scratch memory inside one operator (e.g. a
    convolution's repacked input) and to the runtime itself. Figures of the two kinds do not compare.

    Raises ``InputError`` for a batch of none.
    """
    if raw.ndim == 0 or raw.shape[0] == 0:
        raise InputError(f"profiling needs a raw batch of shape [N, ...] with N of 1 or more; got {list(raw.shape)}")
    measured = subject(module, raw.device)
    with torch.inference_mode():
        return _allocated_peak(measured, raw) if raw.is_cuda else _followed_peak(measured, raw)


def _held(module: nn.Module, raw: Tensor) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
    yield raw


def _followed_peak(module: nn.Module, raw: Tensor) -> int:
    live = _LiveStorages()
    live.note(_held(module, raw))
    with live:
        module(raw)
    return live.peak


def _allocated_peak(module: nn.Module, raw: Tensor) -> int:
    # A first pass lets the libraries take their lasting workspaces, which would else count for the first module only.
    module(raw)
    torch.cuda.synchronize(raw.device)
    before = torch.cuda.memory_allocated(raw.device)
    torch.cuda.reset_peak_memory_stats(raw.device)
    module(raw)
    torch.cuda.synchronize(raw.device)
    held = _LiveStorages()
    held.note(_held(module, raw))
    return torch.cuda.max_memory_allocated(raw.device) - before + held.peak


class _LiveStorages(TorchDispatchMode):
    """Follows the storages that operators read and write, and keeps the largest sum of those alive at once.

    Storages and not tensors, because views share them; weak references, because following must not keep them alive.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._bytes: dict[StorageWeakRef, int] = {}

    def note(self, values: object) -> None:
        for tensor in tree_leaves(list(values) if isinstance(values, Iterator) else values):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._bytes[StorageWeakRef(storage)] = storage.nbytes()
        self._bytes = {storage: size for storage, size in self._bytes.items() if not storage.expired()}
        self.peak = max(self.peak, sum(self._bytes.values()))

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        self.note((args, kwargs, result))
        return result
