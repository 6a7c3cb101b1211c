"""``kdcompress report``: from files alone (no torch)."""

from __future__ import annotations

from pathlib import Path

import click

from kdcompress.cli import options
from kdcompress.errors import InputError, unknown

FORMATS = ("html", "md", "csv", "json", "svg")


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
@click.option("--format", "formats", default="html,md", show_default=True, help="Which of html, md, csv, json, svg.")
@options.out(None)
def command(folders: tuple[Path, ...], formats: str, out: Path | None) -> None:
    """Rebuild the report of a run, or compare several: DIR is a run or a folder of runs.

    A single run's report goes into its own folder, as does a suite's; a comparison goes into the current one; --out
    says another.
    """
    wanted = list(dict.fromkeys(one.strip() for one in formats.split(",")))
    for one in wanted:
        if one not in FORMATS:
            raise InputError(f"--format: {unknown('format', one, FORMATS)}")

    from kdcompress.reporting.files import find, write, write_suite
    from kdcompress.suitedir import SuiteDir

    suites = [folder for folder in folders if SuiteDir.holds(folder)]
    if suites:
        if len(folders) > 1:
            raise InputError(f"{suites[0]}: a suite is reported by itself: give its folder alone")
        for path in write_suite(SuiteDir(suites[0]), wanted, out):
            click.echo(path)
        return
    # A run that two of the folders lead to is one run.
    runs = list({run.path.resolve(): run for folder in folders for run in find(folder)}.values())
    target = out if out is not None else runs[0].path if len(runs) == 1 else Path()
    for path in write(runs, wanted, target):
        click.echo(path)
