"""``kdcompress distill``: the main job."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kdcompress import library
from kdcompress.cli import options
from kdcompress.plugins import Plugin


@click.command()
@click.argument("recipe", default=library.DEFAULT)
@options.overrides
@options.out("runs")
@options.device
@options.plugin
@options.fresh
@options.as_json
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    recipe: str,
    overrides: tuple[str, ...],
    out: Path,
    device: str,
    plugins: tuple[Plugin, ...],
    fresh: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a small detector from a large one, and compare both.

    RECIPE is a file or the name of a shipped recipe (kdcompress list recipes); without one, it is `digits`. The
    same command run again goes on where it stopped, or reports at once when all is done.
    """
    parsed = options.parsed(recipe, overrides, plugins)

    from kdcompress.cli.display import Display
    from kdcompress.cli.summary import show
    from kdcompress.pipeline import run
    from kdcompress.results import to_json

    with Display(silent=quiet) as display:
        done = run(parsed, out, where=str(library.find(recipe)), device=device, fresh=fresh, observe=display.observe)
    if as_json:
        click.echo(json.dumps(to_json(done.result), indent=1))
    elif not quiet:
        show(done.result, done.rundir.path)
