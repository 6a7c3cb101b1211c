"""A bundle becomes a file, if the file passes the gate."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kdcompress.architectures.foreign import Foreign
from kdcompress.bundle import Bundle
from kdcompress.errors import InputError, KdcompressError
from kdcompress.evaluation.scoring import score
from kdcompress.exporting import onnx, pt2
from kdcompress.exporting.calibrated import calibrated, held_out
from kdcompress.exporting.exported import Exported
from kdcompress.exporting.graph import check_wanted, inner, traced
from kdcompress.exporting.inputs import Inputs, made_up
from kdcompress.exporting.limit import Limit, limited, told
from kdcompress.exporting.metadata import Metadata, SelfTest, described, self_test, self_test_size
from kdcompress.exporting.parity import LIMITS, TOLERANCE, Limits, Parity, compare, tolerance_of
from kdcompress.rundir import write_atomic
from kdcompress.types import SCORE

_TESTED = 64
"""Made-up inputs whose scores say how far those of the self-test may be off."""


class ParityError(KdcompressError):
    """A file computes something else than the detector that it was made of."""


@dataclass(frozen=True)
class Compared:
    """A file that is not written yet.

    Attributes:
        data: its content.
        exported: the detector in it.
        parity: how close to the bundle's detector it is.
        detail: says more of an int8 file that does not pass; measured when it is asked for.
    """

    data: bytes
    exported: Exported
    parity: Parity
    detail: Callable[[], str] = str


def export(
    bundle: Bundle,
    path: Path,
    to: str,
    given: Inputs,
    wanted: tuple[str, ...] = (),
    share: float = TOLERANCE,
    limits: Limits = LIMITS,
    limit: Limit = Limit(),  # noqa: B008 - it is frozen
) -> Parity:
    """Write a bundle's detector as one file, and return how close to the detector it is.

    Args:
        bundle: with the detector; it is left as it was.
        path: of the file; whole or not at all: what is there already stays unless the new one passes.
        to: ``onnx``, ``pt2`` or ``int8``.
        given: what both are compared on, and for int8 the normals that it is calibrated on.
        wanted: outputs beside the score, ``reconstruction`` or ``anomaly_map``.
        share: of the median score that a score may be off; not for int8.
        limits: of int8.
        limit: which threshold the file has.

    Raises:
        InputError: where the detector has no such output, computes outside of torch or has no layers to quantise, where
            a package is missing, or the data for calibration or for the threshold.
        KdcompressError: where torch cannot export the detector.
        ParityError: where the file does not pass; nothing is written.
    """
    found = compared(bundle, path, to, given, wanted, share, limits, limit)
    check(found.parity, path, found.detail)
    write_atomic(path, found.data)
    return found.parity


def compared(
    bundle: Bundle,
    path: Path,
    to: str,
    given: Inputs,
    wanted: tuple[str, ...] = (),
    share: float = TOLERANCE,
    limits: Limits = LIMITS,
    limit: Limit = Limit(),  # noqa: B008 - it is frozen
) -> Compared:
    """Make the file that `export` writes, compare it, and return it whether it passes or not.

    Takes what `export` takes, ``path`` for messages; raises the same, but for `ParityError`.
    """
    bundle, normals = limited(bundle, limit, given)
    asked = bundle.manifest.threshold if limit.asked else None

    def more(metadata: Metadata) -> Metadata:
        return told(replace(metadata, asked_threshold=asked), normals, keep=limit.p_values)

    def against(exported: Exported) -> Parity:
        return compare(bundle.detector, bundle.manifest.threshold, exported, given, share, limits)

    if to != "int8":
        data, exported = made(bundle, path, to, wanted, share, more)
        return Compared(data, exported, against(exported))
    held_out(given, path)
    assert normals is not None, "there are held-out normals"
    plain, _ = made(bundle, path, "onnx", wanted, share, more)
    eight = calibrated(bundle, plain, path, given, normals, limits, keep=limit.p_values)
    return Compared(eight.data, eight.exported, against(eight.exported), eight.costliest)


def check(found: Parity, path: Path, detail: Callable[[], str] = str) -> None:
    """Check that a file has passed the gate.

    Args:
        found: by the gate.
        path: of the file, for messages.
        detail: says more of an int8 file that has not passed.

    Raises:
        ParityError: where it has not, with the first output that differs, the thresholds where only they do or, for
            int8, the limits that are broken.
    """
    if not found.passed and found.limits is not None:
        raise ParityError(
            f"{path}: eight bits change what the detector says: {'; '.join(found.broken)}, on {found.source}{detail()}"
        )
    if not found.passed and found.first_difference is None:
        flipped = (
            f": {found.flipped:,} of {found.inputs:,} decisions flipped on {found.source}" if found.flipped else ""
        )
        raise ParityError(f"{path}: does not decide as the bundle does: {'; '.join(found.broken)}{flipped}")
    if not found.passed:
        flipped = f", {found.flipped_beyond} decisions flipped by more than that" if found.flipped_beyond else ""
        raise ParityError(
            f"{path}: does not compute what the bundle does: scores differ by up to {found.largest:.3g} on "
            f"{found.source}, {found.tolerance:.3g} is allowed (--tolerance){flipped}; the first output that "
            f"differs is '{found.first_difference}'{''.join(f'; {one}' for one in found.broken)}"
        )


def made(
    bundle: Bundle,
    path: Path,
    to: str,
    wanted: tuple[str, ...] = (),
    share: float = TOLERANCE,
    more: Callable[[Metadata], Metadata] = lambda one: one,
) -> tuple[bytes, Exported]:
    """Return the content of a file, and the detector in it; ``path`` is for messages, ``more`` adds to the metadata."""
    shape = bundle.manifest.input_shape
    if any(isinstance(part, Foreign) for part in bundle.detector.modules()):
        raise InputError(
            f"{bundle.manifest.architecture}: it computes outside of torch and cannot be exported (allowed: a student "
            "of it)"
        )
    detector = copy.deepcopy(bundle.detector).float().eval()
    example = made_up(detector, shape, 2).raw
    check_wanted(wanted, detector, example)
    names, describe = inner(detector, example), _describing(bundle, share, more)
    if to == "onnx":
        onnx.check_installed()
        whole = traced(detector, example, (*wanted, *(name for name in names if name not in wanted)))
        proto = onnx.model(whole, 1 + len(wanted))
        data = onnx.sealed(proto, describe((SCORE, *wanted), onnx.inner_of(whole, proto)))
        return data, onnx.opened(data, path)
    whole, kept = traced(detector, example, names), traced(detector, example, wanted)
    data = pt2.sealed(kept, describe((SCORE, *wanted), pt2.inner_of(whole, kept)))
    return data, pt2.opened(data, path)


def _describing(
    bundle: Bundle, share: float, more: Callable[[Metadata], Metadata]
) -> Callable[[tuple[str, ...], dict[str, str]], Metadata]:
    test = _self_test(bundle, share)
    return lambda names, values: more(described(bundle.manifest, names, values, test))


def _self_test(bundle: Bundle, share: float) -> SelfTest:
    """Return made-up inputs and their scores: a file that goes to customers shall hold nobody's data."""
    shape = bundle.manifest.input_shape
    raw = made_up(bundle.detector, shape, _TESTED).raw
    scores = score(bundle.detector, raw)
    few = self_test_size(shape)
    return self_test(raw[:few].numpy(), scores[:few], tolerance_of(scores, share))
