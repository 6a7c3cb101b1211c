import os
import subprocess
import sys

import pytest
import yaml

from kdcompress.__main__ import main
from tests.recipes import TINY


def call(capsys, *arguments):
    with pytest.raises(SystemExit, match=r"\d+") as end:
        main([str(one) for one in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return end.value.code, captured.err


def written(tmp_path, **sections):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({**TINY, **sections}))
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["distil"], "did you mean 'distill'?"),
        (["distill", "mnits"], "did you mean 'mnist'?"),
        (["distill", "no/such.yaml"], "no such recipe file"),
        (["distill", "digits", "--device", "tpu"], "allowed: auto, cpu, cuda"),
        (["distill", "digits", "--set", "data.normal_class=12"], "data.normal_class"),
        (["distill", "digits", "--set", "strategy.steps.0.epochs=0"], "strategy.steps.0.epochs"),
        (["distill", "digits", "--set", "strategy.steps.7.epochs=1"], "no place in a list of 2"),
        (["distill", "digits", "--set", "seed=.inf"], "seed"),
        (["distill", "digits", "--set", "student.macs_ratio=1e12"], "cannot be reached"),
        (["distill", "digits", "--set", "student.width=0.5"], "only one of"),
        (["distill", "digits", "--set", "nonsense"], "KEY=VALUE"),
        (["distill", "digits", "--no-such"], "--no-such"),
        (["search", "digits", "--max-macs", "0"], "--max-macs"),
        (["search", "digits", "--max-latency-ms", "nan"], "no finite number"),
        (["search", "digits", "--trials", "0"], "--trials"),
        (["search", "digits"], "search: missing, and 'progressive' has no learning rate to vary"),
        (["search", "digits", "--set", "search.strategy.steps.0.epoch=[1,2]"], "did you mean 'epochs'?"),
        (["search", "digits", "--set", "search.student.latnt=[1,2]"], "did you mean 'latent'?"),
        (["distill", "digits", "--set", "search.x=[1,2]"], "use `kdcompress search`"),
        (["list", "recipies"], "did you mean 'recipes'?"),
        (["list", "losses", "--pairs"], "it is of strategies, not of losses (allowed: strategies)"),
        (["list", "--pairs"], "not of all kinds (allowed: strategies)"),
        (["show", "strategy", "progresive"], "did you mean 'progressive'?"),
        (["show", "strateg", "x"], "did you mean"),
        (["profile", "ede_gan"], "--input"),
        (["profile", "ede_gan", "--input", "1,x"], "positive whole numbers"),
        (["profile", "ede_gan", "--input", "1,²8,28"], "positive whole numbers"),
        (
            ["profile", "ede_gan", "--input", "3,1000000,1000000"],
            "too many numbers (allowed: fewer than 2,147,483,648)",
        ),
        (["predict", "x.onnx", "x.png", "--score-output", "y", "--input", f"3,{10**20},3"], "too many numbers"),
        (["report", ".", "--format", ""], "allowed: csv, html, json, md, svg"),
        (["profile", "ede_gan", "--input", "1,4,4"], "1 x 8 x 8 to 4 x 256 x 256"),
        (["profile", "ede_gun", "--input", "1,8,8"], "did you mean 'ede_gan'?"),
        (["profile", "no.safetensors"], "no such file"),
        (["evaluate", "no.safetensors"], "no such file"),
        (["report", "nowhere"], "no finished run"),
        (["report", ".", "--format", "htm"], "did you mean 'html'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_input_gets_one_message_and_code_two(capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, err = call(capsys, *arguments)
    assert code == 2
    assert said in err
    assert not list(tmp_path.glob("runs/*/*/result.json"))


def test_a_side_of_thousands_of_digits_is_told_in_a_line(capsys):
    code, err = call(capsys, "profile", "ede_gan", "--input", "9" * 5000)
    assert (code, len(err) < 200, "too many numbers" in err) == (2, True, True)


def test_problems_of_structure_and_of_options_are_named_together(capsys, tmp_path):
    path = written(
        tmp_path,
        data={"name": "digits", "normal_class": 10},
        student={"name": "ede_gan", "width": -1, "base": 0, "norm": "foo"},
        strategy={"name": "progresive"},
        seed=-1,
    )
    for command in ("check", "distill"):
        code, err = call(capsys, command, path)
        assert code == 2
        for said in ("student.width", "student.base", "student.norm", "data.normal_class", "'progressive'", "seed"):
            assert err.count(said) == 1, said


def test_a_folder_does_not_hide_a_shipped_recipe(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert call(capsys, "check", "digits") == (0, "")


def test_check_finds_what_only_planning_shows(capsys):
    code, err = call(capsys, "check", "digits", "--set", "student.macs_ratio=1e9")
    assert code == 2
    assert "digits.yaml" in err
    assert "cannot be reached" in err


def test_all_problems_are_named_at_once(capsys, tmp_path):
    path = written(tmp_path, data={"name": "synthetik"}, strategy={"name": "progressive", "batch_size": -1})
    code, err = call(capsys, "distill", path, "--out", tmp_path / "runs")
    assert code == 2
    assert "did you mean 'synthetic'?" in err
    assert "strategy.batch_size" in err
    assert str(path) in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data: {name: digits\nteacher: x", "line 2"),
        ("data: {name: digits}\ndata: {name: mnist}\n", "duplicate key 'data'"),
        ("- 1\n- 2\n", "mapping"),
        ("", "mapping"),
        ("data: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("grid: {seed: [1]}\ndata: {name: digits}\n", "kdcompress benchmark"),
    ],
)
def test_bad_yaml(capsys, tmp_path, text, said):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    code, err = call(capsys, "distill", path)
    assert code == 2
    assert said in err


def test_data_that_are_not_there(capsys, tmp_path):
    code, err = call(capsys, "distill", "mnist", "--set", f"data.root={tmp_path}", "--out", tmp_path / "runs")
    if code == 0:
        pytest.skip("there is a network: the data were downloaded")
    assert code == 2
    assert str(tmp_path) in err
    assert "KDCOMPRESS_DATA" in err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_output_folder(capsys, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    code, err = call(capsys, "distill", written(tmp_path), "--out", locked)
    assert code == 2
    assert str(locked) in err


def test_a_file_where_the_output_folder_should_be(capsys, tmp_path):
    (tmp_path / "runs").write_text("in the way")
    code, err = call(capsys, "distill", written(tmp_path), "--out", tmp_path / "runs")
    assert code == 2
    assert str(tmp_path / "runs") in err
    assert (tmp_path / "runs").read_text() == "in the way"


def test_cuda_where_there_is_none(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, err = call(capsys, "distill", written(tmp_path), "--device", "cuda", "--out", tmp_path / "runs")
    assert code == 2
    assert "no CUDA device" in err


def test_an_unexpected_error_is_one_line_and_code_one(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("kdcompress.pipeline.run", lambda *_, **__: 1 / 0)
    code, err = call(capsys, "distill", written(tmp_path))
    assert code == 1
    assert err.count("\n") == 1
    assert "--debug" in err


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="2"):
        main(["distill", "no.yaml"])
    from kdcompress.errors import InputError

    with pytest.raises(InputError, match=r"no\.yaml"):
        main(["distill", "no.yaml", "--debug"])


def test_an_interrupted_command_that_keeps_nothing_does_not_say_that_it_goes_on(capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("kdcompress.prediction.load", interrupted)
    code, err = call(capsys, "predict", "a.onnx", "b.csv")
    assert (code, err.strip()) == (130, "kdcompress: interrupted; the same command starts anew")


def test_an_interrupt_is_code_130_and_the_same_command_goes_on(capsys, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("kdcompress.pipeline.run", interrupted)
        code, err = call(capsys, "distill", written(tmp_path), "--out", tmp_path / "runs")
    assert code == 130
    assert "same command" in err


def test_a_reader_that_goes_away_is_no_traceback():
    process = subprocess.run(
        f"{sys.executable} -m kdcompress list | head -1", shell=True, capture_output=True, text=True
    )
    assert "Traceback" not in process.stderr
