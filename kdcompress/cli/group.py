"""The group of commands; each is imported when it is used, so that help is there at once."""

from __future__ import annotations

import importlib

import click

from kdcompress import __version__
from kdcompress.errors import near

COMMANDS = {
    "distill": "Train a small detector from a large one, and compare both.",
    "benchmark": "Run a suite of many runs, and summarise them.",
    "search": "Search for a student's best settings within a budget.",
    "check": "Check a recipe without running it.",
    "list": "List what recipes can name.",
    "show": "Show the options, defaults and documentation of one thing.",
    "profile": "Count and time a detector.",
    "evaluate": "Evaluate a saved detector on data.",
    "export": "Write a detector as one file that runs without this package.",
    "parity": "Compare an exported file with the detector that it was made of.",
    "predict": "Score images or rows of numbers with a saved detector.",
    "report": "Rebuild reports, or compare several runs.",
    "init": "Write a first recipe of your own.",
    "schema": "Print a JSON Schema of recipes, for editors.",
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of a user's way."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module and return it."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"kdcompress.cli.{cmd_name}"), "command")  # noqa: B009 - mypy
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or name the nearest."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"no such command '{args[0]}'{near(args[0], COMMANDS)} (allowed: {', '.join(COMMANDS)})")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' help from the table."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kdcompress")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Make an anomaly detector small, and see what it cost.

    \b
    kdcompress distill                  the whole way on an embedded data set
    kdcompress distill mnist --set data.normal_class=8
    kdcompress list                     everything that a recipe can name
    """  # noqa: D301 - \b is click's mark for text that is not to be rewrapped
