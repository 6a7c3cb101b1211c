"""``kdcompress evaluate``: a saved detector on data."""

from __future__ import annotations

import dataclasses
import json

import click

from kdcompress.cli import options
from kdcompress.cli.targets import saved
from kdcompress.plugins import Plugin


@click.command()
@click.argument("target")
@options.overrides
@options.as_json
@options.device
@options.plugin
def command(target: str, overrides: tuple[str, ...], as_json: bool, device: str, plugins: tuple[Plugin, ...]) -> None:
    """Evaluate a saved detector: on the data that it was trained for, or on what --set data... says.

    TARGET is a bundle or a run directory, whose student is meant.
    """
    from kdcompress.cli.summary import show_evaluation
    from kdcompress.engine.plan import device_for
    from kdcompress.pipeline import evaluate

    place = device_for(device)
    source, loaded, section = saved(target, overrides, allowed=("data", "evaluation"))
    evaluation = evaluate(loaded, section, str(source), place)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(evaluation), indent=1))
    else:
        show_evaluation(evaluation, section["data"])
