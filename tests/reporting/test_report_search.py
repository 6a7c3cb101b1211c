import csv
import dataclasses
import io
import re

import pytest

from kdcompress.reporting import search, suite
from kdcompress.reporting.summary import summary
from kdcompress.results import Selection
from kdcompress.searchdir import Found
from kdcompress.suitedir import Manifest
from tests.reporting.fake_runs import make_arm, make_result

VALUES = {"strategy.learning_rate": 0.0012345, "strategy.queries": ["noise", "mixes"]}
WORTH = {"trial-001": (0.9, 0.4), "trial-002": (0.7, 0.6), "trial-003": (0.5, None)}
RESULTS = {
    name: dataclasses.replace(
        make_result(student=make_arm(worth[0] * 2 - 0.9, 40_000, 0.1), control=make_arm(0.8, 20_000, 0.1)),
        selection=Selection("agreement", *worth),
    )
    for name, worth in WORTH.items()
}
PLAIN = {
    "schema": 1,
    "fingerprint": "0",
    "budget": {"params": 3000},
    "axes": {"strategy.learning_rate": {"from": 1e-4, "to": 0.1, "scale": "log"}},
    "rule": "agreement",
    "trials": [
        *(
            {"name": name, "values": VALUES, "state": "done", "student": one, "control": other}
            for name, (one, other) in WORTH.items()
        ),
        {"name": "trial-004", "values": VALUES, "state": "refused", "why": "too large by far"},
    ],
    "chosen": {"trial": "trial-001", "control": "trial-002", "auroc": 0.9},
}
FOUND = Found.model_validate(PLAIN)


def table(title):
    return next(one for one in search.tables(FOUND, RESULTS) if one.title == title)


def test_words_are_aligned_left_and_figures_right():
    lines = search.markdown("mine", FOUND, RESULTS).splitlines()
    rules = [line for line in lines if line.startswith("| ---")]
    assert rules == [f"| --- | --- |{' ---: |' * 6}", "| --- | --- | --- | --- |", "| --- | --- |"]
    page = search.html("mine", FOUND, RESULTS)
    assert '<td class="said">learning_rate 0.001234, queries noise + mixes</td><td>40.0 k</td>' in page
    assert '<td class="said">too large by far</td>' in page


def test_what_was_searched_is_said_as_it_was_given():
    assert table("Searched").rows == (
        ("strategy.learning_rate", "0.0001 to 0.1, logarithmic"),
        ("at most", "3,000 parameters"),
    )


def test_the_chosen_are_marked_by_what_they_are_chosen_as():
    names = [row[0].replace("\u2011", "-") for row in table("Trials").rows]
    assert names == ["trial-001 (chosen)", "trial-002 (chosen control)", "trial-003"]


def test_both_plots_have_every_network_whose_worth_is_known():
    cost, rule = search.plots(FOUND, RESULTS)
    assert (cost.title, rule.title) == ("Agreement against MACs", "AUROC against agreement")
    for plot in (cost, rule):
        assert ">control</text>" in plot.svg
        assert ">student</text>" in plot.svg


def test_ticks_are_round_numbers():
    (_, rule) = search.plots(FOUND, RESULTS)
    ticks = [float(one) for one in re.findall(r">(\d\d(?:\.\d+)?)</text>", rule.svg)]
    steps = {round(after - before, 6) for before, after in zip(ticks, ticks[1:], strict=False)}
    assert len(ticks) > 2
    assert steps <= {1, 2, 5, 10, 20}


def test_a_name_is_not_broken_at_its_hyphen():
    page = search.html("mine", FOUND, RESULTS)
    assert "trial\u2011001, chosen of 3" in page
    assert "trial-001" not in page


@pytest.fixture(scope="module")
def manifest():
    cells = [{"name": name, "values": VALUES | {"student.latent": n}, "digest": ""} for n, name in enumerate(WORTH)]
    return Manifest.model_validate({"schema": 1, "name": "mine", "cells": cells})


def test_every_trial_has_what_it_is_worth_by_the_rule_in_the_csv(manifest):
    rows = list(csv.DictReader(io.StringIO(suite.csv(manifest, RESULTS))))
    found = {(row["cell"], row["arm"]): row["agreement"] for row in rows}
    assert found["trial-001", "student"] == "0.9"
    assert found["trial-002", "control"] == "0.6"
    assert found["trial-003", "control"] == found["trial-001", "teacher"] == ""


def test_every_trial_has_what_it_is_worth_by_the_rule_in_the_summary(manifest):
    groups = summary(manifest, RESULTS, {})["groups"]
    assert [one["selection_student"]["mean"] for one in groups] == [0.9, 0.7, 0.5]
    assert [one["selection_control"]["mean"] for one in groups if "selection_control" in one] == [0.4, 0.6]


def test_a_suite_has_no_column_of_a_rule(manifest):
    plain = {name: dataclasses.replace(one, selection=None) for name, one in RESULTS.items()}
    assert "agreement" not in suite.csv(manifest, plain).splitlines()[0].split(",")
    assert "selection_student" not in summary(manifest, plain, {})["groups"][0]
