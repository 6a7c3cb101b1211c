"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kdcompress import plugins as plug_ins
from kdcompress.errors import InputError, RecipeError
from kdcompress.plugins import Plugin

if TYPE_CHECKING:
    from kdcompress.recipe import Recipe

F = TypeVar("F", bound=Callable[..., Any])

_NUMBERS = 2**31
"""That no sample has: one of float32 would take eight gigabytes."""


def overrides(command: F) -> F:
    """Add ``--set KEY=VALUE``."""
    return click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value, e.g. data.normal_class=8."
    )(command)


def as_json(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")(command)


def fresh(command: F) -> F:
    """Add ``--fresh``."""
    return click.option("--fresh", is_flag=True, help="Start over beside what is there; nothing is deleted.")(command)


def device(command: F) -> F:
    """Add ``--device``."""
    return click.option(
        "--device", default="auto", metavar="auto|cpu|cuda", show_default=True, help="Where to compute."
    )(command)


def engine(command: F) -> F:
    """Add ``--engine`` and ``--address``: where the processes of many runs work."""
    command = click.option(
        "--address",
        metavar="auto|HOST:PORT|ray://HOST:PORT",
        help="A Ray cluster that runs, and that you trust; unset, --engine ray starts one of this machine. All its "
        "machines must see the working, output and data folders under the same names and have this kdcompress.",
    )(command)
    return click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Compute in processes of this machine or of a cluster.",
    )(command)


def out(default: str | None) -> Callable[[F], F]:
    """Add ``--out``."""
    return click.option(
        "--out", type=click.Path(path_type=Path), default=default, show_default=True, help="Folder for the output."
    )


class _Share(click.FloatRange):
    """A range of numbers; what is no number lies in every range by click's comparisons."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Refuse NaN beside what is out of range."""
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"expected a number from {self.min:g} to {self.max:g}, not {value}", param, ctx)
        return found


def tolerance(command: F) -> F:
    """Add ``--tolerance SHARE``."""
    return click.option(
        "--tolerance",
        type=_Share(0, 0.1, min_open=True),
        default=1e-4,
        show_default=True,
        help="How far a score may be off, as a share of the median score.",
    )(command)


def limits(command: F) -> F:
    """Add what an int8 file may change: ``--min-spearman``, ``--max-flipped``, ``--max-auroc-lost``."""
    shares = [
        ("--min-spearman", 0.99, "int8: rank correlation of the scores, at least."),
        ("--max-flipped", 0.03, "int8: share of decisions that differ, at most."),
        ("--max-auroc-lost", 0.003, "int8: AUROC lost, at most; 0.003 is 0.3 points."),
    ]
    for name, default, words in reversed(shares):
        kind = _Share(0, 1)
        command = click.option(name, type=kind, default=default, show_default=True, help=words)(command)
    return command


def finite(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Refuse what is no finite number, as a callback of an option."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no finite number")
    return value


def limit(command: F) -> F:
    """Add where a threshold comes from: ``--false-positive-rate``, ``--quantile``, ``--threshold``."""
    inside = _Share(0, 1, min_open=True, max_open=True)
    command = click.option("--threshold", type=float, callback=finite, help="... or take this one.")(command)
    for name, words in (
        ("--quantile", "... as this quantile of held-out normals."),
        ("--false-positive-rate", "Choose the threshold anew, for this rate of new normals."),
    ):
        command = click.option(name, type=inside, help=words)(command)
    return command


def shape(text: str) -> tuple[int, ...]:
    """Return the shape that ``--input`` says.

    Raises:
        InputError: where it says none, or that of a sample larger than any is.
    """
    parts = text.split(",")
    # By way of floats: of a text of thousands of digits Python makes no whole number.
    sides = [float(part) if part.strip().isdecimal() else 0.0 for part in parts]
    if min(sides) <= 0:
        raise InputError(f"--input {text:.80}: expected positive whole numbers such as 1,28,28")
    if math.prod(sides) >= _NUMBERS:
        raise InputError(f"--input {text:.80}: a sample of too many numbers (allowed: fewer than {_NUMBERS:,})")
    return tuple(int(side) for side in sides)


def plugin(command: F) -> F:
    """Add ``--plugin FILE``; the files, and what is installed as plug-ins, are loaded before the command runs."""
    return click.option(
        "--plugin", "plugins", multiple=True, metavar="FILE", callback=_load, help="A file with parts of your own."
    )(command)


def _load(context: click.Context, parameter: click.Parameter, files: tuple[str, ...]) -> tuple[plug_ins.Plugin, ...]:
    plug_ins.load_installed()
    return tuple(plug_ins.load(file) for file in files)


def parsed(recipe: str, overrides: Sequence[str], plugins: Sequence[Plugin], *, options: bool = True) -> Recipe:
    """Read a recipe; where its structure is wrong, what is wrong with its options is said too.

    Raises:
        RecipeError: with every problem found.
    """
    from kdcompress import recipe as recipes

    try:
        return recipes.load(recipe, overrides, plugins)
    except RecipeError as error:
        if not options or error.sections is None:
            raise
        from kdcompress.resolve import with_options

        raise with_options(error) from None
