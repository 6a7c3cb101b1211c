"""``kdcompress list``: everything that a recipe can name (no torch)."""

from __future__ import annotations

import click

from kdcompress.cli import options
from kdcompress.cli.kinds import KINDS, described, kind_of
from kdcompress.errors import InputError
from kdcompress.plugins import Plugin


@click.command()
@click.argument("kind", required=False)
@click.option("--pairs", is_flag=True, help="For strategies: which families of teacher and student each works with.")
@options.plugin
def command(kind: str | None, pairs: bool, plugins: tuple[Plugin, ...]) -> None:
    """List what recipes can name: all of it, or one KIND.

    Kinds are recipes, architectures, data, strategies, losses and counters.
    """
    if pairs:
        if kind is None or kind_of(kind) != "strategies":
            raise InputError(f"list --pairs: it is of strategies, not of {kind or 'all kinds'} (allowed: strategies)")
        # All families are built for it: that takes torch and some seconds.
        from kdcompress.strategies import pairs as trials

        click.echo(trials.table(), nl=False)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    for one in [kind_of(kind)] if kind is not None else KINDS:
        table = Table(title=one, title_justify="left", title_style="bold", box=box.SIMPLE, show_header=False)
        for name, description in described(one).items():
            table.add_row(name, description)
        Console().print(table)
