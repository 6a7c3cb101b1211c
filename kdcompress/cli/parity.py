"""``kdcompress parity``: an exported file against its detector."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from kdcompress.cli import options
from kdcompress.cli.targets import inputs, saved
from kdcompress.errors import InputError
from kdcompress.plugins import Plugin


@click.command()
@click.argument("target", metavar="BUNDLE")
@click.argument("file", metavar="EXPORTED", type=click.Path(path_type=Path))
@options.overrides
@options.tolerance
@options.limits
@options.as_json
@options.plugin
def command(
    target: str,
    file: Path,
    overrides: tuple[str, ...],
    tolerance: float,
    min_spearman: float,
    max_flipped: float,
    max_auroc_lost: float,
    as_json: bool,
    plugins: tuple[Plugin, ...],
) -> None:
    """Compare the scores of an exported file with those of its detector; the exit code is 1 where they differ.

    BUNDLE is a bundle or a run directory, whose student is meant. Both score the data that the detector was trained
    for, where they are on this machine, or what --set data... says; else made-up inputs. An int8 file is held to
    limits of its own.
    """
    from kdcompress.cli.summary import show_parity
    from kdcompress.exporting.export import check
    from kdcompress.exporting.exported import load
    from kdcompress.exporting.parity import Limits, compare

    source, loaded, section = saved(target, overrides)
    exported = load(file)
    if exported.metadata.input.shape != loaded.manifest.input_shape:
        raise InputError(
            f"{file}: takes input of shape {exported.metadata.input.shape}, {source} of {loaded.manifest.input_shape}"
        )
    given = inputs(source, loaded, section, asked=bool(overrides))
    limits = Limits(min_spearman, max_flipped, max_auroc_lost)
    asked = exported.metadata.asked_threshold
    threshold = loaded.manifest.threshold if asked is None else asked
    found = compare(loaded.detector, threshold, exported, given, tolerance, limits)
    if as_json:
        click.echo(json.dumps(_plain(dataclasses.asdict(found)), indent=1, allow_nan=False))
    else:
        show_parity(found, file, file.stat().st_size)
    check(found, file)


def _plain(found: dict[str, object]) -> dict[str, object]:
    """Return what JSON has a form for: a difference without end is null."""
    return {key: None if value == float("inf") else value for key, value in found.items()}
