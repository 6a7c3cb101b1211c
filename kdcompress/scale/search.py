"""A search for settings: trials one after another within a budget, chosen without a label."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kdcompress import evaluation, signature, start
from kdcompress.engine.plan import device_for
from kdcompress.errors import InputError
from kdcompress.profiling.counters import macs, params
from kdcompress.profiling.latency import latency_ms
from kdcompress.recipe import Recipe
from kdcompress.reporting.files import write_suite
from kdcompress.results import Result
from kdcompress.rundir import RunDir
from kdcompress.scale import local, rule, sampler
from kdcompress.scale.benchmark import job
from kdcompress.scale.local import Ended, Happening
from kdcompress.scale.tasks import tasks
from kdcompress.searchdir import Chosen, Found, SearchDir, Trial
from kdcompress.space import Axis, Budget, Range, Space
from kdcompress.strategies import STRATEGIES
from kdcompress.suite import Cell, Heading, Suite, Value
from kdcompress.suitedir import SCHEMA, Entry, Manifest
from kdcompress.types import Scorer

MOST_TRIALS = 10_000

_SPAN = 4.0
"""By how much a recipe that does not say varies its learning rate, up and down, and its student's size, down."""
_NARROWEST = 1 / 32
"""The smallest width that such a recipe tries within a limit of latency."""


@dataclass(frozen=True)
class Hunt:
    """What is to be done for a search: its folder, what may be changed, how many trials, how many at a time, where."""

    searchdir: SearchDir
    space: Space
    budget: Budget
    trials: int
    device: str
    jobs: int
    engine: local.Engine


def prepare(
    space: Space,
    budget: Budget,
    root: Path,
    *,
    trials: int,
    device: str,
    jobs: int,
    fresh: bool = False,
    engine: local.Engine = local.HERE,
) -> Hunt:
    """Find out what is searched, with ``fresh`` beside what is there already; nothing is computed.

    Raises:
        InputError: where no setting can be tried, or results of another search are in the folder.
    """
    engine.check(device)
    if budget.latency_ms is not None:
        device_for(device)  # latencies are of this machine
    sampler.check()
    space = space if space.axes else usual(space, budget)
    check(space)
    hunt = Hunt(SearchDir.newest(root, space.name, fresh=fresh), space, budget, trials, device, jobs, engine)
    before = hunt.searchdir.found()
    if before is not None and before.fingerprint != space.fingerprint(budget):
        raise InputError(
            f"{hunt.searchdir.path}: holds a search of other settings or another budget: --fresh starts over beside it"
        )
    if before is None and SearchDir.holds(hunt.searchdir.path):
        raise InputError(f"{hunt.searchdir.path}: holds a suite that is no search: give another --out")
    if before is not None:
        _check_trials(hunt, before)
    return hunt


def _check_trials(hunt: Hunt, before: Found) -> None:
    """Check that trials that are there are of this space, and that what they were trained on is as it was.

    Raises:
        InputError: where they are not.
    """
    path = hunt.searchdir.path / "search.json"
    for one in before.trials:
        lists = {key: axis for key, axis in hunt.space.axes.items() if not isinstance(axis, Range)}
        if set(one.values) != set(hunt.space.axes) or any(one.values[key] not in axis for key, axis in lists.items()):
            raise InputError(f"{path}: damaged: the values of {one.name} are none of this search")
    done = next((one for one in before.trials if one.state == "done"), None)
    if done is None:
        return
    now = start.identity(sized(hunt, done.values), hunt.space.where, check=False).digest
    if now != done.digest.partition("-")[0]:
        raise InputError(
            f"{hunt.searchdir.path}: its trials were of other data, another teacher or another version ({done.digest}, "
            f"now {now}): --fresh starts over beside it"
        )


def check(space: Space) -> None:
    """Check every value that a search may take by itself: that there are such keys, and that they may have it.

    Raises:
        InputError: with every problem, each named once.
    """
    space.check(lambda recipe: start.resolve_written(recipe, space.where))


def usual(space: Space, budget: Budget) -> Space:
    """Return what is varied of a recipe that does not say; the first trial then has its learning rate.

    The learning rate by a factor of four up and down, and the student's size from what the budget allows, or the
    largest student has, down to a quarter; where the budget is one of latency alone, its width. With limits of both
    MACs and parameters each student is the largest within them.

    Raises:
        InputError: where there is nothing of these.
    """
    recipe = start.resolve_written(space.recipe({}), space.where)[0]
    axes: dict[str, Axis] = {}
    own: dict[str, Value] = {}
    assert recipe.strategy is not None, "a resolved recipe has a strategy"
    if "learning_rate" in {option.name for option in signature.options(STRATEGIES[recipe.strategy.name])}:
        rate = recipe.strategy.options["learning_rate"]
        axes["strategy.learning_rate"] = _logarithmic(rate / _SPAN, min(rate * _SPAN, 0.5))
        own["strategy.learning_rate"] = rate
    most = {"student.macs": budget.macs, "student.params": budget.params}
    sizes = [(key, value) for key, value in most.items() if value is not None]
    if len(sizes) == 1:
        key, value = sizes[0]
        detector, sample, _ = start.untrained(space.recipe({key: value}), space.where)
        spent = params(detector) if key == "student.params" else macs(Scorer(detector), sample)
        # A limit that not even the largest student comes near would make all trials one.
        value = value if 2 * spent > value else spent
        if value >= _SPAN:
            axes[key] = _logarithmic(round(value / _SPAN), value)
            own[key] = value
    elif not sizes and budget.latency_ms is not None:
        axes["student.width"] = _logarithmic(_NARROWEST, 1.0)
        own["student.width"] = 1.0
    if not axes:
        raise InputError(
            f"{space.where}: search: missing, and '{recipe.strategy.name}' has no learning rate to vary: say what may "
            "be changed, e.g. search: {strategy.steps.0.learning_rate: {from: 5.0e-4, to: 5.0e-3, scale: log}}"
        )
    return replace(space, axes=axes, own=own)


def _logarithmic(first: float, last: float) -> Range:
    return Range.model_validate({"from": first, "to": last, "scale": "log"})


def run(hunt: Hunt, *, plugin_files: Sequence[Path]) -> Generator[Happening, None, None]:
    """Try settings until there are enough trials; after each the summary is written, at the end the report.

    ``jobs`` trials run at a time, and the next ones are drawn when all of them are done. What was stopped or has failed
    is tried again first.

    Raises:
        InputError: where no setting of the space can be trained within the budget.
    """
    searchdir = hunt.searchdir
    with searchdir.lock():
        before = searchdir.found() or _new(hunt)
        found = _again(hunt, before)
        if _done(found) < _done(before) and SearchDir.holds(searchdir.path):
            # The chosen one may be among those that are gone.
            found = _judged(hunt, found, {})
        if before.trials:
            searchdir.write_found(found)
        try:
            while True:
                waiting = [one for one in found.trials if one.state == "waiting"][: hunt.jobs]
                if not waiting:
                    asked = _asked(hunt, found)
                    if not asked:
                        break
                    found = _with(found, [*found.trials, *asked])
                    # Where all are refused nothing is kept: it is no search yet.
                    if not _all_refused(found):
                        searchdir.write_found(found)
                    continue
                failed: dict[str, str] = {}
                yield from _trained(hunt, found, waiting, plugin_files, failed)
                found = _judged(hunt, found, failed)
                searchdir.write_found(found)
                write_suite(searchdir, ("json",))
            if _all_refused(found):
                count = len(found.trials)
                raise InputError(
                    f"{hunt.space.where}: none of {count} settings can be trained, the last: {found.trials[-1].why}"
                )
        finally:
            if SearchDir.holds(searchdir.path):
                write_suite(searchdir, ("html", "md", "csv", "json"))


def _all_refused(found: Found) -> bool:
    return all(one.state == "refused" for one in found.trials)


def _done(found: Found) -> set[str]:
    return {one.name for one in found.trials if one.state == "done"}


def _again(hunt: Hunt, found: Found) -> Found:
    """Return what is known with everything to be done again that has no result, and write what the folder holds.

    What is too large stays so. The time of one score is another matter: its limit may be another now, and the machine.
    """
    most = hunt.budget.latency_ms
    trials = []
    for one in found.trials:
        done = one.state == "done" and (hunt.searchdir.path / f"{one.name}.json").exists()
        slow = most is not None and (one.latency_ms is None or one.latency_ms > most)
        if (done and not slow) or (one.state == "refused" and one.latency_ms is None):
            trials.append(one)
            continue
        now = _tried(hunt, one.name, one.values)
        trials.append(replaced(one, latency_ms=now.latency_ms) if done and now.state == "waiting" else now)
    _write_manifest(hunt, trials, {})
    return _with(found, trials).model_copy(update={"budget": hunt.budget.said})


def _write_manifest(hunt: Hunt, trials: Sequence[Trial], begun: dict[str, str]) -> None:
    """Write which trials are done or begin now, by the digests of their runs."""
    digests = {one.name: one.digest.partition("-")[0] for one in trials if one.state == "done"} | begun
    cells = [Entry(name=one.name, values=one.values, digest=digests[one.name]) for one in trials if one.name in digests]
    if cells:
        hunt.searchdir.write_manifest(Manifest(name=hunt.space.name, schema=SCHEMA, cells=tuple(cells)))


def replaced(trial: Trial, **changed: Any) -> Trial:  # noqa: ANN401
    """Return a trial with other fields."""
    return trial.model_copy(update=changed)


def _with(found: Found, trials: Sequence[Trial]) -> Found:
    return found.model_copy(update={"trials": tuple(trials)})


def _new(hunt: Hunt) -> Found:
    space = hunt.space
    axes = {
        key: axis.model_dump(by_alias=True) if isinstance(axis, Range) else list(axis)
        for key, axis in space.axes.items()
    }
    taught = space.recipe(space.own).teacher is not None
    return Found.model_validate(
        {
            "fingerprint": space.fingerprint(hunt.budget),
            "budget": hunt.budget.said,
            "axes": axes,
            "rule": rule.AGREEMENT if taught else rule.SEPARATION,
        }
    )


def _asked(hunt: Hunt, found: Found) -> list[Trial]:
    """Return the next trials, at most as many as run at a time; none where there are enough, or all were tried."""
    asked: list[Trial] = []
    for number in range(len(found.trials), min(hunt.trials, len(found.trials) + hunt.jobs)):
        before = [*found.trials, *asked]
        values = (
            dict(hunt.space.own) if number == 0 and hunt.space.own else sampler.drawn(hunt.space.axes, before, number)
        )
        if values is None:
            break
        asked.append(_tried(hunt, f"trial-{number + 1:03d}", values))
    return asked


def sized(hunt: Hunt, values: Mapping[str, Value]) -> Recipe:
    """Return a trial's recipe; where sizes are not searched, its student is the largest within the budget.

    Raises:
        InputError: where values do not fit the recipe, or the smallest student is over the budget.
    """
    recipe = hunt.space.recipe(values)
    if hunt.space.sized:
        return recipe
    given = [(key, value) for key in ("macs", "params") if (value := getattr(hunt.budget, key)) is not None]
    found = [hunt.space.recipe({**values, f"student.{key}": value}) for key, value in given]
    if len(found) < len(("macs", "params")):
        return found[0] if found else recipe
    return min(found, key=lambda one: start.untrained(one, hunt.space.where)[2])


def _tried(hunt: Hunt, name: str, values: Mapping[str, Value]) -> Trial:
    """Return a trial that waits, or is refused: it costs too much, or there is no such student."""
    trial = Trial(name=name, values=dict(values))
    try:
        recipe = sized(hunt, values)
        detector, sample, _ = start.untrained(recipe, hunt.space.where)
    except InputError as error:
        return replaced(trial, state="refused", why=str(error))
    spent = {"macs": macs(Scorer(detector), sample), "params": params(detector)}
    over = [
        f"{spent[key]:,} {words}, more than {most:,}"
        for key, words in (("macs", "MACs"), ("params", "parameters"))
        if (most := getattr(hunt.budget, key)) is not None and spent[key] > most
    ]
    if (most := hunt.budget.latency_ms) is not None and not over:
        with _threads(recipe.engine.threads):
            taken = latency_ms(Scorer(detector), sample, 1, device=device_for(hunt.device))
        over = [f"{taken:.3g} ms at batch 1, more than {most:g}"] if taken > most else []
        trial = replaced(trial, latency_ms=taken)
    return replaced(trial, state="refused", why="; ".join(over)) if over else trial


@contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    """Compute with as many threads as a trial does."""
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _trained(
    hunt: Hunt, found: Found, waiting: Sequence[Trial], plugin_files: Sequence[Path], failed: dict[str, str]
) -> Generator[Happening, None, None]:
    """Run trials, each in a process of its own; why some failed is put into ``failed``."""
    cells = tuple(Cell(one.name, one.values, sized(hunt, one.values), hunt.space.where) for one in waiting)
    heading = Heading(name=hunt.space.name, grid={"trial": [one.name for one in waiting]})
    todo = tasks(Suite(heading, cells, hunt.space.where))
    _write_manifest(hunt, found.trials, {task.name: task.digest for task in todo if task.kind == "cell"})
    work = partial(
        job, suitedir=hunt.searchdir, device=hunt.device, plugin_files=tuple(plugin_files), finish=rule.judged
    )
    threads = max(1, torch.get_num_threads() // hunt.jobs)
    doing = hunt.engine.run(todo, work, hunt.jobs, threads, device=hunt.device, folder=hunt.searchdir.runs)
    with closing(doing) as happenings:
        for happening in happenings:
            if isinstance(happening, Ended) and happening.task.kind == "cell" and happening.why is not None:
                failed[happening.task.name] = happening.why
            yield happening


def _judged(hunt: Hunt, found: Found, failed: Mapping[str, str]) -> Found:
    """Return what is known with the results that are there, and the trials that the rule prefers."""
    results = hunt.searchdir.results(hunt.searchdir.manifest())
    trials = []
    for one in found.trials:
        result = results.get(one.name)
        if one.state != "refused" and result is not None and result.selection is not None:
            selected = result.selection
            one = replaced(one, state="done", digest=result.digest, student=selected.student, control=selected.control)
        elif one.name in failed:
            one = replaced(one, state="failed", why=failed[one.name])
        trials.append(one)
    return _with(found, trials).model_copy(update={"chosen": _chosen(hunt, trials, results)})


def _chosen(hunt: Hunt, trials: Sequence[Trial], results: Mapping[str, Result]) -> Chosen | None:
    """Return the best student and the best network alone by the rule, and only then how they do on the test set."""
    known = [one for one in trials if one.state == "done"]
    best = max((one for one in known if one.student is not None), key=lambda one: one.student or 0, default=None)
    alone = max((one for one in known if one.control is not None), key=lambda one: one.control or 0, default=None)
    if best is None:
        return None
    rundir = _rundir(hunt, results[best.name])
    other = _rundir(hunt, results[alone.name]) if alone is not None else None
    if rundir is not None:
        hunt.searchdir.write_chosen(rundir.recipe())
    student, control = results[best.name].student, results[alone.name].control if alone is not None else None
    gain, interval = None, None
    if rundir is not None and other is not None and student.auroc is not None:
        ours, theirs = rundir.scores(), other.scores()
        gain, interval = evaluation.paired_difference(ours["labels"], ours["student"], theirs["control"])
    return Chosen(
        trial=best.name,
        control=alone.name if alone is not None else None,
        auroc=student.auroc,
        control_auroc=control.auroc if control is not None else None,
        kd_gain=gain,
        kd_gain_ci95=interval,
    )


def _rundir(hunt: Hunt, result: Result) -> RunDir | None:
    """Return a trial's run; None where the folder of runs was cleared."""
    path = hunt.searchdir.runs / result.recipe / result.digest
    return RunDir.existing(path) if path.exists() else None
