import csv
import io
import re

import pytest

from kdcompress.reporting import table
from kdcompress.results import HURTS
from tests.reporting.fake_runs import BARE, make_record, make_result, without_anomalies


def test_there_is_one_row_for_each_arm_of_each_run():
    found = table.rows([make_result(), make_result(**BARE, seed=1)])
    assert [(row["seed"], row["arm"]) for row in found] == [
        (0, "teacher"),
        (0, "teacher_after"),
        (0, "control"),
        (0, "student"),
        (1, "student"),
    ]


def test_rows_hold_the_numbers_of_the_result_file():
    result = make_result()
    student = table.rows([result])[-1]
    assert student["auroc"] == result.student.auroc
    assert (student["kd_gain_low"], student["kd_gain_high"]) == result.kd_gain_ci95
    assert student["latency_ms_batch_64"] == result.student.latency_ms["batch_64"]
    assert student["macs_ratio"] == result.compression.macs


def test_what_is_said_of_the_pair_stands_in_one_row_only():
    assert [row["kd_gain"] for row in table.rows([make_result()])] == [None, None, None, 0.012]


def test_csv_round_trips_with_names_that_need_quotes():
    found = table.rows([make_result(recipe='a "b", c\nd'), without_anomalies().result])
    read = list(csv.DictReader(io.StringIO(table.csv_text(found))))
    assert read == [{name: "" if value is None else str(value) for name, value in row.items()} for row in found]
    assert read[0]["recipe"] == 'a "b", c\nd'
    assert float(read[0]["auroc"]) == found[0]["auroc"]


def test_columns_that_only_some_rows_have_are_empty_elsewhere():
    assert table.csv_text([{"a": 1}, {"a": 2, "b": 3}]) == "a,b\n1,\n2,3\n"


def make_records():
    hurt = make_result(verdict=HURTS, kd_gain=-0.02, kd_gain_ci95=(-0.03, -0.01), seed=1)
    return [make_record(), make_record(hurt), make_record(make_result(**BARE, recipe="<script>", seed=2))]


def test_the_comparison_counts_verdicts_before_it_lists_runs():
    text = table.comparison_markdown(make_records())
    assert text.startswith("**Distillation helps in 1 of 2 runs, hurts in 1**")
    assert "| 2 | pkdgan-mnist, mnist 8 | 1 | hurts | −2.00 (−3.00 to −1.00) |" in text
    assert "| 3 | &lt;script&gt;, mnist 8 | 2 | – | – | 95.86 % | – | – |" in text


def test_runs_without_verdicts_claim_nothing():
    text = table.comparison_markdown([make_record(make_result(**BARE))])
    assert text.startswith("**1 run without a verdict on distillation**")


def test_the_comparison_page_has_all_runs_and_one_plot():
    page = table.comparison_html(make_records())
    assert page == table.comparison_html(make_records())
    assert page.count("<svg") == 1
    assert page.count('<th scope="row">') == 3
    assert "<script" not in page
    assert "None" not in page


def test_runs_without_auroc_have_no_plot_and_still_a_table():
    page = table.comparison_html([without_anomalies()])
    assert "Not drawn: no run has an AUROC." in page
    assert "<svg" not in page


@pytest.mark.parametrize(
    ("places", "text"), [([4], "4"), ([1, 2], "1, 2"), ([1, 2, 3], "1–3"), ([1, 2, 3, 5, 6, 9], "1–3, 5, 6, 9")]
)
def test_row_numbers_that_follow_each_other_are_a_range(places, text):
    assert table.ranges(places) == text


def test_points_share_a_label_only_where_their_labels_would_overlap():
    wide, high = table.NEAR
    points = {1: (0.0, 0.0), 2: (0.9 * wide, 0.9 * high), 3: (1.1 * wide, 0.0), 4: (0.0, -1.1 * high), 5: (0.0, 0.0)}
    assert table.together(points) == [[1, 2, 5], [3], [4]]


def test_students_that_coincide_in_the_plot_share_one_label():
    svg = table.scatter([make_result(seed=seed) for seed in range(4)]).svg
    assert svg.count(">1–4<") == 1
    assert not {">1<", ">2<", ">3<", ">4<"} & set(re.findall(">[0-9]<", svg))
