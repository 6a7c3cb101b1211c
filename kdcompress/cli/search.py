"""``kdcompress search``: settings within a budget."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import click

from kdcompress.cli import options
from kdcompress.errors import KdcompressError
from kdcompress.plugins import Plugin


@click.command()
@click.argument("recipe")
@options.overrides
@options.out("runs")
@click.option("--max-macs", type=click.IntRange(1, 2**63 - 1), help="Multiply-accumulates of the student, at most.")
@click.option("--max-params", type=click.IntRange(1, 2**63 - 1), help="Parameters of the student, at most.")
@click.option(
    "--max-latency-ms",
    type=click.FloatRange(0, min_open=True),
    callback=options.finite,
    help="Time of one score on this machine, at most.",
)
@click.option(
    "--trials", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Settings to try, in all."
)
@click.option("--jobs", type=click.IntRange(1, 1024), default=1, show_default=True, help="Trials at a time.")
@options.engine
@options.fresh
@options.device
@options.plugin
@options.as_json
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    recipe: str,
    overrides: tuple[str, ...],
    out: Path,
    max_macs: int | None,
    max_params: int | None,
    max_latency_ms: float | None,
    trials: int,
    jobs: int,
    engine: str,
    address: str | None,
    fresh: bool,
    device: str,
    plugins: tuple[Plugin, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Search for a student's best settings within a budget, without a label.

    RECIPE may say what is varied (search: {student.latent: [8, 16, 32]}); else its learning rate and its student's
    size are. Students, and the same networks trained alone, are chosen by how they rank held-out normals and samples
    made of them: as the teacher does. The same command run again goes on; more --trials add to it. --fresh starts over
    in OUT/<recipe>-search-2, -3 and so on; without it, the newest goes on.
    """
    from kdcompress import space as spaces
    from kdcompress.space import Budget

    parsed = spaces.load(recipe, overrides, plugins)
    budget = Budget(max_macs, max_params, max_latency_ms)

    from kdcompress.cli.cells import Cells
    from kdcompress.scale import cluster, search

    with cluster.opened(engine, address) as place:
        hunt = search.prepare(parsed, budget, out, trials=trials, device=device, jobs=jobs, fresh=fresh, engine=place)
        before = hunt.searchdir.found()
        done = sum(one.state in {"done", "refused"} for one in before.trials) if before is not None else 0
        with Cells(trials, silent=quiet) as shown:
            shown.begin({"cell": max(0, trials - done)}, done, jobs)
            with closing(search.run(hunt, plugin_files=[one.path for one in plugins])) as happenings:
                for happening in happenings:
                    shown.observe(happening)
    found = hunt.searchdir.found()
    assert found is not None, "a search that ran has written what it found"
    if as_json:
        click.echo(json.dumps(found.model_dump(mode="json", by_alias=True), indent=1))
    elif not quiet:
        from kdcompress.cli.trials import show

        show(hunt.searchdir, found)
    if failed := {one.name: one.why for one in found.trials if one.state == "failed"}:
        names = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise KdcompressError(f"{len(failed)} of {len(found.trials)} trials failed: {names}")
