import dataclasses

import pytest

from kdcompress.reporting.markdown import markdown
from kdcompress.results import Named
from tests.reporting.fake_runs import make_deployment, make_record, make_result

SPARSE = ["nothing", "teacher and control", "anomalies", "control", "all files but the result"]


def row(text, name):
    line = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_verdict_comes_first(record):
    assert markdown(record).startswith("**Distillation helps**: the student's AUROC is 1.20 points above")


def test_the_table_sets_the_arms_side_by_side(record):
    text = markdown(record)
    assert "|  | teacher | teacher after | control | student |" in text
    assert row(text, "AUROC") == ["95.93 %", "96.21 %", "94.66 %", "95.86 %"]
    assert row(text, "Parameters") == ["3.11 M", "3.11 M", "13.4 k", "13.4 k"]
    assert row(text, "MACs") == ["52.8 M", "52.8 M", "228 k", "228 k"]
    assert row(text, "Peak memory") == ["29.5 MB", "29.5 MB", "3.21 MB", "3.21 MB"]
    assert row(text, "Latency, batch 64") == ["77.9 ms", "77.9 ms", "1.67 ms", "1.67 ms"]


@pytest.mark.parametrize(
    "words",
    [
        "| Parameters | 203 : 1 |",
        "| operator | fvcore | thop | torch |\n",
        "| Rank correlation of the scores (Spearman) | 0.914 |",
        "| FPR, wanted | 5.00 % |",
        "| step 2: joint | 95.86 % |",
        "| macs\\_ratio | 231 : 1 | 231 : 1 | 0.047 |",
        "| conv\\_transpose | 81,024 | – | 81,024 |",
        "Not counted by one counter or more: aten::leaky\\_relu × 9, aten::tanh × 1.",
        "| Labels used in training | no |",
        "| Intervals cover | test samples only, not training seeds |",
        "| hardware.cpu | AMD EPYC 9R14 |",
        "| In all | 6 min 43 s |",
        "strategy: {name: progressive}",
        "kdcompress distill recipe.yaml",
    ],
)
def test_everything_that_a_run_found_is_told(record, words):
    assert words in markdown(record)


def test_files_are_set_side_by_side_where_they_were_measured(record):
    assert "As exported files" not in markdown(record)
    text = markdown(dataclasses.replace(record, deployment=make_deployment()))
    assert "|  | teacher | student | student, int8 |" in text
    assert row(text, "Latency, batch 1, median") == ["1.80 ms", "0.060 ms", "0.090 ms"]
    assert row(text, "Samples a second, batch 64, 2 threads") == ["1,600", "80,000", "70,000"]
    assert row(text, "AUROC of the file") == ["95.93 %", "95.86 %", "95.71 %"]
    assert row(text, "Decisions flipped") == ["0 of 10,500", "0 of 10,500", "31 of 10,500"]
    assert row(text, "Passes the gate") == ["no", "yes", "yes"]
    assert "30.0 times as fast as its teacher's for one sample, 50.0 times in batches of 64" in text
    assert "Timed on AMD EPYC 9R14." in text
    assert "teacher.onnx: scores differ." in text


def test_files_that_were_not_timed_or_have_no_teacher_are_shown_too(record):
    made = make_deployment()
    alone = dataclasses.replace(made, teacher=None, int8=None, notes=("int8: no layers",))
    text = markdown(dataclasses.replace(record, deployment=alone))
    assert "|  | student |" in text
    assert "times as fast" not in text
    untimed = dataclasses.replace(alone, student=dataclasses.replace(made.student, cost=None), machine={})
    text = markdown(dataclasses.replace(record, deployment=untimed))
    assert "Latency, batch 1, median" not in text
    assert "Timed on" not in text
    assert "| File size | 60.0 kB |" in text


@pytest.mark.parametrize("missing", SPARSE)
def test_what_is_missing_is_a_dash_and_never_a_python_word(records, missing):
    text = markdown(records[missing])
    assert not {"None", "nan", "True", "False", "{}", "()"} & set(text.replace("|", " ").split())


def test_names_cannot_break_the_table_or_the_page():
    hostile = "<script>|`*\n# x"
    record = make_record(make_result(strategy=Named(hostile)), recipe="```\nname: x\n```")
    text = markdown(record)
    assert "<script>" not in text
    assert row(text.replace("\\|", "/"), "Strategy") == ["&lt;script&gt;/\\`\\* # x"]
    assert "````yaml\n```\nname: x\n```\n````" in text


def test_two_reports_of_one_run_are_the_same(record):
    assert markdown(record) == markdown(dataclasses.replace(record))
