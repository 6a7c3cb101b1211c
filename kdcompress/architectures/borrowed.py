"""Weights that a network reads outside of the layers that own them: what often stands behind a refusal to narrow it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kdcompress.architectures import layer_rules


def borrowed(network: nn.Module, x: Tensor) -> str:
    """Say which layer's weights are read outside of it, as tied ones are; an empty string where none are."""
    owned = [
        (id(layer._parameters[own]), (name, layer, own))
        for name, layer in network.named_modules()
        if (rule := layer_rules.rule_of(layer)) is not None
        for own in rule.names(layer)
        if layer._parameters.get(own) is not None
    ]
    # What layers share among themselves is refused as that.
    count = Counter(key for key, _ in owned)
    owners = {key: owner for key, owner in owned if count[key] == 1}
    running: list[nn.Module] = []
    hooks = [one.register_forward_pre_hook(lambda layer, _: running.append(layer)) for one in network.modules()]
    hooks += [one.register_forward_hook(lambda *_: running.pop() and None) for one in network.modules()]
    seen = _Read(owners, running)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), seen:
            network(x)
    except Exception:  # noqa: BLE001 - what does not run is said by whoever asks
        return ""
    finally:
        for hook in hooks:
            hook.remove()
    if seen.found is None:
        return ""
    name, layer, own = seen.found
    return f"the {own} of {type(layer).__name__} '{name}' is read outside of it too, as tied weights are"


class _Read(TorchFunctionMode):
    """Listens to what reads the weights of layers that are not the one that runs."""

    def __init__(self, owners: dict[int, tuple[str, nn.Module, str]], running: list[nn.Module]) -> None:
        super().__init__()
        self.owners, self.running = owners, running
        self.found: tuple[str, nn.Module, str] | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        for one in (*args, *(kwargs or {}).values()):
            owner = self.owners.get(id(one))
            # Attention reads its own inner layer's weights, and is refused by its name.
            if owner is not None and owner[1] not in self.running[-1:] and func is not _ATTENTION:
                self.found = self.found or owner
        return func(*args, **(kwargs or {}))


_ATTENTION = nn.functional.multi_head_attention_forward
