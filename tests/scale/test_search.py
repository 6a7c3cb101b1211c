import json
import shutil

import numpy as np
import pytest
import yaml

from kdcompress import bundle, evaluation, pipeline, start
from kdcompress import recipe as recipes
from kdcompress import space as spaces
from kdcompress.data.one_class import OneClassData
from kdcompress.errors import InputError, KdcompressError
from kdcompress.profiling.counters import macs, params
from kdcompress.reporting.files import write_suite
from kdcompress.rundir import RunDir
from kdcompress.scale import rule, search
from kdcompress.scale.local import Begun, Ended
from kdcompress.scale.local import run as RUN
from kdcompress.searchdir import SearchDir
from kdcompress.space import Budget
from kdcompress.types import Scorer
from tests.recipes import TINY

AXES = {"strategy.learning_rate": {"from": 1.0e-4, "to": 1.0e-2, "scale": "log"}, "student.latent": [4, 8]}
ANY = Budget()
RECIPE = {
    **TINY,
    "name": "mine",
    "teacher": {**TINY["teacher"], "seed": 0},
    "strategy": {"name": "frozen", "epochs": 1, "batch_size": 16},
    "search": AXES,
}


def inline(tasks, job, jobs, threads):
    """Do tasks in this process: what a process of its own costs is more than a trial here."""
    for task in tasks:
        yield Begun(task)
        why = None
        try:
            job(task, lambda arm, event: None)
        except KdcompressError as error:
            why = str(error)
        yield Ended(task, 1.0, why)


@pytest.fixture(autouse=True, scope="module")
def _inline():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search.local, "run", inline)
        yield


def written(folder, **changes):
    folder.mkdir(exist_ok=True)
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in {**RECIPE, **changes}.items() if value is not None}))
    return str(path)


def searched(folder, budget=ANY, trials=3, jobs=1, fresh=False, **changes):
    space = spaces.load(written(folder, **changes))
    hunt = search.prepare(space, budget, folder, trials=trials, device="cpu", jobs=jobs, fresh=fresh)
    for _ in search.run(hunt, plugin_files=()):
        pass
    return hunt


@pytest.fixture(scope="module")
def done(tmp_path_factory, _inline):
    """A search of three trials within a thousand parameters less than the recipe's own student has."""
    return searched(tmp_path_factory.mktemp("done"), Budget(params=3000))


def trials(hunt):
    return hunt.searchdir.found().trials


def student(hunt, trial):
    rundir = RunDir.existing(hunt.searchdir.runs / "mine" / trial.digest)
    return bundle.load(rundir.bundle("student")).detector, rundir


def test_trials_are_cells_of_results_form(done):
    assert [one.state for one in trials(done)] == ["done"] * 3
    for one in trials(done):
        plain = json.loads((done.searchdir.path / f"{one.name}.json").read_text())
        assert plain["selection"] == {"rule": "agreement", "student": one.student, "control": one.control}
        assert plain["student_architecture"]["options"]["latent"] == one.values["student.latent"]


def test_students_are_as_large_as_the_budget_allows(done):
    for one in trials(done):
        size = params(student(done, one)[0])
        assert 2500 < size <= 3000


def test_the_rule_is_the_rank_correlation_on_held_out_normals_and_changed_ones(done):
    one = trials(done)[0]
    _, rundir = student(done, one)
    known = pipeline.Run(rundir, rundir.result())
    assert rule.judged(known).selection.student == one.student


def test_the_chosen_is_the_best_by_the_rule_and_its_gain_is_paired(done):
    found = done.searchdir.found()
    best = max(found.trials, key=lambda one: one.student)
    alone = max(found.trials, key=lambda one: one.control)
    assert (found.chosen.trial, found.chosen.control) == (best.name, alone.name)
    ours, theirs = student(done, best)[1].scores(), student(done, alone)[1].scores()
    gain, interval = evaluation.paired_difference(ours["labels"], ours["student"], theirs["control"])
    assert (found.chosen.kd_gain, found.chosen.kd_gain_ci95) == (gain, interval)


def test_the_chosen_recipe_is_that_run_again(done):
    found = done.searchdir.found()
    best = next(one for one in found.trials if one.name == found.chosen.trial)
    path = done.searchdir.path / "chosen.yaml"
    recipe = recipes.load(str(path))
    assert start.identity(recipe, str(path), check=True).digest == best.digest


def test_the_choice_reads_no_label_and_no_test_sample(done, monkeypatch):
    one = trials(done)[0]
    rundir = student(done, one)[1]
    known = pipeline.Run(rundir, rundir.result())
    load = start.load_data

    class Blind(OneClassData):
        def __getattribute__(self, name):
            assert name not in {"labels", "test"}, f"the rule reads {name}"
            return super().__getattribute__(name)

    def blind(ref):
        data = load(ref)
        object.__setattr__(data, "__class__", Blind)
        return data

    monkeypatch.setattr(rule.start, "load_data", blind)
    assert rule.judged(known).selection.student == one.student
    monkeypatch.setattr(rule.start, "load_data", lambda ref: blind(ref).labels)
    with pytest.raises(AssertionError, match="the rule reads labels"):
        rule.judged(known)


def test_more_trials_go_on_where_the_first_ended(done, tmp_path):
    first = searched(tmp_path, Budget(params=3000), trials=2)
    assert [one.values for one in trials(first)] == [one.values for one in trials(done)[:2]]
    before = (first.searchdir.path / "trial-001.json").read_bytes()
    more = searched(tmp_path, Budget(params=3000), trials=3)
    assert (more.searchdir.path / "trial-001.json").read_bytes() == before
    assert [(one.values, one.student, one.control) for one in trials(more)] == [
        (one.values, one.student, one.control) for one in trials(done)
    ]


def test_another_budget_does_not_mix_with_what_is_there(tmp_path):
    searched(tmp_path, Budget(params=3000), trials=1)
    with pytest.raises(InputError, match=r"holds a search of other settings or another budget: --fresh starts over"):
        searched(tmp_path, Budget(params=2000), trials=1)
    fresh = searched(tmp_path, Budget(params=2000), trials=1, fresh=True)
    assert fresh.searchdir.path == tmp_path / "mine-search-2"
    more = searched(tmp_path, Budget(params=2000), trials=2)
    assert more.searchdir.path == fresh.searchdir.path
    assert trials(more)[0] == trials(fresh)[0]
    assert SearchDir(tmp_path / "mine-search").found().budget == {"params": 3000}


def test_without_a_search_section_the_first_trial_is_the_recipe(tmp_path):
    hunt = searched(tmp_path, Budget(macs=20_000), trials=2, search=None)
    first, second = trials(hunt)
    assert first.values == {"strategy.learning_rate": 0.002, "student.macs": 20_000}
    assert 0.0005 <= second.values["strategy.learning_rate"] <= 0.008
    assert 5000 <= second.values["student.macs"] < 20_000


def test_both_budgets_hold(tmp_path):
    space = spaces.load(written(tmp_path))
    for budget in (Budget(macs=30_000, params=3000), Budget(macs=8_000, params=30_000)):
        hunt = search.prepare(space, budget, tmp_path, trials=1, device="cpu", jobs=1)
        recipe = search.sized(hunt, {"student.latent": 8, "strategy.learning_rate": 1e-3})
        detector, sample, _ = start.untrained(recipe, "mine.yaml")
        spent = macs(Scorer(detector), sample), params(detector)
        assert spent[0] <= budget.macs
        assert spent[1] <= budget.params
        # One of the two is what makes it so narrow.
        assert spent[0] > 0.8 * budget.macs or spent[1] > 0.8 * budget.params


def test_what_costs_too_much_is_not_trained(tmp_path):
    hunt = searched(tmp_path, Budget(macs=20_000), trials=3, search={"student.width": [0.1, 4.0, 8.0]})
    states = {one.values["student.width"]: (one.state, one.why) for one in trials(hunt)}
    assert states[0.1] == ("done", "")
    for width in set(states) - {0.1}:
        assert states[width][0] == "refused"
        assert "MACs, more than 20,000" in states[width][1]


def test_a_budget_below_everything_is_said(tmp_path):
    with pytest.raises(InputError, match=r"none of 3 settings can be trained, the last: .*MACs, more than 10"):
        searched(tmp_path, Budget(macs=10), trials=3, search={"student.width": [2.0, 4.0, 8.0]})


def test_a_mistaken_budget_leaves_nothing_in_the_way(tmp_path):
    axes = {"student.width": [0.1, 4.0, 8.0]}
    with pytest.raises(InputError, match="none of 2 settings"):
        searched(tmp_path, Budget(macs=10), trials=2, search=axes)
    assert trials(searched(tmp_path, Budget(macs=20_000), trials=3, search=axes))


def test_both_limits_without_a_search_give_the_largest_within_them(tmp_path):
    hunt = searched(tmp_path, Budget(macs=10**9, params=3000), trials=1, search=None)
    assert list(trials(hunt)[0].values) == ["strategy.learning_rate"]
    assert 2500 < params(student(hunt, trials(hunt)[0])[0]) <= 3000


def test_a_limit_above_the_largest_student_varies_what_there_is(tmp_path):
    space = spaces.load(written(tmp_path, search=None))
    axis = search.usual(space, Budget(params=10**12)).axes["student.params"]
    largest = params(start.untrained(space.recipe({"student.width": 16.0}), "mine.yaml")[0])
    assert (axis.first, axis.last) == (round(largest / 4), largest)


def test_what_was_lost_is_done_again(tmp_path):
    hunt = searched(tmp_path, trials=2)
    before = hunt.searchdir.found()
    for name in (f"{before.chosen.trial}.json", "suite.json"):
        (hunt.searchdir.path / name).unlink()
    again = searched(tmp_path, trials=2).searchdir.found()
    assert again == before


def test_without_the_runs_a_search_goes_on_and_claims_no_gain(tmp_path):
    shutil.rmtree(searched(tmp_path, trials=2).searchdir.runs)
    found = searched(tmp_path, trials=3).searchdir.found()
    assert [one.state for one in found.trials] == ["done"] * 3
    newest = {found.chosen.trial, found.chosen.control} == {"trial-003"}
    assert (found.chosen.kd_gain is not None) == newest


def test_trials_of_other_data_are_not_mixed(tmp_path):
    rows = tmp_path / "rows.npz"
    np.savez(rows, X=np.random.default_rng(0).normal(size=(80, 3)))
    changed = {"data": {"name": "table", "path": str(rows)}, "student": {"name": "mlp_ae", "width": 0.5}}
    changed |= {"teacher": None, "strategy": {"name": "scratch", "epochs": 1}, "search": {"student.latent": [2, 3]}}
    searched(tmp_path, trials=1, **changed)
    np.savez(rows, X=np.random.default_rng(1).normal(size=(80, 3)))
    with pytest.raises(InputError, match="its trials were of other data, another teacher or another version"):
        searched(tmp_path, trials=2, **changed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": {}}, "the values of trial-001 are none of this search"),
        ({"values": {"strategy.learning_rate": 0.001, "student.latent": 5}}, "are none of this search"),
        ({"name": "../../evil"}, "not a search of this version"),
    ],
)
def test_a_damaged_search_is_said(tmp_path, change, said):
    hunt = searched(tmp_path, trials=1)
    path = hunt.searchdir.path / "search.json"
    plain = json.loads(path.read_text())
    plain["trials"][0] |= change
    path.write_text(json.dumps(plain))
    with pytest.raises(InputError, match=said):
        searched(tmp_path, trials=1)


def test_a_latency_is_measured_before_training(tmp_path, monkeypatch):
    taken = iter([5.0, 0.5])
    monkeypatch.setattr(search, "latency_ms", lambda *_, **__: next(taken))
    hunt = searched(tmp_path, Budget(latency_ms=1.0), trials=2)
    assert [(one.state, one.why) for one in trials(hunt)] == [
        ("refused", "5 ms at batch 1, more than 1"),
        ("done", ""),
    ]


def states(hunt):
    return [(one.state, one.latency_ms) for one in trials(hunt)]


def test_what_was_too_slow_is_judged_again_by_its_time_now(tmp_path, monkeypatch):
    taken = [5.0, 0.5]
    monkeypatch.setattr(search, "latency_ms", lambda *_, **__: taken.pop(0))
    first = searched(tmp_path, Budget(latency_ms=1.0), trials=2)
    assert states(first) == [("refused", 5.0), ("done", 0.5)]
    taken[:] = [4.0]
    assert states(searched(tmp_path, Budget(latency_ms=1.0), trials=2)) == [("refused", 4.0), ("done", 0.5)]
    taken[:] = [4.0]
    assert states(searched(tmp_path, Budget(latency_ms=4.5), trials=2)) == [("done", 4.0), ("done", 0.5)]


def test_a_lower_limit_of_latency_takes_trials_out_of_the_choice(tmp_path, monkeypatch):
    both = searched(tmp_path, trials=2).searchdir.found()
    best = both.chosen.trial
    other = next(one.name for one in both.trials if one.name != best)
    taken = [5.0 if one.name == best else 0.5 for one in both.trials]
    monkeypatch.setattr(search, "latency_ms", lambda *_, **__: taken.pop(0))
    hunt = searched(tmp_path, Budget(latency_ms=1.0), trials=2)
    found = hunt.searchdir.found()
    assert {one.name: one.state for one in found.trials} == {best: "refused", other: "done"}
    assert (found.chosen.trial, found.chosen.control) == (other, other)
    assert found.budget == {"latency_ms": 1.0}
    assert [entry.name for entry in hunt.searchdir.manifest().cells] == [other]
    again = searched(tmp_path, trials=2).searchdir.found()
    assert [(one.student, one.control, one.state) for one in again.trials] == [
        (one.student, one.control, one.state) for one in both.trials
    ]
    assert again.chosen == both.chosen


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"strategy.learning_rte": [0.1, 0.2]}, r"strategy\.learning_rte: .*did you mean 'learning_rate'"),
        ({"strategy.learning_rate": [0.1, 2]}, r"strategy\.learning_rate: .*less than 1"),
        ({"student.name": ["ede_gan", "ede_gone"]}, "did you mean 'ede_gan'"),
    ],
)
def test_wrong_keys_and_values_are_said_before_anything_is_trained(tmp_path, axes, said):
    with pytest.raises(InputError, match=said):
        searched(tmp_path, search=axes)
    assert not (tmp_path / "mine-search").exists()


def test_a_failed_trial_is_told_and_tried_again(tmp_path):
    hunt = searched(tmp_path, trials=1)
    found = hunt.searchdir.found()
    broken = [search.replaced(one, state="failed", why="because", student=None) for one in found.trials]
    hunt.searchdir.write_found(found.model_copy(update={"trials": tuple(broken), "chosen": None}))
    again = searched(tmp_path, trials=1)
    assert trials(again) == found.trials
    assert again.searchdir.found().chosen == found.chosen


@pytest.mark.slow
def test_two_processes_at_a_time_are_as_many_trials(tmp_path, monkeypatch):
    monkeypatch.setattr(search.local, "run", RUN)
    hunt = searched(tmp_path, trials=2, jobs=2)
    assert [one.state for one in trials(hunt)] == ["done"] * 2


def test_the_report_leads_with_what_was_chosen(done):
    files = write_suite(done.searchdir, ("html", "md", "csv", "json", "svg"))
    found = done.searchdir.found()
    markdown = (done.searchdir.path / "report.md").read_text()
    auroc = f"{100 * found.chosen.auroc:.2f} %"
    assert f"**{found.chosen.trial}, chosen of 3, has" in markdown
    assert f"against the network trained alone that the same rule chooses, {found.chosen.control}" in markdown
    assert auroc in markdown
    assert "no label was read" in markdown
    assert {path.name for path in files} >= {"report-search-rule.svg", "report-search-cost.svg", "summary.json"}
    assert np.isfinite(found.chosen.kd_gain)
