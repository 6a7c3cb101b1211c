"""A model card: what a file is, for what, how well it detects; nothing that is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdcompress.bundle import Manifest
from kdcompress.exporting.metadata import Metadata
from kdcompress.exporting.parity import Parity
from kdcompress.reporting import numbers
from kdcompress.results import Result

NOT_STATED = "not stated"


def card(model: str, metadata: Metadata, manifest: Manifest, parity: Parity, result: Result | None) -> str:
    """Return a model card in markdown.

    Args:
        model: name of the file.
        metadata: of the file.
        manifest: of the bundle that it was made of.
        parity: what the gate has found.
        result: of the run; None where only a bundle is known.
    """
    parts = [
        f"# {model}",
        _what(metadata, manifest),
        "## Use",
        _use(metadata),
        "## Data",
        _data(manifest.data, result),
        "## How well it detects",
        _detects(result, manifest.arm),
        "## The file and the detector that it was made of",
        _parity(parity),
        *(["## Eight bits", _eight(metadata)] if metadata.quantisation is not None else []),
        "## Licence",
        f"{NOT_STATED.capitalize()}: whoever passes this model on has to say it here, for the model and for its data.",
    ]
    return "\n\n".join(parts) + "\n"


def _what(metadata: Metadata, manifest: Manifest) -> str:
    precision = "float32" if metadata.quantisation is None else "int8 in parts, float32 elsewhere"
    shape = " x ".join(map(str, metadata.input.shape))
    rows = [
        ("What it is", "one-class anomaly detector, trained on normal samples alone"),
        ("Architecture", f"`{metadata.architecture}`"),
        ("Precision", precision),
        ("Input", f"`input`: one {metadata.input.kind} is {metadata.input.dtype} {shape}; any number at once"),
        ("Outputs", ", ".join(f"`{name}`" for name in metadata.outputs)),
        ("Recipe", metadata.recipe or NOT_STATED),
        ("Run", metadata.digest or NOT_STATED),
        ("Which of the run", manifest.arm or NOT_STATED),
        ("Bundle, sha256", metadata.bundle or NOT_STATED),
        ("Made by", f"kdcompress {metadata.version}"),
    ]
    return _table(rows)


def _use(metadata: Metadata) -> str:
    if metadata.threshold is None:
        limit = "No threshold was chosen: decisions need one from held-out normals of the place of use."
    else:
        own = " by the scores of this very file" if metadata.quantisation is not None else ""
        limit = (
            f"Above {metadata.threshold:.9g} a sample is called an anomaly. The threshold was chosen on held-out "
            f"normals{own}, not by anomalies."
        )
    if (held := metadata.false_alarms) is not None:
        limit += (
            f" Of {held.normals:,} normals that were held out it flags {held.above:,}; of new ones, "
            f"{numbers.percent(held.rate)} are to expect (95 % interval {numbers.interval(held.rate_ci95)})."
        )
    return (
        "Intended: to score samples of the kind described below, taken and prepared alike. The score is higher the "
        f"less a sample is like the normals of training. {limit}\n\nNot intended: samples of another kind or source, "
        "for which neither scores nor threshold mean anything; to say what is wrong with a sample; or as the only "
        "ground for a decision about people."
    )


def _data(section: Mapping[str, Any], result: Result | None) -> str:
    said = ", ".join(f"{key} {value}" for key, value in section.items()) or NOT_STATED
    if result is None:
        return f"Trained on: {said}."
    data = result.data
    return (
        f"Trained on: {said}. {data.train:,} normals to train, {data.validation:,} held out for the threshold; tested "
        f"on {data.test_normal:,} normals and {data.test_anomaly:,} anomalies."
    )


def _detects(result: Result | None, arm: str) -> str:
    found = None if result is None else {"student": result.student, "teacher": result.teacher}.get(arm or "student")
    if found is None:
        return f"{NOT_STATED.capitalize()}: the file was made of a bundle alone, without its run."
    rows = [
        ("AUROC", f"{numbers.percent(found.auroc)} ({numbers.interval(found.auroc_ci95)})"),
        ("Average precision", numbers.percent(found.average_precision)),
        ("False positive rate at 95 % true positives", numbers.percent(found.fpr_at_95tpr)),
        ("False positive rate at the threshold", numbers.percent(found.fpr_at_threshold)),
        ("True positive rate at the threshold", numbers.percent(found.tpr_at_threshold)),
    ]
    return f"The detector in float32, on all test samples of its run:\n\n{_table(rows)}"


def _parity(parity: Parity) -> str:
    kept = "none: all scores are the same" if parity.spearman is None else f"{parity.spearman:.6f}"
    rows = [
        ("Compared on", parity.source),
        ("Rank correlation of the scores", kept),
        ("Largest difference of two scores", f"{parity.largest:.3g}"),
    ]
    if parity.auroc is not None:
        exported = numbers.percent(parity.auroc_exported)
        rows.append(("AUROC", f"{numbers.percent(parity.auroc)} by the detector, {exported} by the file"))
    if parity.flipped is not None:
        rows.append(("Decisions that differ", f"{parity.flipped:,} of {parity.inputs:,}"))
    return _table(rows)


def _eight(metadata: Metadata) -> str:
    found = metadata.quantisation
    assert found is not None
    rows = [
        ("Calibrated on", found.calibrated_on),
        ("Layers in eight bits", _listed(found.layers)),
        ("Layers left in float", _listed(found.in_float)),
        ("In eight bits, computed in float by ONNX Runtime on the CPU", _listed(found.computed_in_float)),
    ]
    return f"{_table(rows)}\n\nPreparation and the score's own arithmetic are in float."


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def _table(rows: list[tuple[str, str]]) -> str:
    """Return a table of two columns; a bar in a cell would begin another."""
    cells = [f"| {name} | {value.replace('|', '/')} |" for name, value in rows]
    return "\n".join(["| | |", "| --- | --- |", *cells])
