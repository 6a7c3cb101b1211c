"""A detector that a program has in its hands, as a teacher."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.foreign import Foreign, foreign, registered
from kdcompress.architectures.module import Wrapped, represented, tapped
from kdcompress.architectures.scoring import NAMES, Distance, Preparation, Reconstruction, Score
from kdcompress.errors import InputError
from kdcompress.fingerprint import fingerprint
from kdcompress.seeding import derive
from kdcompress.types import Detector, Outputs, Pair

_PROBES = 16
"""Samples by whose scores a function is told from another."""

_WRAPPED: dict[str, Teacher] = {}
"""What was wrapped in this process, by name."""


@dataclass(frozen=True)
class Teacher:
    """A wrapped detector: what ``kd.distill(teacher=...)`` takes.

    Attributes:
        name: of the architecture that it is registered as in this process; it follows from what it is, where that can
            be hashed.
        input_shape: of one raw sample.
        detector: what is asked for scores.
    """

    name: str
    input_shape: tuple[int, ...]
    detector: Detector


class _Function(Detector, Foreign):
    """A function of arrays."""

    def __init__(self, function: Callable[[np.ndarray], Any], score: Callable[[Any], Any] | None) -> None:
        super().__init__()
        self.function, self.how = function, score
        self.number = registered(self._compute, lambda: [()])

    def __deepcopy__(self, memo: dict[int, Any]) -> _Function:
        """Return the same function: what is behind it is the user's."""
        return _Function(self.function, self.how).train(self.training)

    def prepare(self, raw: Tensor) -> Tensor:
        """Return raw data as they are."""
        return raw

    def forward(self, x: Tensor) -> Outputs:
        """Return ``anomaly`` [N]."""
        return {"anomaly": foreign(x, self.number)[0]}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return it."""
        return outputs["anomaly"]

    def _compute(self, x: np.ndarray) -> list[np.ndarray]:
        found = self.function(x)
        return [np.asarray(found if self.how is None else self.how(found))]


def wrap(
    module_or_callable: nn.Module | Callable[[np.ndarray], Any],
    *,
    score: Score | Mapping[str, Any] | Callable[..., Any] | None = None,
    taps: Mapping[str, str] | Sequence[str] = (),
    input_shape: Sequence[int],
    preprocess: Callable[[Tensor], Tensor] | None = None,
) -> Teacher:
    """Return a detector of your own as a teacher: a torch module as it is, or any function of arrays.

    It stays as it is; a copy of a module is what teaches. A run of it can be read by everybody, its teacher's bundle
    rebuilt only where the same thing was wrapped. That is told by its weights, state and code, down to closures and
    globals; where something behind it cannot be pickled, such as a session or an open file, it is taken for a new one
    each time, and a run of it is not found again.

    Args:
        module_or_callable: a torch module, or a function of an array [N, ...] of raw samples.
        score: of a module: the name of an output ("output" where it returns a tensor, "output.0", ... of a tuple, a
            mapping's own names, or a tap), ``{"distance": [ONE, OTHER]}``, ``{"reconstruction": ONE}``, or a function
            of the prepared input and the outputs; of a function: what makes scores [N] of what it returns; None, it
            returns them. Higher is more anomalous.
        taps: inner modules by their dotted names, whose outputs a student shall learn; as a mapping, under other names.
        input_shape: of one raw sample, e.g. (C, H, W).
        preprocess: raw samples [N, ...] to what the module takes; None: float32, uint8 data scaled to [0, 1].

    Raises:
        InputError: for something else, unknown taps or outputs, or scores that are not one number for each sample.
    """
    if not isinstance(input_shape, Sequence) or not all(isinstance(side, int) and side > 0 for side in input_shape):
        raise InputError(
            f"wrap: input_shape: expected the sides of a sample, e.g. (1, 28, 28), not {input_shape!r:.80}"
        )
    if preprocess is not None and not callable(preprocess):
        raise InputError(
            "wrap: preprocess: expected a function of raw samples, e.g. lambda x: x.float() / 255, not "
            f"{preprocess!r:.80}"
        )
    shape, places = tuple(input_shape), _taps(taps)
    if isinstance(module_or_callable, nn.Module):
        detector: Detector = Wrapped(
            _copied(module_or_callable).eval(),
            score=_how(score),
            taps=places,
            preparation=preprocess or Preparation(),
        )
    elif callable(module_or_callable):
        if places or preprocess is not None:
            raise InputError("wrap: a function of arrays has no taps and prepares its input itself")
        if score is not None and not callable(score):
            raise InputError(
                f"wrap: score: of a function, a function that makes scores of its result, not {score!r:.80}"
            )
        detector = _Function(module_or_callable, score)
    else:
        raise InputError(
            f"wrap: expected a torch module or a function, not {type(module_or_callable).__name__}"
            f"{': ' + how(module_or_callable) if scorers(module_or_callable) else ''}"
        )
    probes = _probes(shape)
    try:
        found = detector.eval().score(probes)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - what somebody else's code raises
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"wrap: it failed on made-up samples {list(probes.shape)} ({str(probes.dtype).removeprefix('torch.')}): "
            f"{type(error).__name__}: {reason}"
        ) from error
    if found.shape != (_PROBES,):
        raise InputError(f"wrap: {list(found.shape)} scores for {_PROBES} samples of shape {shape}")
    # The copy of a module, in eval mode and after a pass: whatever state the user's own is in.
    thing = detector.network if isinstance(detector, Wrapped) else module_or_callable
    name = f"wrapped-{_identity(thing, score, (shape, places), preprocess, found)}"
    teacher = Teacher(name, shape, detector)
    if name not in _WRAPPED:
        ARCHITECTURES.register(name, f"A wrapped {type(module_or_callable).__name__}.")(_builder(name))
    # The last one that was wrapped teaches: the first may have changed since, as a function's state is the user's.
    _WRAPPED[name] = teacher
    return teacher


def how(thing: object) -> str:
    """Return the call that makes a teacher of something, for messages."""
    if isinstance(thing, nn.Module):
        return "kd.wrap(module, score=..., input_shape=...)"
    if names := scorers(thing):
        # PyOD's scores are high for anomalies already.
        turned = "" if type(thing).__module__.startswith("pyod.") else "score=numpy.negative, "
        return f"kd.wrap(detector.{names[0]}, {turned}input_shape=...)"
    if isinstance(thing, str | Path):
        return "{'bundle': FILE} for a bundle, {'recipe': NAME} for a recipe"
    return "kd.wrap(function, input_shape=...)" if callable(thing) else "kd.wrap(module or function, input_shape=...)"


def scorers(thing: object) -> list[str]:
    """Return the names of the functions by which an estimator says how odd samples are."""
    return [name for name in ("decision_function", "score_samples") if hasattr(thing, name)]


def _how(score: Any) -> Score | Callable[[Tensor, Outputs], Tensor]:  # noqa: ANN401
    if score is None:
        return "output"
    if isinstance(score, Distance | Reconstruction):
        score = vars(score)
    if isinstance(score, Mapping):
        if list(score) == ["distance"]:
            if not _are_names(pair := score["distance"]) or len(pair) != 2:
                raise InputError(f"wrap: score: distance: expected the names of two outputs, not {pair!r:.80}")
            return Distance((pair[0], pair[1]))
        if list(score) == ["reconstruction"]:
            if not isinstance(one := score["reconstruction"], str):
                raise InputError(f"wrap: score: reconstruction: expected the name of an output, not {one!r:.80}")
            return Reconstruction(one)
        given = ", ".join(map(str, score)) or "none"
        raise InputError(f"wrap: score: one of distance, reconstruction is expected, not {given}")
    if isinstance(score, str):
        return score
    if callable(score):
        return lambda x, outputs: score(x, outputs)
    raise InputError(f"wrap: score: expected a function, a mapping, or {NAMES}, not {score!r:.80}")


def _taps(taps: Any) -> dict[str, str]:  # noqa: ANN401
    if isinstance(taps, Mapping) and _are_names([*taps, *taps.values()]) or _are_names(taps):
        return tapped(taps)
    raise InputError(
        "wrap: taps: expected dotted names of inner modules, e.g. ['encoder'], or a mapping to them, e.g. "
        f"{{'latent': 'encoder'}}, not {taps!r:.80}"
    )


def _are_names(given: Any) -> bool:  # noqa: ANN401
    listed = isinstance(given, Sequence) and not isinstance(given, str)
    return listed and all(isinstance(one, str) and one for one in given)


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:  # noqa: BLE001 - what somebody else's code raises
        reason = str(error).partition("\n")[0].partition(". ")[0]
        # The classic weight_norm and spectral_norm keep the last pass's weight, with its graph.
        hint = (
            "; it keeps a tensor of its last forward pass: call it once under torch.no_grad(), and wrap it then"
            if "graph leaves" in reason
            else ""
        )
        raise InputError(
            f"wrap: {type(module).__name__} cannot be copied, and a copy is what teaches: "
            f"{type(error).__name__}: {reason}{hint}"
        ) from error


def _probes(shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(derive(0, "wrap"))
    if len(shape) == 3:
        return torch.randint(0, 256, (_PROBES, *shape), dtype=torch.uint8, generator=generator)
    return torch.randn(_PROBES, *shape, generator=generator)


def _identity(thing: Any, score: Any, more: object, preprocess: Any, found: Tensor) -> str:  # noqa: ANN401
    """Return a hash of what a detector is: its state and code, and its scores of a few samples.

    Where something behind it cannot be dumped, it is one that no other detector has.
    """
    # Rounded, so that another number of threads makes no other detector.
    scores = " ".join(f"{value:.3g}" for value in found.tolist())
    known = fingerprint((thing, score, more, preprocess, scores))
    return (known or uuid.uuid4().hex)[:12]


def _builder(name: str) -> Callable[..., Pair]:
    def build(input_shape: tuple[int, ...], *, width: Annotated[float, Field(ge=1, le=1)] = 1.0) -> Pair:
        """Wrap a detector that a program has in its hands.

        Args:
            input_shape: of one raw sample.
            width: 1: it cannot be narrowed.
        """
        teacher = _WRAPPED[name]
        if tuple(input_shape) != teacher.input_shape:
            raise InputError(f"teacher: wrapped for samples of shape {teacher.input_shape}, not {tuple(input_shape)}")
        own = teacher.detector
        detector = copy.deepcopy(own).to(torch.empty(0).device)
        if isinstance(own, Wrapped) and isinstance(detector, Wrapped):
            network = own.network
            represented(detector, lambda: copy.deepcopy(network), tuple(input_shape))
        return Pair(detector)

    return build
