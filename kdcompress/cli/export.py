"""``kdcompress export``: a detector as one file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from kdcompress.cli import options
from kdcompress.cli.targets import inputs, run_of, saved
from kdcompress.errors import InputError, unknown
from kdcompress.plugins import Plugin

_FORMATS = "ONNX; torch.export's own format; ONNX with layers in eight bits."


@click.command()
@click.argument("target", metavar="BUNDLE")
@click.option("--to", default="onnx", show_default=True, metavar="onnx|pt2|int8", help=_FORMATS)
@click.option("--outputs", default="", metavar="NAMES", help="Beside the score: reconstruction, anomaly_map.")
@click.option("--kit", is_flag=True, help="Add a folder kit/: model, model card, check sums, an example.")
@options.overrides
@options.out(None)
@options.tolerance
@options.limits
@options.limit
@click.option("--p-values", is_flag=True, help="Keep scores of held-out normals in the file, for p-values.")
@options.as_json
@options.plugin
def command(
    target: str,
    to: str,
    outputs: str,
    kit: bool,
    overrides: tuple[str, ...],
    out: Path | None,
    tolerance: float,
    min_spearman: float,
    max_flipped: float,
    max_auroc_lost: float,
    false_positive_rate: float | None,
    quantile: float | None,
    threshold: float | None,
    p_values: bool,
    as_json: bool,
    plugins: tuple[Plugin, ...],
) -> None:
    """Write a detector as one file, from raw input to its score, if the file computes what the detector does.

    BUNDLE is a bundle or a run directory, whose student is meant. The file lies beside the bundle unless --out says
    another folder. It is compared on the data that the detector was trained for, where they are on this machine, or
    on what --set data... says; else on made-up inputs.

    The threshold is the bundle's, or chosen anew on held-out normals. --p-values keeps up to 999 of their scores in the
    file; predict --p-values then says how likely a normal scores as high.

    int8 is calibrated on the held-out normals of those data, and cannot be made without. Layers stay in float where
    scores would lose their order; the file has a threshold of its own, with the bundle's false positive rate.
    """
    from kdcompress.exporting import FORMATS

    if to not in FORMATS:
        raise InputError(f"--to: {unknown('format', to, FORMATS)}")
    if kit and to == "pt2":
        raise InputError("--kit: its example runs ONNX files (allowed with it: --to onnx, --to int8)")

    from kdcompress.cli.summary import show_parity
    from kdcompress.exporting.export import export
    from kdcompress.exporting.kit import check_free, write
    from kdcompress.exporting.limit import Limit
    from kdcompress.exporting.parity import Limits

    source, loaded, section = saved(target, overrides)
    given = inputs(source, loaded, section, asked=bool(overrides))
    folder = source.parent if out is None else out
    path = folder / f"{source.stem}{FORMATS[to]}"
    if kit:
        check_free(folder / "kit", path.name)
    wanted = tuple(dict.fromkeys(one.strip() for one in outputs.split(",") if one.strip()))
    limits = Limits(min_spearman, max_flipped, max_auroc_lost)
    limit = Limit(false_positive_rate, quantile, threshold, p_values)
    found = export(loaded, path, to, given, wanted, tolerance, limits, limit)
    if kit:
        write(folder / "kit", path, loaded.manifest, found, run_of(target))
    size = path.stat().st_size
    if as_json:
        plain = {"file": str(path), "format": to, "bytes": size, "parity": dataclasses.asdict(found)}
        if kit:
            plain["kit"] = str(folder / "kit")
        click.echo(json.dumps(plain, indent=1))
    else:
        show_parity(found, path, size)
