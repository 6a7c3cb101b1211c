"""What an exported file says of itself: JSON, the same in every format."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from kdcompress import __version__
from kdcompress.bundle import Manifest
from kdcompress.errors import BundleError
from kdcompress.results import FalseAlarms
from kdcompress.signature import problems

FORMAT = 1
KEY = "kdcompress"
HASH_KEY = "kdcompress.sha256"
SCORE_ANYWAY = "kdcompress predict scores with it where --score-output says which output is the score"
"""What messages say of a file of another tool."""
LABELS = {"0": "normal", "1": "anomaly"}

_FEWEST, _MOST, _BYTES = 2, 8, 65_536


@dataclass(frozen=True)
class Input:
    """What goes in, raw, but for the number of samples."""

    kind: Literal["image", "row", "array"]
    shape: tuple[Annotated[int, pydantic.Field(ge=1)], ...]
    dtype: Literal["uint8", "float32"]


@dataclass(frozen=True)
class SelfTest:
    """A few made-up inputs and their scores, so that a device can tell whether it computes alike.

    The scores are torch's; of an int8 file they are the file's own.

    Attributes:
        inputs: the bytes of an array [n, ...] of the input's type, little-endian, in base64.
        scores: one for each.
        tolerance: how far a score may be off.
    """

    inputs: str
    scores: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True)
class Quantisation:
    """What of a network is in eight bits.

    Attributes:
        layers: in eight bits.
        in_float: layers that were left in float, since scores would have been too far off.
        computed_in_float: those of the layers in eight bits that ONNX Runtime computes in float: they are small in the
            file and no faster.
        costs: what each layer costs of the rank correlation with the detector's scores; where it was measured.
        calibrated_on: which samples, in words.
    """

    layers: tuple[str, ...]
    in_float: tuple[str, ...]
    computed_in_float: tuple[str, ...]
    costs: dict[str, float]
    calibrated_on: str


@dataclass(frozen=True)
class Metadata:
    """What an exported file says of itself.

    Attributes:
        architecture: registered name.
        input: what goes in.
        outputs: names of what comes out, the score first.
        threshold: above it a score means anomaly; None where none was chosen.
        self_test: inputs with their scores.
        asked_threshold: of the detector in float, where it was chosen for the file and is not the bundle's.
        false_alarms: what held-out normals say of the threshold, where they were on the machine.
        normals: scores of held-out normals, ascending, for p-values; where they were asked for.
        recipe: name of the recipe that the detector was trained by.
        digest: of that run.
        bundle: hash of the bundle that was exported.
        inner: what lies between input and score, in order, with each value's name in the graph.
        labels: what a decision means.
        quantisation: of an int8 file, whose self-test and threshold are of its own scores; None of one in float32.
        version: of kdcompress.
        format: of this text.
    """

    architecture: str
    input: Input
    outputs: tuple[str, ...]
    threshold: Annotated[float, pydantic.Field(allow_inf_nan=False)] | None
    self_test: SelfTest
    recipe: str = ""
    digest: str = ""
    bundle: str = ""
    inner: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=LABELS.copy)
    quantisation: Quantisation | None = None
    asked_threshold: Annotated[float, pydantic.Field(allow_inf_nan=False)] | None = None
    false_alarms: FalseAlarms | None = None
    normals: tuple[float, ...] | None = None
    version: str = __version__
    format: int = FORMAT


_METADATA = pydantic.TypeAdapter(Metadata)


def input_of(shape: tuple[int, ...]) -> Input:
    """Return what a detector of samples of this shape takes: images are uint8 [N, C, H, W], all else is float32."""
    if len(shape) == 3:
        return Input("image", shape, "uint8")
    return Input("row" if len(shape) == 1 else "array", shape, "float32")


def described(manifest: Manifest, outputs: tuple[str, ...], inner: dict[str, str], test: SelfTest) -> Metadata:
    """Return what a bundle's export says of itself."""
    return Metadata(
        architecture=manifest.architecture,
        input=input_of(manifest.input_shape),
        outputs=outputs,
        threshold=manifest.threshold,
        self_test=test,
        recipe=manifest.recipe,
        digest=manifest.digest,
        bundle=manifest.sha256,
        inner=inner,
    )


def self_test(inputs: np.ndarray[Any, Any], scores: np.ndarray[Any, Any], tolerance: float) -> SelfTest:
    """Return a self-test of given inputs."""
    little = inputs.astype(inputs.dtype.newbyteorder("<"))
    return SelfTest(base64.b64encode(little.tobytes()).decode(), tuple(map(float, scores)), tolerance)


def self_test_size(shape: tuple[int, ...]) -> int:
    """Return how many inputs a self-test has: eight, or fewer where they are large."""
    return max(_FEWEST, min(_MOST, _BYTES // math.prod(shape)))


def to_text(metadata: Metadata) -> str:
    """Return JSON."""
    return json.dumps(asdict(metadata), allow_nan=False, sort_keys=True)


def from_text(text: str, path: Path) -> Metadata:
    """Read JSON.

    Raises:
        BundleError: where it is damaged or of a newer format.
    """
    try:
        plain = json.loads(text)
        known = plain["format"]
        if isinstance(known, int) and known > FORMAT:
            raise BundleError(f"{path}: written by a newer kdcompress (format {known}, known here: {FORMAT})")
        return _METADATA.validate_python(plain)
    except pydantic.ValidationError as error:
        raise BundleError(f"{path}: its metadata are damaged: {'; '.join(problems(error, '', plain))}") from error
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise BundleError(f"{path}: its metadata are damaged: {error}") from error
