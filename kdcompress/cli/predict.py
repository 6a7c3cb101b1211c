"""``kdcompress predict``: scores of a user's own samples."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from kdcompress.cli import options
from kdcompress.cli.targets import bundle_file
from kdcompress.disk import whole
from kdcompress.errors import DataError, InputError, unknown
from kdcompress.plugins import Plugin

if TYPE_CHECKING:
    from kdcompress.prediction import Predicted

COLUMNS = ("file", "row", "score", "decision")
P_VALUE = "p_value"
ON_BAD = ("fail", "skip")

_ESCAPED = "surrogateescape"
"""Writes the bytes of a file's name that is not UTF-8 as they are."""

_SILENT, _EVERY = 2.0, 0.5
"""Seconds before progress shows, and between two of its numbers."""


@click.command()
@click.argument("target")
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), help="File: CSV, or JSON lines where it ends in .jsonl.")
@click.option("--on-bad", default="fail", show_default=True, metavar="fail|skip", help="What a bad image or row does.")
@click.option("--columns", metavar="NAMES", help="Of a table, in the order of the training, e.g. a,b,c.")
@click.option("--threshold", type=float, callback=options.finite, help="Above it is an anomaly; else the file's own.")
@click.option("--score-output", metavar="NAME", help="Of another tool's ONNX or pt2 file: which output is the score.")
@click.option("--input", "shape", metavar="C,H,W", help="... and the shape of a sample, where the file leaves it open.")
@click.option(
    "--scale", metavar="raw|unit|symmetric|imagenet", help="... and how it sees images' bytes; raw unless said."
)
@click.option("--p-values", "with_p", is_flag=True, help="Say too what share of normals scores as high or higher.")
@options.plugin
def command(
    target: str,
    inputs: tuple[str, ...],
    out: Path | None,
    on_bad: str,
    columns: str | None,
    threshold: float | None,
    score_output: str | None,
    shape: str | None,
    scale: str | None,
    with_p: bool,
    plugins: tuple[Plugin, ...],
) -> None:
    """Score images or rows of numbers: one line of CSV for each, with its score and decision (1 is an anomaly).

    TARGET is a bundle, a run directory or an exported file. INPUT is an image, a folder of images, an NPZ table with
    X, a CSV or Parquet table whose numeric columns are taken, or - for CSV on stdin. Columns come in the order of the
    file, which has to be that of the training, unless --columns names them. Images are converted to the detector's
    channels and size. Any number of samples goes through in little memory.

    A file of another tool works too, where --score-output says which of its outputs is the score.
    """
    if on_bad not in ON_BAD:
        raise InputError(f"--on-bad: {unknown('choice', on_bad, ON_BAD)}")

    from kdcompress.data.stream import samples
    from kdcompress.prediction import Asked, load, load_other, predict

    file = bundle_file(target)
    if score_output is None:
        for option, given in (("--input", shape), ("--scale", scale)):
            if given is not None:
                raise InputError(f"{option}: is for a file of another tool (allowed with --score-output)")
        scoring = load(file)
    else:
        given_shape = options.shape(shape) if shape is not None else None
        scoring = load_other(file, Asked(score_output, given_shape, scale or "raw"))
    if threshold is not None:
        scoring = dataclasses.replace(scoring, threshold=threshold)
    if with_p and scoring.normals is None:
        raise InputError(
            f"--p-values: {file} keeps no scores of held-out normals (allowed: a file by kdcompress export --p-values)"
        )
    if out is not None:
        _apart(out, file, inputs)
        _check_kept(out)
    names = tuple(one.strip() for one in (columns or "").split(",") if one.strip())
    if columns is not None and not names:
        raise InputError(f"--columns: no name in '{columns}' (allowed: names with commas between them, e.g. a,b,c)")
    taken = samples(inputs, scoring.input.shape, scoring.input.dtype, names, skip=on_bad == "skip", told=_note)
    skipped = scored = 0
    with _lines(out, (*COLUMNS, P_VALUE) if with_p else COLUMNS) as write, _progress() as count:
        for one in predict(scoring, taken):
            count()
            if one.score is None:
                if on_bad == "fail":
                    raise DataError(f"{one.sample.problem}; --on-bad skip leaves such samples out")
                click.echo(f"skipped: {one.sample.problem}", err=True)
                skipped += 1
            else:
                write(one)
                scored += 1
    if skipped:
        click.echo(f"skipped {skipped} bad samples", err=True)
    if not scored:
        raise DataError("no sample was scored: all of them are bad")


def _note(text: str) -> None:
    click.echo(f"note: {text}", err=True)


@contextlib.contextmanager
def _lines(out: Path | None, columns: tuple[str, ...]) -> Iterator[Callable[[Predicted], None]]:
    """Give what writes a line: to stdout at once, or to a file that is there when all is written."""
    if out is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors=_ESCAPED)
        with _writer(sys.stdout, columns, as_json=False) as write:
            yield write
        sys.stdout.flush()
        return
    with whole(out) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors=_ESCAPED, newline="")
        with _writer(text, columns, as_json=out.suffix == ".jsonl") as write:
            yield write
        # Not closed: the file would be closed too, before it is safe on the disk.
        text.detach()


def _apart(out: Path, target: Path, inputs: tuple[str, ...]) -> None:
    """Refuse to write over what is read, by whatever name."""
    from kdcompress.data.stream import read_from

    try:
        there = out.stat()
    except OSError:
        return
    for what, one in (("TARGET", target.stat()), *(("an INPUT", found) for found in read_from(inputs))):
        if stat.S_ISREG(there.st_mode) and os.path.samestat(there, one):
            raise InputError(f"--out: {out} is {what}, which would be lost (allowed: another file)")


def _check_kept(out: Path) -> None:
    """Refuse a name of which a run or a suite keeps a file, there or not yet."""
    from kdcompress.rundir import RunDir
    from kdcompress.suitedir import SuiteDir

    # Of what the system refuses, or a link to itself, writing tells.
    with contextlib.suppress(OSError, RuntimeError):
        place = out.resolve()
        if RunDir.owns(place) or SuiteDir.owns(place):
            raise InputError(f"--out: {out} is kept by the run or the suite in that folder (allowed: another file)")


@contextlib.contextmanager
def _writer(file: TextIO, columns: tuple[str, ...], *, as_json: bool) -> Iterator[Callable[[Predicted], None]]:
    """Give what writes a line; the header of CSV comes before the first, or in the end where there is none."""
    if as_json:

        def line(one: Predicted) -> None:
            found = (one.sample.file, one.sample.row, one.score, one.decision, one.p_value)
            plain = dict(zip(columns, found, strict=False))
            file.write(f"{json.dumps(plain, allow_nan=False)}\n")

        yield line
        return
    table = csv.writer(file, lineterminator="\n")
    headed = False

    def row(one: Predicted) -> None:
        nonlocal headed
        if not headed:
            table.writerow(columns)
            headed = True
        found = (one.sample.file, one.sample.row, f"{one.score:.9g}", one.decision, one.p_value)
        table.writerow(found[: len(columns)])

    yield row
    if not headed:
        table.writerow(columns)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[], None]]:
    """Give what counts samples: on stderr after two seconds, where that is a terminal."""
    begun = shown = time.monotonic()
    done = 0
    terminal = sys.stderr.isatty()

    def count() -> None:
        nonlocal shown, done
        done += 1
        now = time.monotonic()
        if terminal and now - begun > _SILENT and now - shown > _EVERY:
            shown = now
            click.echo(f"\r{done:,} scored, {done / (now - begun):,.0f} a second ", err=True, nl=False)

    try:
        yield count
    finally:
        if shown != begun:
            click.echo("\r\033[K", err=True, nl=False)
