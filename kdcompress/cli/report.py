"""``kdcompress report``: from files alone (no torch)."""

from __future__ import annotations

import contextlib
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
        _check_free(out or suites[0], suites[0])
        for path in write_suite(SuiteDir(suites[0]), wanted, out):
            click.echo(path)
        return
    # A run that two of the folders lead to is one run.
    runs = list({run.path.resolve(): run for folder in folders for run in find(folder)}.values())
    alone = runs[0].path if len(runs) == 1 else None
    target = out if out is not None else alone or Path()
    _check_free(target, alone)
    for path in write(runs, wanted, target):
        click.echo(path)


def _check_free(target: Path, own: Path | None) -> None:
    """Refuse the folder of another run or suite, whose own report would be lost."""
    from kdcompress.rundir import RunDir
    from kdcompress.suitedir import SuiteDir

    # Of what the system refuses, or a link to itself, writing tells.
    with contextlib.suppress(OSError, RuntimeError):
        another = own is None or target.resolve() != own.resolve()
        if another and (RunDir.holds(target) or SuiteDir.holds(target)):
            raise InputError(
                f"--out: {target} is the folder of a run or a suite, whose own report would be lost (allowed: another)"
            )
