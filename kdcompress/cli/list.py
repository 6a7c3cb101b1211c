"""``kdcompress list``: everything that a recipe can name (no torch)."""

from __future__ import annotations

import click

from kdcompress.cli import options
from kdcompress.cli.kinds import KINDS, described, kind_of
from kdcompress.plugins import Plugin


@click.command()
@click.argument("kind", required=False)
@options.plugin
def command(kind: str | None, plugins: tuple[Plugin, ...]) -> None:
    """List what recipes can name: all of it, or one KIND.

    Kinds are recipes, architectures, data, strategies, losses and counters.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    for one in [kind_of(kind)] if kind is not None else KINDS:
        table = Table(title=one, title_justify="left", title_style="bold", box=box.SIMPLE, show_header=False)
        for name, description in described(one).items():
            table.add_row(name, description)
        Console().print(table)
