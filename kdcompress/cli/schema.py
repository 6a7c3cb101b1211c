"""``kdcompress schema``: what recipes may say, for editors."""

from __future__ import annotations

import json

import click

from kdcompress.cli import options
from kdcompress.plugins import Plugin


@click.command()
@options.plugin
def command(plugins: tuple[Plugin, ...]) -> None:
    """Print a JSON Schema (draft 2020-12) of recipes: completion and checking in an editor.

    With `kdcompress schema > recipe.schema.json`, the first line `# yaml-language-server: $schema=recipe.schema.json`
    in a recipe beside it turns them on in most editors.
    """
    from kdcompress.schema import schema

    click.echo(json.dumps(schema(), indent=1, allow_nan=False, ensure_ascii=False))
