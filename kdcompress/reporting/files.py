"""From run directories to report files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from kdcompress.errors import InputError
from kdcompress.reporting import search, suite
from kdcompress.reporting.canvas import Plot, alone
from kdcompress.reporting.html import drawn, html
from kdcompress.reporting.markdown import markdown
from kdcompress.reporting.record import RunRecord
from kdcompress.reporting.summary import groups, summary
from kdcompress.reporting.table import comparison_html, comparison_markdown, csv_text, rows, scatter
from kdcompress.results import to_json
from kdcompress.rundir import RunDir, write_atomic
from kdcompress.searchdir import SearchDir
from kdcompress.suitedir import SuiteDir


def read(rundir: RunDir, *, exported: bool = True) -> RunRecord:
    """Read a finished run.

    Args:
        rundir: where it is.
        exported: whether what its exported files cost is read too.

    Raises:
        InputError: where a file is missing or damaged.
    """
    result = rundir.result()
    if result is None:
        raise InputError(f"{rundir.path}: not a finished run: there is no result.json in it")
    try:
        files = rundir.history(), rundir.scores(), rundir.environment(), rundir.recipe(), rundir.samples()
        return RunRecord(result, *files, rundir.deployment() if exported else None)
    except (OSError, ValueError) as error:
        raise InputError(f"{rundir.path}: a file of the run is missing or damaged: {error}") from error


def find(folder: Path) -> list[RunDir]:
    """Return the finished run in a folder, or all those below it.

    Raises:
        InputError: where there is none.
    """
    runs = [RunDir(path.parent) for path in sorted(folder.rglob("result.json"))]
    if not runs:
        raise InputError(f"{folder}: no finished run there: no result.json in it or below it")
    return runs


def write_run(rundir: RunDir) -> None:
    """Write the report of a run into its own folder."""
    record = read(rundir)
    rundir.write_report(markdown(record), html(record))


def write(runs: Sequence[RunDir], formats: Sequence[str], target: Path) -> list[Path]:
    """Write ``report.<format>`` for one run, or a comparison of several, and return the files.

    ``svg`` writes each plot as ``report-<plot>.svg``.
    """
    records = [read(run) for run in runs]
    results = [record.result for record in records]
    single = len(records) == 1
    makers = {
        "html": lambda: html(records[0]) if single else comparison_html(records),
        "md": lambda: markdown(records[0]) if single else comparison_markdown(records),
        "csv": lambda: csv_text(rows(results)),
        "json": lambda: json.dumps([to_json(one) for one in results], indent=1) + "\n",
    }
    written = []
    for name in formats:
        if name == "svg":
            written += _write_plots(drawn(records[0]) if single else (scatter(results),), target)
            continue
        path = target / f"report.{name}"
        write_atomic(path, makers[name]().encode())
        written.append(path)
    return written


def _write_plots(plots: Sequence[Plot], target: Path) -> list[Path]:
    written = []
    for plot in plots:
        if plot.svg:
            path = target / f"report-{plot.name}.svg"
            write_atomic(path, alone(plot).encode())
            written.append(path)
    return written


def write_suite(suitedir: SuiteDir, formats: Sequence[str], target: Path | None = None) -> list[Path]:
    """Write ``summary.json`` and ``report.<format>`` of a suite or search from what is done; return the files.

    ``svg`` writes each plot as ``report-<plot>.svg``.

    Raises:
        InputError: where a file is damaged.
    """
    manifest, failed = suitedir.manifest(), suitedir.failed()
    results = suitedir.results(manifest)
    found = SearchDir(suitedir.path).found()
    makers = {
        "html": lambda: suite.html(manifest, results, failed, {name: suitedir.history(name) for name in results}),
        "md": lambda: suite.markdown(manifest, results, failed),
        "csv": lambda: suite.csv(manifest, results),
        "json": lambda: json.dumps(summary(manifest, results, failed), indent=1, allow_nan=False) + "\n",
    }
    if found is not None:
        makers["html"] = lambda: search.html(manifest.name, found, results)
        makers["md"] = lambda: search.markdown(manifest.name, found, results)
    written = []
    for name in formats:
        if name == "svg":
            plots = suite.plots(groups(manifest, results)) if found is None else search.plots(found, results)
            written += _write_plots(plots, target or suitedir.path)
            continue
        path = (target or suitedir.path) / ("summary.json" if name == "json" else f"report.{name}")
        write_atomic(path, makers[name]().encode())
        written.append(path)
    return written
