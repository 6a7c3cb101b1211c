import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kdcompress import plugins
from kdcompress.__main__ import main
from tests.plugin_files import clean

__all__ = ["clean"]

EXAMPLES = Path(__file__).parent.parent / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))


def contracts(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "kdcompress.contracts", *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


def test_there_is_one_for_each_kind(tmp_path):
    """In a process of its own: the contracts over all of them at once, from elsewhere."""
    done = contracts(*FILES, "-v", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    for kind in (
        "architecture dense_ae",
        "data set even_digits",
        "data set torch_dataset",
        "strategy three_step",
        "loss distil_huber",
        "counter hooks",
    ):
        assert kind in done.stdout
    for built_in in ("ede_gan", "mnist", "progressive", "critic", "thop"):
        assert f"[{built_in}]" not in done.stdout
    assert not list(tmp_path.iterdir())


def test_the_contracts_find_what_is_wrong_with_a_plug_in(tmp_path):
    text = (EXAMPLES / "distil_huber.py").read_text()
    (tmp_path / "wrong.py").write_text(text.replace('own.aligned["reconstruction"], ', 'own.aligned["latent"], '))
    done = contracts("wrong.py", "-k", "reads", cwd=tmp_path)
    assert done.returncode == 1
    assert "test_it_reads_just_what_it_says[distil_huber]" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["no.py"], "no.py: no such plug-in file"), ([], "usage: python -m kdcompress.contracts FILE.py")],
)
def test_the_contracts_need_a_plug_in(tmp_path, arguments, said):
    done = contracts(*arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_each_is_short_and_says_how_it_is_used(file):
    text = file.read_text()
    lines = text.partition('"""\n\n')[2].splitlines()
    assert len([line for line in lines if line and not line.startswith(("import", "from"))]) < 45
    assert f"--plugin examples/{file.name}" in text


@pytest.mark.usefixtures("clean")
def test_together_they_distil_what_is_not_in_the_package(tmp_path, capsys, monkeypatch):
    """The recipe of the examples, in fewer epochs."""
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    plain = yaml.safe_load((EXAMPLES / "recipe.yaml").read_text())
    files = [EXAMPLES / one for one in plain["plugins"]]
    short = ["--set", "strategy.epochs=1", "--set", "teacher.strategy.epochs=1", "--set", "engine.threads=1"]
    given = [part for file in (*files, EXAMPLES / "hooks.py") for part in ("--plugin", str(file))]
    command = ["distill", str(EXAMPLES / "recipe.yaml"), "--out", str(tmp_path), "--json", *short, *given]
    with pytest.raises(SystemExit, match="0"):
        main(command)
    result = json.loads(capsys.readouterr().out)
    assert result["data"]["name"] == "even_digits"
    assert result["student_architecture"]["name"] == "dense_ae"
    assert result["strategy"]["options"]["loss"] == "distil_huber"
    assert [stage["name"] for stage in result["student"]["stages"]] == ["alone", "after the teacher", "both"]
    assert result["counters"]["hooks"]["macs"] == result["counters"]["fvcore"]["macs"]
    assert 10 <= result["compression"]["macs"] < 12
    rows = [json.loads(line) for line in next(tmp_path.glob("recipe/*/history.jsonl")).read_text().splitlines()]
    taught = {row["stage"]: set(row["losses"]) for row in rows if row["arm"] == "student"}
    assert taught["after the teacher"] == {"student.distil_huber"}


@pytest.mark.usefixtures("clean")
def test_a_network_of_ones_own_is_distilled_as_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    recipe, plugin = EXAMPLES / "own_network.yaml", EXAMPLES / "own_network.py"
    command = ["distill", str(recipe), "--plugin", str(plugin), "--out", str(tmp_path), "--json"]
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--set", "strategy.epochs=1"])
    result = json.loads(capsys.readouterr().out)
    assert result["compression"]["macs"] > 25
    assert result["teacher"]["params"] == 32 * (9 + 1) + 32 * (32 * 9 + 1) + 32 * 16 + 1


@pytest.mark.usefixtures("clean")
def test_a_torch_data_set_is_distilled_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    recipe = {
        "plugins": [str(EXAMPLES / "torch_dataset.py")],
        "data": {"name": "torch_dataset"},
        "teacher": {"architecture": {"name": "conv1d_ae", "base": 8}, "strategy": {"name": "scratch", "epochs": 30}},
        "student": {"name": "conv1d_ae", "width": 0.5},
        "strategy": {"name": "frozen", "epochs": 2},
        "engine": {"threads": 1},
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    command = ["distill", str(tmp_path / "r.yaml"), "--out", str(tmp_path), "--json"]
    with pytest.raises(SystemExit, match="2"):
        main(command)
    assert "a recipe imports no code by itself" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--plugin", str(EXAMPLES / "torch_dataset.py")])
    result = json.loads(capsys.readouterr().out)
    counts = [result["data"][key] for key in ("train", "validation", "test_normal", "test_anomaly")]
    assert counts == [200, 40, 160, 40]
    assert result["teacher"]["auroc"] > 0.95


def test_the_recipe_of_the_examples_wants_its_plug_ins(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["check", str(EXAMPLES / "recipe.yaml")])
    err = capsys.readouterr().err
    for index, name in enumerate(("dense_ae", "even_digits", "three_step", "distil_huber")):
        assert f"plugins.{index}: wants the plug-in {name}.py" in err
    assert plugins.loaded() == ()
