"""``kdcompress benchmark``: all cells of a suite."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from pathlib import Path

import click

from kdcompress import library
from kdcompress.cli import options
from kdcompress.errors import KdcompressError
from kdcompress.plugins import Plugin


@click.command()
@click.argument("suite")
@options.overrides
@options.out("runs")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Cells at a time; unset, as many as their threads allow.")
@options.engine
@click.option("--only", metavar="PATTERN", help="Run the cells whose names match, e.g. 'pkdgan-mnist_*'.")
@click.option("--lock", is_flag=True, help="Write SUITE's .lock, to which results are held from then on, and stop.")
@options.fresh
@options.device
@options.plugin
@options.as_json
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    suite: str,
    overrides: tuple[str, ...],
    out: Path,
    jobs: int | None,
    engine: str,
    address: str | None,
    only: str | None,
    lock: bool,
    fresh: bool,
    device: str,
    plugins: tuple[Plugin, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Run a suite: a recipe with a grid, each cell in a process of its own.

    Each cell that is done is one file in OUT/<suite>. The same command run again goes on where it stopped, or tries
    again what failed. `kdcompress report OUT/<suite>` rebuilds the report. --fresh starts over in OUT/<suite>-2, -3 and
    so on; without it, the newest goes on.
    """
    from kdcompress import suite as suites

    parsed = suites.load(suite, overrides, plugins)
    lock_file = library.find(suite).with_suffix(".lock")

    from kdcompress.cli.cells import Cells
    from kdcompress.contents import read_json
    from kdcompress.scale import benchmark, cluster

    with cluster.opened(engine, address) as place, Cells(len(parsed.cells), silent=quiet) as shown:
        work = benchmark.prepare(
            parsed, out, device=device, jobs=jobs, only=only, fresh=fresh, engine=place, observe=shown.checked
        )
        if lock:
            benchmark.write_lock(lock_file, work.manifest)
            click.echo(lock_file)
            return
        benchmark.check_lock(lock_file, work.manifest)
        shown.begin(Counter(task.kind for task in work.left), len(work.suitedir.results(work.manifest)), work.jobs)
        with closing(benchmark.run(work, plugin_files=[one.path for one in plugins])) as happenings:
            for happening in happenings:
                shown.observe(happening)
    if as_json:
        click.echo(json.dumps(read_json(work.suitedir.path / "summary.json"), indent=1))
    elif not quiet:
        from kdcompress.cli.cells import show

        show(work)
    if failed := work.suitedir.failed():
        names = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise KdcompressError(f"{len(failed)} of {len(work.manifest.cells)} cells failed: {names}")
