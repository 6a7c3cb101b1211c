"""Weights of torchvision's networks, from a user's file or from torchvision itself."""

from __future__ import annotations

import io
import pickle
from collections.abc import Collection, Mapping
from typing import Annotated, Any, TypeAlias

import safetensors
import safetensors.torch
import torch
from pydantic import AfterValidator
from torch import Tensor, nn

from kdcompress.errors import InputError, near, unknown
from kdcompress.pinned import Pinned, pinned

_PUBLISHED = "torchvision:"
_UNUSED = "num_batches_tracked"
"""The end of the names of what only training reads, and old files lack."""

_UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError)
_SAVED = (b"PK", b"\x80")
"""How files of torch.save begin, new and old."""


def _named(given: str | Pinned | None) -> str | Pinned | None:
    """Return published weights by their name, and a file with its hash."""
    return given if given is None or (isinstance(given, str) and given.startswith(_PUBLISHED)) else pinned(given)


Weights: TypeAlias = Annotated[str | Pinned | None, AfterValidator(_named)]
"""``torchvision:NAME``, a file's path or a `Pinned`; None: random ones."""


def _kept(given: str | Pinned | None) -> Pinned | None:
    """Return a file with its hash."""
    return None if given is None else pinned(given)


Checkpoint: TypeAlias = Annotated[str | Pinned | None, AfterValidator(_kept)]
"""A file's path or a `Pinned`; None: no file."""


def check(network: str, weights: str | Pinned | None) -> None:
    """Check the name of published weights; files are not looked at.

    Raises:
        InputError: where torchvision has none of that name.
    """
    if isinstance(weights, str):
        _published(network, weights)


def fill(part: nn.Module, network: str, weights: str | Pinned) -> None:
    """Read weights into the part of a torchvision network that is used, under torchvision's own names.

    Raises:
        InputError: where they cannot be had or are not those of this network.
    """
    found, where = _published_state(network, weights) if isinstance(weights, str) else _state(weights, "weights")
    own = part.state_dict()
    wanted = {name: tuple(value.shape) for name, value in own.items() if not name.endswith(_UNUSED)}
    if said := _unfit(wanted, network, found):
        raise InputError(f"weights: {where} does not fit {network}: {said}")
    with torch.no_grad():
        for name in wanted:
            own[name].copy_(found[name])


def fill_whole(network: nn.Module, checkpoint: str | Pinned) -> None:
    """Read a whole network's weights from a file.

    Raises:
        InputError: as `fitting`.
    """
    network.load_state_dict(dict(fitting(network, checkpoint)))


def fitting(network: nn.Module, checkpoint: str | Pinned) -> Mapping[str, Tensor]:
    """Return a whole network's weights in a file.

    Raises:
        InputError: where the file cannot be read, or names and shapes in it are not the network's.
    """
    found, where = _state(pinned(checkpoint), "checkpoint")
    own = network.state_dict()
    if said := _differences({name: tuple(value.shape) for name, value in own.items()}, own, found):
        raise InputError(f"checkpoint: {where} does not fit the network: {said}{_prefixed(own, found, where)}")
    return found


def _prefixed(own: Collection[str], found: Collection[str], where: str) -> str:
    """Say how to take off what stands before each name; nothing where the names differ otherwise."""
    read = f"torch.load({where!r}, weights_only=True)"
    if where.endswith(".safetensors"):
        read = f"safetensors.torch.load_file({where!r})"
    for name in found:
        before = name.removesuffix(next(iter(own), ""))
        if before != name and {before + one for one in own} == set(found):
            return (
                f"; before each name is {before!r}, as a DataParallel or a Lightning module writes it: torch.save({{"
                f"k.removeprefix({before!r}): v for k, v in {read}.items()}}, OTHER)"
            )
    return ""


def _unfit(wanted: Mapping[str, tuple[int, ...]], network: str, found: Mapping[str, Tensor]) -> str:
    """Say what is missing in a state, unknown to the whole network or of another shape; nothing where it fits."""
    from torchvision import models

    with torch.device("meta"):
        whole = models.get_model(network, weights=None).state_dict()
    return _differences(wanted, whole, found)


def _differences(wanted: Mapping[str, tuple[int, ...]], known: Collection[str], found: Mapping[str, Tensor]) -> str:
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in known]
    said = [f"{len(missing)} missing, the first {missing[0]}{near(missing[0], found)}"] if missing else []
    said += (
        [f"{len(unexpected)} unexpected, the first {unexpected[0]}{near(unexpected[0], known)}"] if unexpected else []
    )
    other = [name for name, shape in wanted.items() if name in found and tuple(found[name].shape) != shape]
    if other:
        name = other[0]
        shapes = f"{tuple(found[name].shape)} instead of {wanted[name]}"
        said.append(f"{len(other)} of another shape, the first {name}: {shapes}")
    return "; ".join(said)


def _state(weights: Pinned, key: str) -> tuple[Mapping[str, Tensor], str]:
    """Return a file's tensors by name, and what to call it; nothing in it is run."""
    try:
        content = weights.read()
    except InputError as error:
        raise InputError(f"{key}: {error}") from error
    where = str(weights.file)
    if where.endswith(".safetensors"):
        try:
            return safetensors.torch.load(content), where
        except safetensors.SafetensorError as error:
            raise InputError(f"{key}: {where}: not a safetensors file, or a damaged one: {error}") from error
    try:
        found: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        # torch's own words advise to let the file run code.
        unsafe = isinstance(error, pickle.UnpicklingError) and content.startswith(_SAVED)
        said = (
            "holds more than tensors, such as a whole model, and could run code: where you trust it, load it and save "
            "its state dict, torch.save(model.state_dict(), FILE)"
            if unsafe
            else "not a file of tensors, or a damaged one"
        )
        raise InputError(
            f"{key}: {where}: {said} (allowed: .safetensors, or a state dict that torch.save wrote)"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(one, Tensor) for one in found.values()):
        inner = (
            [name for name, one in found.items() if isinstance(one, dict) and one] if isinstance(found, dict) else []
        )
        # An optimizer's state is a mapping too, but none of tensors.
        inner.sort(key=lambda name: not all(isinstance(one, Tensor) for one in found[name].values()))
        hint = inner and (
            f" (there are mappings under {', '.join(map(str, inner))}; one by itself: torch.save(torch.load({where!r}, "
            f"weights_only=True)[{inner[0]!r}], OTHER))"
        )
        raise InputError(f"{key}: {where}: no state dict: not a mapping of names to tensors{hint or ''}")
    if other := [name for name in found if not isinstance(name, str)]:
        raise InputError(f"{key}: {where}: no state dict: {other[0]!r} is no name of a tensor")
    return found, where


def _published(network: str, weights: str) -> Any:  # noqa: ANN401 - torchvision publishes no types
    from torchvision import models

    offered = models.get_model_weights(network).__members__
    name = weights.removeprefix(_PUBLISHED)
    if name not in offered:
        raise InputError(f"weights: {unknown(f'torchvision weights of {network}', name, offered)}")
    return offered[name]


def _published_state(network: str, weights: str) -> tuple[Mapping[str, Tensor], str]:
    """Return torchvision's weights: downloaded once, into torch's own cache."""
    source = _published(network, weights)
    try:
        state = source.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise InputError(
            f"weights: {weights} of {network} cannot be had from {source.url}: {error} (allowed: a file of them)"
        ) from error
    return state, weights
