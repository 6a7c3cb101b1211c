import csv
import io
import json
from xml.etree import ElementTree

import pytest
import torch
import yaml

from kdcompress.__main__ import main
from kdcompress.bundle import build
from kdcompress.library import find
from kdcompress.profiling.profile import profile
from kdcompress.rundir import RunDir
from kdcompress.strategies.pairs import table
from tests.recipes import TINY


@pytest.fixture(scope="module", autouse=True)
def _no_clock():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with a recipe that was run."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    with pytest.raises(SystemExit, match="0"):
        main(["distill", str(folder / "tiny.yaml"), "--out", str(folder / "runs"), "--quiet"])
    return folder


def call(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit, match=r"\d+") as end:
        main([str(one) for one in arguments])
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def the_run(tiny):
    (path,) = tiny.glob("runs/tiny/*")
    return RunDir(path)


def test_distill_prints_verdict_table_and_report(tiny, capsys):
    code, out, err = call(capsys, "distill", tiny / "tiny.yaml", "--out", tiny / "runs")
    assert code == 0
    assert err == ""
    for word in ("teacher", "control", "student", "AUROC", "compression", "report.html"):
        assert word in out
    table = out.splitlines()[2:9]
    assert max(map(len, table)) <= 80
    assert not [line for line in table if "…" in line]


def test_distill_json_is_the_result_and_nothing_else(tiny, capsys):
    code, out, err = call(capsys, "distill", tiny / "tiny.yaml", "--out", tiny / "runs", "--json")
    assert code == 0
    assert err == ""
    assert json.loads(out) == json.loads((the_run(tiny).path / "result.json").read_text())


def test_distill_quiet_says_nothing(tiny, capsys):
    assert call(capsys, "distill", tiny / "tiny.yaml", "--out", tiny / "runs", "--quiet") == (0, "", "")


def test_progress_does_not_show_where_there_is_no_terminal(tiny, tmp_path, capsys):
    arguments = ("distill", tiny / "tiny.yaml", "--out", tmp_path, "--fresh", "--set", "control=false")
    assert call(capsys, *arguments)[2] == ""


@pytest.mark.parametrize("arguments", [("check", "digits"), ("check", "mnist"), ("check", "mnist", "--syntax")])
def test_check_says_ok(capsys, arguments):
    code, out, _ = call(capsys, *arguments)
    assert code == 0
    assert out.startswith(f"{find(arguments[1])}: ok")


def test_check_finds_what_syntax_alone_does_not(tmp_path, capsys):
    recipe = {**TINY, "strategy": {"name": "progressive", "batch_size": 0}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    assert call(capsys, "check", tmp_path / "r.yaml", "--syntax")[0] == 0
    code, _, err = call(capsys, "check", tmp_path / "r.yaml")
    assert code == 2
    assert "strategy.batch_size: input should be greater than or equal to 1" in err


@pytest.mark.parametrize("syntax", [(), ("--syntax",)], ids=["whole", "syntax"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"strategy": {"name": "progressive", "batch_sise": 4}},
            ["strategy.batch_sise: ", "did you mean 'batch_size'?"],
        ),
        ({"search": {"strategy.batch_sise": [4, 8]}}, ["strategy.batch_sise: ", "did you mean 'batch_size'?"]),
        ({"search": {"student.macs_ration": [4, 8]}}, ["student.macs_ration: ", "did you mean 'macs_ratio'?"]),
        (
            {"search": {"student.latnt": [4, 8], "student.nam": ["a", "b"]}},
            ["student.latnt: ", "did you mean 'latent'?", "student.nam: "],
        ),
        ({"search": {"student.latnt": {"from": 4, "to": 8}}}, ["student.latnt: ", "did you mean 'latent'?"]),
        (
            {"strategy": {"name": "sequence", "steps": [{"name": "frozen", "epoch": 4}]}},
            ["strategy.steps.0.epoch: ", "did you mean 'epochs'?"],
        ),
    ],
)
def test_check_names_an_unknown_option_wherever_it_stands(tmp_path, capsys, change, said, syntax):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**TINY, **change}))
    code, _, err = call(capsys, "check", tmp_path / "r.yaml", *syntax)
    assert code == 2
    for words in said:
        assert err.count(words) == 1


@pytest.mark.parametrize("kind", ["recipes", "architectures", "data", "strategies", "losses", "counters", "loss"])
def test_list_names_what_there_is(capsys, kind):
    code, out, _ = call(capsys, "list", kind)
    assert code == 0
    assert len(out.splitlines()) > 2


def test_list_without_a_kind_lists_all(capsys):
    out = call(capsys, "list")[1]
    assert all(word in out for word in ("digits", "ede_gan", "progressive", "distil_latent", "fvcore", "cifar10"))


def test_list_pairs_prints_who_can_learn_from_whom(capsys):
    code, out, _ = call(capsys, "list", "strategies", "--pairs")
    assert code == 0
    assert out == table()


def test_show_has_options_defaults_and_docs(capsys):
    out = call(capsys, "show", "strategy", "progressive")[1]
    assert "batch_size" in out
    assert "= 64" in out
    assert "K_l" in out
    assert "samples of one step" in out


def test_show_recipe_prints_its_text(capsys):
    assert call(capsys, "show", "recipe", "digits")[1] == find("digits").read_text()


@pytest.mark.parametrize(
    ("kind", "name"), [("loss", "distil_latent"), ("counter", "thop"), ("data", "mnist"), ("architecture", "ede_gan")]
)
def test_show_works_for_every_kind(capsys, kind, name):
    code, out, _ = call(capsys, "show", kind, name)
    assert code == 0
    assert out.startswith(f"{name}: ")


def test_profile_of_an_architecture_and_of_a_bundle(tiny, capsys):
    code, out, _ = call(capsys, "profile", "ede_gan", "--input", "1,8,8", "--json")
    assert code == 0
    counts = json.loads(out)
    assert counts["counters"]["thop"]["macs"] == counts["counters"]["torch"]["macs"] == counts["macs"]
    code, out, _ = call(capsys, "profile", the_run(tiny).bundle("student"), "--json")
    assert json.loads(out)["macs"] == the_run(tiny).result().student.macs
    assert "FLOPs" in call(capsys, "profile", the_run(tiny).bundle("student"))[1]


@pytest.mark.parametrize(("name", "shape"), [("mlp_ae", (7,)), ("conv1d_ae", (2, 32))])
def test_profile_counts_the_memory_of_rows_and_series_as_floats(capsys, name, shape):
    code, out, _ = call(capsys, "profile", name, "--input", ",".join(map(str, shape)), "--json")
    cost = profile(build(name, {}, shape, seed=0).detector, torch.zeros(1, *shape))
    assert (code, json.loads(out)["peak_memory_bytes"]) == (0, cost.peak_memory_bytes)


def test_evaluate_gives_the_figures_of_the_run(tiny, capsys):
    code, out, _ = call(capsys, "evaluate", the_run(tiny).bundle("student"), "--json")
    assert code == 0
    found, student = json.loads(out), the_run(tiny).result().student
    assert found["auroc"] == student.auroc
    assert found["threshold"] == student.threshold
    assert found["fpr_at_threshold"] == student.fpr_at_threshold


def test_evaluate_takes_other_data(tiny, capsys):
    code, out, _ = call(capsys, "evaluate", the_run(tiny).bundle("student"), "--set", "data.test=20", "--json")
    assert code == 0
    assert json.loads(out)["distinct_scores"] <= 20


def test_report_rebuilds_the_same_files(tiny, tmp_path, capsys):
    code, out, _ = call(capsys, "report", the_run(tiny).path, "--out", tmp_path, "--format", "html,md,csv,json")
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.csv", "report.html", "report.json", "report.md"]
    for name in ("report.html", "report.md"):
        assert (tmp_path / name).read_text() == (the_run(tiny).path / name).read_text()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert [row["arm"] for row in rows] == ["teacher", "teacher_after", "control", "student"]


def test_plots_can_be_files_of_their_own(tiny, tmp_path, capsys):
    call(capsys, "report", the_run(tiny).path, "--out", tmp_path / "one", "--format", "svg")
    call(capsys, "report", tiny / "runs", "--out", tmp_path / "all", "--format", "svg")
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.svg")}
    assert names >= {"one/report-compression.svg", "one/report-roc.svg", "one/report-training.svg"}
    assert any(name.startswith("all/") for name in names)
    for name in names:
        root = ElementTree.parse(tmp_path / name).getroot()  # noqa: S314 - our own file
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert [child.tag.rpartition("}")[2] for child in root][:3] == ["title", "desc", "rect"]


def test_a_report_does_not_take_the_place_of_anothers(tiny, tmp_path, capsys, monkeypatch):
    own, suite = the_run(tiny).path, tmp_path / "suite"
    suite.mkdir()
    (suite / "suite.json").write_text("{}")
    before = (own / "report.html").read_bytes()
    for folder, out in ((tiny / "runs", own), (own, suite), (suite, own)):
        code, shown, err = call(capsys, "report", folder, "--out", out)
        assert (code, shown, f"--out: {out} is the folder of a run or a suite" in err) == (2, "", True)
    monkeypatch.chdir(own)
    assert call(capsys, "report", tiny / "runs")[0] == 2
    assert (own / "report.html").read_bytes() == before
    assert call(capsys, "report", own, "--out", ".", "--format", "md")[0] == 0
    code, _, err = call(capsys, "report", own, "--out", "x" * 300)
    assert (code, "File name too long" in err) == (2, True)


def test_report_of_a_folder_compares_all_of_its_runs(tiny, tmp_path, capsys):
    code, out, _ = call(capsys, "report", tiny / "runs", "--out", tmp_path)
    assert code == 0
    assert "tiny-teacher" in (tmp_path / "report.md").read_text()
