"""``kdcompress check``: what is wrong with a recipe."""

from __future__ import annotations

from typing import Any

import click

from kdcompress import library, suite
from kdcompress import recipe as recipes
from kdcompress import space as spaces
from kdcompress.architectures import ARCHITECTURES
from kdcompress.cli import options
from kdcompress.cli.targets import offline
from kdcompress.data import DATASETS
from kdcompress.errors import MissingDataError, RecipeError, unknown
from kdcompress.plugins import Plugin
from kdcompress.recipe import Ref
from kdcompress.registry import Registry
from kdcompress.resolve import admitted
from kdcompress.space import Space
from kdcompress.strategies import STRATEGIES
from kdcompress.suite import Suite, is_suite


@click.command()
@click.argument("recipe")
@options.overrides
@options.plugin
@click.option("--syntax", is_flag=True, help="Check structure and names only, without loading torch.")
def command(recipe: str, overrides: tuple[str, ...], plugins: tuple[Plugin, ...], syntax: bool) -> None:
    """Check a recipe, a suite or a search without running it: every problem is named, with its file and key."""
    if is_suite(library.read(library.find(recipe))):
        _check_suite(suite.load(recipe, overrides, plugins), syntax=syntax)
        return
    if spaces.is_search(library.read(library.find(recipe))) or any(one.startswith("search.") for one in overrides):
        _check_search(spaces.load(recipe, overrides, plugins), syntax=syntax)
        return
    parsed = options.parsed(recipe, overrides, plugins, options=not syntax)
    where = str(library.find(recipe))
    if syntax:
        _check_names(admitted(parsed, where), where)
    else:
        from kdcompress.pipeline import check

        try:
            with offline():
                check(parsed, where)
        except MissingDataError as error:
            click.echo(f"{where}: ok, but sizes are unchecked without the data: {error}")
            return
    click.echo(f"{where}: ok")


def _check_search(parsed: Space, *, syntax: bool) -> None:
    where = f"{parsed.where}: a search over {', '.join(parsed.axes)}"
    if syntax:
        for values in parsed.probes():
            _check_names(admitted(parsed.recipe(values), parsed.where), parsed.where)
    else:
        from kdcompress.scale.search import check

        try:
            with offline():
                check(parsed)
        except MissingDataError as error:
            click.echo(f"{where}: ok, but sizes are unchecked without the data: {error}")
            return
    click.echo(f"{where}: ok")


def _check_suite(parsed: Suite, *, syntax: bool) -> None:
    where = f"{parsed.name}: {len(parsed.cells)} cells"
    if syntax:
        for cell in parsed.cells:
            _check_names(admitted(cell.recipe, cell.where), cell.where)
        click.echo(f"{where}: ok")
        return
    from kdcompress.scale.tasks import tasks

    try:
        with offline():
            tasks(parsed)
    except MissingDataError as error:
        click.echo(f"{where}: ok, but sizes are unchecked without the data: {error}")
        return
    click.echo(f"{where}: ok")


def _check_names(recipe: recipes.Recipe, where: str) -> None:
    """Check that all names are registered, without importing what they stand for.

    Raises:
        RecipeError: with every unknown name.
    """
    teacher = recipe.teacher
    named: list[tuple[str, Registry[Any], Ref | None]] = [
        ("data", DATASETS, recipe.data),
        (f"teacher.{teacher.source_key}" if teacher else "", ARCHITECTURES, teacher.architecture if teacher else None),
        ("teacher.strategy", STRATEGIES, teacher.strategy if teacher else None),
        ("student", ARCHITECTURES, recipe.student),
        ("strategy", STRATEGIES, recipe.strategy),
    ]
    wrong = [
        f"{key}.name: {unknown(registry.kind, ref.name, registry)}"
        for key, registry, ref in named
        if ref is not None and ref.name not in registry
    ]
    if wrong:
        raise RecipeError(where, wrong)
