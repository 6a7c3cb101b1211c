"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def overrides(command: F) -> F:
    """Add ``--set KEY=VALUE``."""
    return click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value, e.g. data.normal_class=8."
    )(command)


def as_json(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")(command)


def device(command: F) -> F:
    """Add ``--device``."""
    return click.option(
        "--device", default="auto", metavar="auto|cpu|cuda", show_default=True, help="Where to compute."
    )(command)


def out(default: str | None) -> Callable[[F], F]:
    """Add ``--out``."""
    return click.option(
        "--out", type=click.Path(path_type=Path), default=default, show_default=True, help="Folder for the output."
    )
