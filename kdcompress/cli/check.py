"""``kdcompress check``: what is wrong with a recipe."""

from __future__ import annotations

from collections.abc import Sequence
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
from kdcompress.recipe import SIZES, Ref
from kdcompress.registry import Registry
from kdcompress.resolve import admitted, steps
from kdcompress.space import Space
from kdcompress.strategies import STRATEGIES
from kdcompress.suite import Suite, is_suite


@click.command()
@click.argument("recipe")
@options.overrides
@options.plugin
@click.option("--syntax", is_flag=True, help="Check structure, names and keys only, without loading torch.")
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
        from kdcompress.start import check

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
        parsed.check(lambda recipe: _check_names(admitted(recipe, parsed.where), parsed.where))
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
    """Check that all names are registered and their options known, without importing what they stand for.

    Raises:
        RecipeError: with every unknown name.
    """
    teacher = recipe.teacher
    above = SIZES if teacher is not None and teacher.teacher is not None else ()
    named: list[tuple[str, Registry[Any], Ref, Sequence[str]]] = [
        ("data", DATASETS, recipe.data, ()),
        ("student", ARCHITECTURES, recipe.student, SIZES),
    ]
    if teacher is not None and teacher.architecture is not None:
        named.append((f"teacher.{teacher.source_key}", ARCHITECTURES, teacher.architecture, above))
    strategies = {"teacher.strategy": teacher.strategy if teacher is not None else None, "strategy": recipe.strategy}
    for place, strategy in strategies.items():
        named += [(key, STRATEGIES, one, ()) for key, one in steps(strategy, place)] if strategy is not None else []
    wrong = [line for one in named for line in _wrong(*one)]
    if wrong:
        raise RecipeError(where, wrong)


def _wrong(key: str, registry: Registry[Any], ref: Ref, besides: Sequence[str]) -> list[str]:
    if ref.name not in registry:
        return [f"{key}.name: {registry.refusal(ref.name)}"]
    known = list(dict.fromkeys([*besides, *registry.options(ref.name)]))
    return [f"{key}.{one}: {unknown('key', one, known)}" for one in ref.options if one not in known]
