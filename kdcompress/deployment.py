"""What a run's detectors say and cost as exported files: the shape of ``deployment.json`` (no torch).

AUROC are fractions in [0, 1]; sizes are bytes; times are seconds unless the name ends in ``_ms``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SCHEMA = 1


@dataclass(frozen=True)
class Latency:
    """Times in milliseconds of one batch, from an array in memory to its scores."""

    p50: float
    p95: float


@dataclass(frozen=True)
class FileProfile:
    """What an exported file costs.

    Attributes:
        bytes: of the file.
        input_shape: of one sample.
        threads: that latencies were taken with.
        latency_ms: ``batch_1`` and ``batch_64``.
        samples_per_second: in batches of 64, on ``one_thread`` and on ``all_threads``.
        all_threads: how many these are.
        peak_memory_bytes: by which a process grows, at most, when ONNX Runtime loads the file and scores one sample;
            None for other files, and where the system does not say.
    """

    bytes: int
    input_shape: tuple[int, ...]
    threads: int
    latency_ms: dict[str, Latency]
    samples_per_second: dict[str, float]
    all_threads: int
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class Agreement:
    """How close a file is to its bundle; attributes are those of the gate's comparison (`exporting.parity.Parity`).

    ``largest`` is None where a score of the file is not finite.
    """

    passed: bool
    inputs: int
    source: str
    largest: float | None
    tolerance: float
    spearman: float | None
    auroc: float | None
    auroc_exported: float | None
    flipped: int | None


@dataclass(frozen=True)
class File:
    """An exported file: its size, its comparison with the bundle, what it costs, and layers of int8 left in float."""

    bytes: int
    agreement: Agreement
    cost: FileProfile | None = None
    in_float: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deployment:
    """The files of one run, measured side by side.

    Attributes:
        student: as ONNX in float.
        teacher: the same; None where the run has none, or it cannot be exported.
        int8: the student in eight bits; None where that cannot be made.
        notes: what is missing or does not pass the gate, and why.
        machine: what they were timed on.
        schema: of this form.
    """

    student: File
    teacher: File | None = None
    int8: File | None = None
    notes: tuple[str, ...] = ()
    machine: dict[str, str | int] = field(default_factory=dict)
    schema: int = SCHEMA
