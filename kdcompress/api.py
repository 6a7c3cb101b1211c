"""The Python interface: what the command line does, as functions."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from kdcompress import bundle, library, lineage, recipe, space, suite
from kdcompress import plugins as plug_ins
from kdcompress.contents import read_json
from kdcompress.data.samples import Samples, samples
from kdcompress.engine.events import Event, Noted
from kdcompress.errors import BundleError, InputError
from kdcompress.exporting.exported import is_exported
from kdcompress.pipeline import run
from kdcompress.results import Result
from kdcompress.scale import benchmark as scale
from kdcompress.scale import cluster
from kdcompress.scale import search as hunting
from kdcompress.types import Detector
from kdcompress.wrapping import Teacher, how


def distill(
    source: str | Path | Mapping[str, Any] | None = None,
    *,
    out: str | Path = "runs",
    device: str | torch.device = "auto",
    fresh: bool = False,
    plugins: str | Path | Sequence[str | Path] = (),
    **sections: Any,  # noqa: ANN401
) -> Result:
    """Run a recipe and return what it found; a run that is done already is read, not repeated.

    Args:
        source: path or name of a recipe, or its content; without one, the keywords are the recipe.
        out: folder of all runs.
        device: ``auto``, ``cpu`` or ``cuda``, or a torch device.
        fresh: start over beside a run that is there already.
        plugins: files with architectures, data sets, strategies, losses or counters of your own, beside those that
            the source says it wants.
        **sections: sections of the recipe, e.g. ``data={"normal_class": 3}``; what they say goes over what the source
            says of the same thing. ``data`` may be samples too (``kd.samples``, or what that takes), and ``teacher`` a
            detector of your own (``kd.wrap``).

    Raises:
        InputError: for wrong input, before anything is trained.
        KdcompressError: where training or scoring fails.
    """
    root, given = _begun({} if source is None else source, "recipe", out, plugins)
    if isinstance(source, str | Path):
        path = library.find(str(source))
        plain, where = library.read(path), str(path)
        plain.setdefault("name", path.stem)
    else:
        plain, where = dict(source or {}), "recipe"
        plain.setdefault("name", "run")
    if (data := sections.get("data")) is not None and not isinstance(data, Mapping):
        given_samples = data if isinstance(data, Samples) else samples(data)
        sections["data"] = {"name": given_samples.name}
        plain.pop("data", None)
    if isinstance(taught := sections.get("teacher"), Teacher):
        sections["teacher"] = {"architecture": {"name": taught.name}, "strategy": {"name": "fitted"}}
        plain.pop("teacher", None)
    elif taught is not None and not isinstance(taught, Mapping):
        raise InputError(
            f"teacher: expected a mapping, or a detector that is wrapped, not {type(taught).__name__}: {how(taught)}"
        )
    for key, given_section in sections.items():
        plain[key] = lineage.merged(plain.get(key), given_section)
    parsed = recipe.parse(plain, where)
    parsed = recipe.wanting(parsed, given)
    return run(parsed, root, where=where, device=str(device), fresh=fresh, observe=_warn).result


def benchmark(
    source: str | Path | Mapping[str, Any],
    *,
    out: str | Path = "runs",
    jobs: int | None = None,
    engine: str = "local",
    address: str | None = None,
    only: str | None = None,
    device: str | torch.device = "auto",
    fresh: bool = False,
    plugins: str | Path | Sequence[str | Path] = (),
) -> dict[str, Any]:
    """Run a suite, each cell in a process of its own, and return its summary; cells that are done are not repeated.

    The processes import the script that calls this: in a script, call it below ``if __name__ == "__main__":``. Cells
    that failed are in ``["cells"]["failed"]``, with the reason; the same call tries them again.

    Args:
        source: path or name of a suite, or its content; a file's ``.lock`` holds its settings.
        out: folder of all suites.
        jobs: cells at a time; None for as many as their threads leave room for.
        engine: ``local``, or ``ray`` for processes of a Ray cluster, as the command's ``--engine``.
        address: that of a Ray cluster; None for one of this machine.
        only: run the cells whose names match this pattern.
        device: ``auto``, ``cpu`` or ``cuda``, or a torch device.
        fresh: start over beside what is there already.
        plugins: files with parts of your own.

    Raises:
        InputError: for wrong input in any cell, before anything is trained.
    """
    _importable_main("kd.benchmark")
    root, given = _begun(source, "suite", out, plugins)
    if isinstance(source, Mapping):
        parsed = suite.parse({"name": "suite", **source}, "suite", given)
    else:
        parsed = suite.load(str(source), (), given)
    if jobs is not None and (type(jobs) is not int or not 1 <= jobs <= scale.MOST_JOBS):
        raise InputError(f"jobs: expected a whole number from 1 to {scale.MOST_JOBS:,} or None, not {jobs!r:.80}")
    if only is not None and not isinstance(only, str):
        raise InputError(f"only: expected a pattern of names or None, not {only!r:.80}")
    with cluster.opened(engine, address) as place:
        work = scale.prepare(
            parsed, root, device=str(device), jobs=jobs, only=only, fresh=fresh, engine=place, observe=lambda _: None
        )
        if not isinstance(source, Mapping):
            scale.check_lock(library.find(str(source)).with_suffix(".lock"), work.manifest)
        with closing(scale.run(work, plugin_files=[one.path for one in given])) as happenings:
            for _ in happenings:
                pass
    return read_json(work.suitedir.path / "summary.json")


def search(
    source: str | Path | Mapping[str, Any],
    *,
    max_macs: int | None = None,
    max_params: int | None = None,
    max_latency_ms: float | None = None,
    trials: int = 20,
    out: str | Path = "runs",
    jobs: int = 1,
    engine: str = "local",
    address: str | None = None,
    device: str | torch.device = "auto",
    fresh: bool = False,
    plugins: str | Path | Sequence[str | Path] = (),
) -> dict[str, Any]:
    """Search for a student's settings within a budget, without a label, and return what was found.

    That is ``search.json``: ``["chosen"]`` names the best trial, its AUROC and its gain; ``["trials"]`` are all.
    Trials that are done are not repeated. The processes import the script that calls this, as those of `benchmark` do.

    Args:
        source: path or name of a recipe, or its content; its ``search`` says what is varied.
        max_macs: multiply-accumulates of the student, at most.
        max_params: parameters of the student, at most.
        max_latency_ms: time of one score on this machine, at most.
        trials: settings to try, in all.
        out: folder of all searches.
        jobs: trials at a time.
        engine: ``local``, or ``ray`` for processes of a Ray cluster, as the command's ``--engine``.
        address: that of a Ray cluster; None for one of this machine.
        device: ``auto``, ``cpu`` or ``cuda``, or a torch device.
        fresh: start over beside what is there already.
        plugins: files with parts of your own.

    Raises:
        InputError: for wrong input, before anything is trained.
    """
    _importable_main("kd.search")
    root, given = _begun(source, "recipe", out, plugins)
    for name, value, most in (("trials", trials, hunting.MOST_TRIALS), ("jobs", jobs, scale.MOST_JOBS)):
        if type(value) is not int or not 1 <= value <= most:
            raise InputError(f"{name}: expected a whole number from 1 to {most:,}, not {value!r:.80}")
    budget = space.Budget(max_macs, max_params, max_latency_ms)
    for key, limit in budget.said.items():
        known = type(limit) in (int, float) and 0 < limit < float("inf")
        if not known or (key != "latency_ms" and type(limit) is not int):
            kind = "number" if key == "latency_ms" else "whole number"
            raise InputError(f"max_{key}: expected a {kind} above 0 or None, not {limit!r:.80}")
    if isinstance(source, Mapping):
        parsed = space.parse({"name": "run", **source}, "recipe", given)
    else:
        parsed = space.load(str(source), (), given)
    with cluster.opened(engine, address) as place:
        hunt = hunting.prepare(
            parsed, budget, root, trials=trials, device=str(device), jobs=jobs, fresh=fresh, engine=place
        )
        with closing(hunting.run(hunt, plugin_files=[one.path for one in given])) as happenings:
            for _ in happenings:
                pass
    return read_json(hunt.searchdir.path / "search.json")


def load(path: str | Path, *, plugins: str | Path | Sequence[str | Path] = ()) -> Detector:
    """Return the detector in a bundle, in eval mode on the CPU; only tensors and JSON are read.

    A bundle imports no code: an architecture of your own comes from the files given as ``plugins``.

    Raises:
        BundleError: where the file is missing, damaged, altered, or wants an architecture that is not registered.
    """
    plug_ins.load_installed()
    for one in _listed(plugins):
        plug_ins.load(one)
    if is_exported(str(file := _path(path, "path"))):
        raise BundleError(
            f"{file}: an exported file by its name, which kdcompress_runtime.Detector.load and kdcompress predict read "
            "(allowed: a bundle, .safetensors)"
        )
    return bundle.load(file).detector


def _begun(
    source: object, kind: str, out: str | Path, plugins: str | Path | Sequence[str | Path]
) -> tuple[Path, list[plug_ins.Plugin]]:
    """Load plug-ins, and return them with the folder for output; what comes instead of a source is refused."""
    plug_ins.load_installed()
    given = [plug_ins.load(one) for one in _listed(plugins)]
    root = _path(out, "out")
    if not isinstance(source, str | Path | Mapping):
        raise InputError(f"{kind}: expected a path, a name or a mapping, not {source!r:.80}")
    return root, given


def _warn(arm: str, event: Event) -> None:
    """Warn of what a data set left out or filled in; a teacher's own run says the same of the same data."""
    for text in event.notes if isinstance(event, Noted) and arm != "teacher" else ():
        warnings.warn(text, stacklevel=2)


def _importable_main(caller: str) -> None:
    """Refuse to start processes that cannot import the script which starts them, or would start some themselves."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise InputError(
            f'{caller} starts processes that import this script: call it below `if __name__ == "__main__":`'
        )
    if file is not None and not Path(file).exists():
        raise InputError(f"{caller} starts processes that import this script, and {file} is no file: write it to one")


def _path(given: object, what: str) -> Path:
    if not isinstance(given, str | Path):
        raise InputError(f"{what}: expected a path, not {given!r:.80}")
    return Path(given)


def _listed(plugins: str | Path | Sequence[str | Path]) -> list[Path]:
    several = [plugins] if isinstance(plugins, str | Path) else plugins
    if not isinstance(several, Sequence):
        raise InputError(f"plugins: expected paths of files, not {several!r:.80}")
    return [_path(one, "plugins") for one in several]
