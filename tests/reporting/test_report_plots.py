import dataclasses

import matplotlib
import pytest

from kdcompress.reporting import plots, training
from kdcompress.reporting.canvas import COLOURS
from tests.reporting.fake_runs import BARE, make_arm, make_history, make_record, make_result, make_scores


def test_compression_names_every_arm_with_its_auroc(record):
    svg = plots.compression(record.result).svg
    for words in (">teacher<", ">teacher after<", ">control<", ">student<", ">95.93 %<", ">94.66 %<", "MACs"):
        assert words in svg


def test_an_arm_has_its_own_colour_in_every_plot(record):
    for plot in (plots.compression(record.result), plots.roc(record), plots.histograms(record)):
        for arm in ("teacher", "control", "student"):
            assert f"var(--{arm}, {COLOURS[arm]})" in plot.svg, (plot.name, arm)


def test_a_lone_detector_is_drawn_and_named_as_one():
    record = make_record(make_result(**BARE), scores={name: make_scores()[name] for name in ("labels", "student")})
    for plot in (plots.compression(record.result), plots.roc(record), plots.histograms(record)):
        assert ">detector" in plot.svg
        assert "student<" not in plot.svg


def test_the_histogram_says_how_much_lies_beyond_its_axis(record):
    assert "scores beyond count in the outermost bins: teacher 1.00 %" in plots.histograms(record).caption


@pytest.mark.parametrize(
    "scores",
    [
        {},
        {"labels": make_scores()["labels"]},
        {"labels": make_scores()["labels"][:5], "student": make_scores()["student"]},
    ],
)
def test_scores_that_are_missing_or_do_not_fit_are_not_drawn(scores):
    record = make_record(scores=scores)
    assert plots.roc(record).svg == plots.histograms(record).svg == ""
    assert plots.roc(record).caption.startswith("Not drawn")


def test_arms_without_counted_macs_stand_nowhere_and_are_named(record):
    forest = dataclasses.replace(record.result.teacher, macs=0, auroc=0.91)
    plot = plots.compression(dataclasses.replace(record.result, teacher=forest))
    assert "Left out, for no MACs are counted: teacher." in plot.caption
    assert ">91.00 %<" not in plot.svg
    assert ">94.66 %<" in plot.svg


def test_a_detector_without_counted_macs_is_not_drawn():
    plot = plots.compression(make_result(**BARE | {"student": make_arm(0.9, 0, 0.1)}))
    assert plot.svg == ""
    assert plot.caption == "Not drawn. Left out, for no MACs are counted: all arms."


def test_names_with_commas_are_told_apart():
    assert plots.uncounted(["forest, vae: teacher", "trees: teacher"]).endswith(
        ": forest, vae: teacher; trees: teacher."
    )
    assert plots.uncounted(["teacher", "student"]).endswith(": teacher, student.")


def test_epochs_go_on_over_the_stages_of_an_arm():
    courses = {course.arm: course for course in training.courses(make_history())}
    assert list(courses) == ["teacher", "control", "student"]
    assert courses["student"].stages == (("step 1: frozen teacher", 0), ("step 2: joint", 20))
    joint = [curve for curve in courses["student"].curves if curve.loss == "teacher.latent"]
    assert [curve.epochs for curve in joint] == [(21, 22, 23, 24, 25)]


def test_a_third_stage_begins_where_the_second_ended():
    rows = [
        {"arm": "student", "stage": stage, "epoch": epoch, "epochs": 4, "losses": {"student.x": 1.0}}
        for stage in "abc"
        for epoch in range(4)
    ]
    assert training.courses(rows)[0].stages == (("a", 0), ("b", 4), ("c", 8))


def test_losses_of_a_joint_teacher_keep_the_teachers_colour():
    svg = training.training([row for row in make_history() if row["arm"] == "student"]).svg
    assert ">teacher: reconstruction<" in svg
    assert "var(--teacher, " in svg
    assert ">step 2: joint<" in svg


def test_losses_that_are_no_numbers_leave_a_gap():
    rows = [
        {"arm": "student", "stage": "a", "epoch": epoch, "epochs": 3, "losses": {"student.x": value, "student.y": None}}
        for epoch, value in enumerate([0.5, float("nan"), -0.1])
    ]
    (course,) = training.courses(rows)
    assert [(curve.loss, curve.epochs, curve.values) for curve in course.curves] == [("student.x", (1, 3), (0.5, -0.1))]
    assert ">x<" in training.training(rows).svg


def test_without_history_there_is_a_reason_instead_of_a_plot():
    assert training.training(()).svg == ""
    assert training.training(()).caption == "Not drawn: the run has no history."


def test_the_users_matplotlib_settings_neither_matter_nor_change(record):
    before = plots.roc(record)
    with matplotlib.rc_context(
        {"svg.fonttype": "path", "font.size": 30.0, "legend.fontsize": 30.0, "lines.antialiased": False}
    ):
        assert plots.roc(record) == before
        assert matplotlib.rcParams["font.size"] == 30.0
