import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from kdcompress.reporting import suite
from kdcompress.reporting.labels import width
from kdcompress.reporting.summary import Spread, best_control, groups, named, summary
from kdcompress.reporting.training import courses, mean_history
from kdcompress.results import DataSummary
from kdcompress.suitedir import Manifest
from tests.reporting.fake_runs import make_arm, make_result

TEACHER, CONTROL = 52_830_000, 228_480


def cell(recipe, normal_class, seed, student, control, teacher=0.95):
    return make_result(
        recipe=recipe,
        seed=seed,
        data=DataSummary("mnist", normal_class, 5_266, 585, 974, 9_026, (1, 32, 32)),
        teacher=make_arm(teacher, TEACHER, 0.04),
        control=make_arm(control, CONTROL, 0.06),
        student=make_arm(student, CONTROL, 0.05),
        kd_gain=student - control,
        student_minus_teacher=student - teacher,
    )


CELLS = {
    "plain_0_0": cell("plain", 0, 0, 0.97, 0.95),
    "plain_0_1": cell("plain", 0, 1, 0.96, 0.95),
    "plain_1_0": cell("plain", 1, 0, 0.91, 0.92),
    "best_0_0": cell("best", 0, 0, 0.98, 0.95),
}


def manifest(**changes):
    places = [("plain", c, s) for c in (0, 1) for s in (0, 1)] + [("best", 0, 0)]
    cells = [
        {"name": f"{r}_{c}_{s}", "values": {"recipe": r, "data.normal_class": c, "seed": s}, "digest": "0" * 12}
        for r, c, s in places
    ]
    return Manifest.model_validate({"schema": 1, "name": "both", "cells": cells, **changes})


def test_the_gain_over_the_best_control_is_over_networks_trained_alone_that_are_no_larger():
    cells = {
        "plain_0_0": cell("plain", 0, 0, 0.97, 0.95),
        "plain_0_1": cell("plain", 0, 1, 0.96, 0.95),
        "best_0_0": cell("best", 0, 0, 0.98, 0.96),
        "best_0_1": cell("best", 0, 1, 0.97, 0.97),
    }
    places = [(r, 0, s) for r in ("plain", "best") for s in (0, 1)]

    def gains(results):
        found = groups(of(places), results)
        return [(name, spread.mean, spread.n) for name, spread in (best_control(one, found) for one in found)]

    assert gains(cells) == [("best", pytest.approx(0.0), 2), ("best", pytest.approx(0.01), 2)]
    # One seed more for the plain one alone: the other control does not have all of its cells.
    assert gains({**cells, "best_0_1": cells["best_0_1"], "plain_1_0": cell("plain", 1, 0, 0.9, 0.8)}) == [
        ("plain", pytest.approx(0.0433333), 3),
        ("best", pytest.approx(0.01), 2),
    ]
    # A network without a teacher is its own control; a larger one is none.
    alone = [replace(cells[name], teacher=None, control=None) for name in ("best_0_0", "best_0_1")]
    larger = [replace(one, student=replace(one.student, macs=CONTROL + 1)) for one in alone]
    for students, expected in ((alone, "best"), (larger, "plain")):
        found = gains({**cells, "best_0_0": students[0], "best_0_1": students[1]})
        assert found[0][0] == expected
    text = suite.markdown(of(places), cells, {})
    assert "## mnist: gain over the best control" in text
    assert "| plain | best | 2 | 0.00" in text


def of(places):
    """Return a manifest of cells by recipe, class and seed."""
    cells = [
        {"name": f"{r}_{c}_{s}", "values": {"recipe": r, "data.normal_class": c, "seed": s}, "digest": "0" * 12}
        for r, c, s in [*places, ("plain", 1, 0)]
    ]
    return Manifest.model_validate({"schema": 1, "name": "both", "cells": cells})


def test_losses_of_several_cells_are_drawn_as_their_mean():
    rows = [
        [{"arm": "student", "stage": "s", "epoch": e, "epochs": 2, "losses": {"a": v + e, "b": None}} for e in (0, 1)]
        for v in (1.0, 3.0)
    ]
    assert [row["losses"] for row in mean_history(rows)] == [{"a": 2.0}, {"a": 3.0}]
    assert [course.arm for course in courses(mean_history(rows))] == ["student"]
    assert mean_history([]) == []


@pytest.mark.parametrize("count", [2, 3, 10])
def test_a_spread_is_students_t(count):
    values = np.random.default_rng(count).normal(size=count)
    found = Spread.of(list(values))
    low, high = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert found.mean == pytest.approx(values.mean(), abs=1e-12)
    assert found.sd == pytest.approx(values.std(ddof=1), abs=1e-12)
    assert found.ci95 == pytest.approx((low, high), abs=1e-9)
    assert found.n == count


def test_one_value_has_no_spread_and_none_has_nothing():
    assert Spread.of([0.5]) == Spread(0.5, None, 1, None)
    assert Spread.of([]) is None


def test_groups_are_what_differs_in_class_and_seed_only():
    plain, best = groups(manifest(), CELLS)
    assert [(one.label, len(one.results), one.cells) for one in (plain, best)] == [("plain", 3, 4), ("best", 1, 1)]
    assert (plain.classes, plain.seeds) == ((0, 1), (0, 1))
    assert plain.spreads["student"].mean == pytest.approx((0.97 + 0.96 + 0.91) / 3)
    assert plain.spreads["kd_gain"].mean == pytest.approx((0.02 + 0.01 - 0.01) / 3)
    assert plain.of_class(0)["student"].mean == pytest.approx(0.965)


def test_a_mean_without_the_tuning_classes_leaves_them_out():
    plain, _ = groups(manifest(tuned_on={"mnist": [0], "cifar10": [5]}), CELLS)
    assert plain.untuned["student"] == Spread(0.91, None, 1, None)
    assert groups(manifest(), CELLS)[0].untuned is None


def test_the_summary_is_json_and_says_what_is_left():
    found = summary(manifest(), CELLS, {"plain_1_1": "out of memory", "best_0_0": "was done since"})
    assert json.loads(json.dumps(found, allow_nan=False))["cells"] == {
        "all": 5,
        "done": 4,
        "failed": {"plain_1_1": "out of memory"},
    }
    plain = found["groups"][0]
    assert plain["per_class"]["1"]["student"]["n"] == 1
    assert plain["sizes"]["student_macs"] == CONTROL
    assert plain["sizes"]["macs_ratio"] == CELLS["plain_0_0"].compression.macs
    assert set(plain["timing"]) == {
        *("teacher_batch_1_ms", "teacher_batch_64_ms", "student_batch_1_ms", "student_batch_64_ms", "cell_seconds"),
        *("latency_batch_1_ratio", "latency_batch_64_ratio"),
    }
    same = [CELLS[name].fidelity.spearman for name in CELLS if name.startswith("plain")]
    assert plain["spearman"]["mean"] == pytest.approx(sum(same) / len(same))


def test_markdown_shows_means_published_figures_and_failures():
    published = {"mnist": {"source": "the paper", "student_auroc": 0.9725, "macs_ratio": 311.11, "kd_gain": 0.0177}}
    text = suite.markdown(manifest(published=published, tuned_on={"mnist": [0]}), CELLS, {"plain_1_1": "no <room>"})
    rows = [re.split(r" *\| *", line.strip("| ")) for line in text.splitlines() if line.startswith("|")]
    table = {row[0]: row for row in reversed(rows)}
    assert table["plain"][1] == "3/4"
    assert table["plain"][5] == "94.67 ± 3.21 %"
    assert table["the paper"][2] == "311 : 1"
    assert table["the paper"][5:7] == ["97.25 %", "+1.77"]
    assert table["… without tuning classes"][5] == "91.00 %"
    assert table["0\\*"][4] == "96.50 ± 0.71 %"
    assert "no &lt;room&gt;" in text
    assert "**4 of 5 cells done: distillation helps in 4, hurts in 0 of 4**" in text


def test_html_escapes_and_has_a_plot_for_each_data_set():
    other = replace(CELLS["plain_1_0"], data=DataSummary("cifar10", 1, 9, 9, 9, 9, (3, 32, 32)))
    page = suite.html(manifest(description="<script>"), {**CELLS, "plain_1_0": other}, {}, dict.fromkeys(CELLS, ()))
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert page.count("<svg") == 3
    # A recipe on two data sets has two lines of gains, which can be told apart.
    assert ">plain, cifar10<" in page
    assert ">plain, mnist<" in page


def test_csv_has_a_row_for_each_arm_of_each_cell():
    lines = suite.csv(manifest(), CELLS).splitlines()
    assert lines[0].startswith("cell,recipe,digest,seed,data,normal_class")
    assert len(lines) == 1 + 4 * len(CELLS)
    assert sum(line.startswith("plain_0_1,plain,") for line in lines) == 4


def grid(*places):
    """Return the groups of a suite whose cells stand at the places, all done, on the data sets of these."""
    cells = [{"name": f"a_{at}", "values": {**place, "seed": 0}, "digest": "0" * 12} for at, place in enumerate(places)]
    data = [replace(CELLS["plain_0_0"].data, name=place.get("data.name", "mnist")) for place in places]
    results = {f"a_{at}": replace(CELLS["plain_0_0"], data=one) for at, one in enumerate(data)}
    return groups(Manifest.model_validate({"schema": 1, "name": "s", "cells": cells}), results)


def test_labels_stay_while_a_suite_goes_on():
    every, (first, *_) = groups(manifest(), CELLS), groups(manifest(), {"plain_0_0": CELLS["plain_0_0"]})
    assert first.label == every[0].label == "plain"


def test_a_data_set_is_named_with_a_row_where_the_label_does_not_say_it():
    names = [{"data.name": data, "strategy.name": name} for data in ("mnist", "cifar10") for name in ("hint", "latent")]
    found = grid(*names)
    assert [one.label for one in found] == ["hint", "latent"] * 2
    assert named(found) == ["hint, mnist", "latent, mnist", "hint, cifar10", "latent, cifar10"]
    assert named(found[:2]) == ["hint", "latent"]
    assert named([replace(one, label=f"{one.label}-{one.data}") for one in found])[0] == "hint-mnist"


@pytest.mark.parametrize("length", [3, 90])
def test_names_of_rows_stay_within_the_plot_of_gains(length):
    """Broken where they are too long, and then with as much more room."""
    words = "word " * (length // 5) + "end"
    (plot,) = [one for one in suite.plots(grid({"recipe": "a"}, {"recipe": "b"})) if one.name == "suite-gains"]
    long = suite.gains([replace(one, label=words) for one in grid({"recipe": "a"})])
    lines = re.findall(r">([a-z ]*end|word[a-z ]*)<", long.svg)
    assert " ".join(lines) == words
    assert all(width(line) <= 292 for line in lines)
    heights = [float(one.svg.split('viewBox="0 0 340 ')[1].split('"')[0]) for one in (plot, long)]
    assert heights == [40 + 2 * 34, 40 + 34 + 9 * (len(lines) - 1)]
