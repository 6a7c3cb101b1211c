"""``kdcompress export``: a detector as one file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from kdcompress import recipe as recipes
from kdcompress.cli import options
from kdcompress.cli.targets import bundle_file, offline
from kdcompress.errors import InputError, unknown
from kdcompress.plugins import Plugin


@click.command()
@click.argument("target", metavar="BUNDLE")
@click.option("--to", default="onnx", show_default=True, metavar="onnx|pt2", help="ONNX, or torch.export's own format.")
@click.option("--outputs", default="", metavar="NAMES", help="Beside the score: reconstruction, anomaly_map.")
@options.overrides
@options.out(None)
@options.tolerance
@options.as_json
@options.plugin
def command(
    target: str,
    to: str,
    outputs: str,
    overrides: tuple[str, ...],
    out: Path | None,
    tolerance: float,
    as_json: bool,
    plugins: tuple[Plugin, ...],
) -> None:
    """Write a detector as one file, from raw input to its score, if the file computes what the detector does.

    BUNDLE is a bundle or a run directory, whose student is meant. The file lies beside the bundle unless --out says
    another folder. It is compared on the data that the detector was trained for, where they are on this machine, or
    on what --set data... says; else on made-up inputs.
    """
    from kdcompress.exporting import ENDINGS

    if to not in ENDINGS:
        raise InputError(f"--to: {unknown('format', to, ENDINGS)}")

    from kdcompress import bundle
    from kdcompress.cli.summary import show_parity
    from kdcompress.exporting.export import export
    from kdcompress.exporting.source import inputs_for

    source = bundle_file(target)
    loaded = bundle.load(source)
    section = recipes.overridden({"data": dict(loaded.manifest.data)}, overrides, allowed=("data",))
    with offline():
        given = inputs_for(loaded, section, str(source), asked=bool(overrides))
    path = (source.parent if out is None else out) / f"{source.stem}{ENDINGS[to]}"
    wanted = tuple(dict.fromkeys(one.strip() for one in outputs.split(",") if one.strip()))
    found = export(loaded, path, to, given, wanted, tolerance)
    size = path.stat().st_size
    if as_json:
        plain = {"file": str(path), "format": to, "bytes": size, "parity": dataclasses.asdict(found)}
        click.echo(json.dumps(plain, indent=1))
    else:
        show_parity(found, path, size)
