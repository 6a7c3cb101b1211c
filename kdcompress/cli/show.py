"""``kdcompress show``: one thing in full."""

from __future__ import annotations

import inspect
from typing import Any

import click

from kdcompress import library, signature
from kdcompress.cli import options
from kdcompress.cli.kinds import REGISTRIES, kind_of
from kdcompress.plugins import Plugin


@click.command()
@click.argument("kind")
@click.argument("name")
@options.plugin
def command(kind: str, name: str, plugins: tuple[Plugin, ...]) -> None:
    """Show the options, defaults and documentation of one thing, or the text of a recipe."""
    kind = kind_of(kind)
    if kind == "recipes":
        click.echo(library.find(name).read_text(encoding="utf-8"), nl=False)
        return
    thing: Any = REGISTRIES[kind][name]
    # A loss is a record around its function.
    build = getattr(thing, "compute", thing)
    doc = inspect.getdoc(build) or ""
    click.echo(f"{name}: {doc.partition('Args:')[0].strip()}\n")
    for option in signature.options(build):
        click.echo(f"  {option.name}: {option.annotation} = {option.default}")
        if option.description:
            click.echo(f"      {option.description}")
    if kind == "losses":
        reads = [
            *thing.outputs,
            *(f"critic.{one}" for one in thing.critic),
            *(f"both sides' {s}" for s in thing.shared),
        ]
        click.echo(f"  reads: {', '.join(reads)}")
