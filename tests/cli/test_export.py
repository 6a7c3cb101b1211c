import csv
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from kdcompress.__main__ import main
from kdcompress.rundir import RunDir
from tests.recipes import TINY


def call(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit, match=r"\d+") as end:
        main([str(one) for one in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return end.value.code, captured.out, captured.err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run directory with an exported student."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**TINY, "control": False}))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
        with pytest.raises(SystemExit, match="0"):
            main(["distill", str(folder / "tiny.yaml"), "--out", str(folder / "runs"), "--quiet"])
    (path,) = folder.glob("runs/tiny/*")
    with pytest.raises(SystemExit, match="0"):
        main(["export", str(path), "--to", "onnx"])
    return path


def test_a_run_directory_means_its_student(run, capsys):
    assert (run / "student.onnx").exists()
    code, out, err = call(capsys, "export", run, "--to", "pt2", "--out", run / "deep" / "er", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert said["file"] == str(run / "deep" / "er" / "student.pt2")
    assert said["bytes"] == (run / "deep" / "er" / "student.pt2").stat().st_size
    assert said["parity"]["passed"] is True
    assert said["parity"]["inputs"] == 1000
    assert "60 test samples, 20 held-out normals and 920 perturbed ones of synthetic" in said["parity"]["source"]
    assert said["parity"]["auroc"] == said["parity"]["auroc_exported"]


def test_parity_of_the_right_and_of_another_detector(run, capsys):
    code, out, err = call(capsys, "parity", run, run / "student.onnx")
    assert (code, err) == (0, "")
    for word in ("passed", "held-out normals", "rank correlation", "AUROC", "flipped"):
        assert word in out
    code, out, err = call(capsys, "parity", run / "teacher.safetensors", run / "student.onnx", "--json")
    assert code == 1
    assert json.loads(out)["passed"] is False
    assert json.loads(out)["first_difference"] == "latent"
    assert "does not compute what the bundle does" in err


def test_data_that_are_said_are_what_is_compared_on(run, capsys):
    said = call(capsys, "parity", run, run / "student.onnx", "--set", "data.test=40", "--json")[1]
    assert json.loads(said)["source"].startswith("40 test samples")
    code, _, err = call(capsys, "parity", run, run / "student.onnx", "--set", "data.height=9")
    assert code == 2
    assert "takes input of shape (1, 8, 8), synthetic has (1, 9, 8)" in err


def test_without_the_data_inputs_are_made_up(run, capsys, tmp_path, monkeypatch):
    import dataclasses

    from kdcompress import bundle

    monkeypatch.setenv("KDCOMPRESS_DATA", str(tmp_path))
    loaded = bundle.load(run / "student.safetensors")
    for index, data in enumerate(({}, {"name": "adbench"}, {"name": "folder"}, {"name": "gone"})):
        path = tmp_path / f"{index}.safetensors"
        bundle.save(path, dataclasses.replace(loaded.manifest, data=data), loaded.pair)
        code, out, err = call(capsys, "parity", path, run / "student.onnx", "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["source"] == "1000 made-up inputs"


def test_p_values_stand_beside_decisions(run, tmp_path, capsys):
    assert call(capsys, "export", run, "--out", tmp_path, "--p-values")[0] == 0
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "x.png")
    code, out, _ = call(capsys, "predict", tmp_path / "student.onnx", tmp_path / "x.png", "--p-values")
    (row,) = csv.DictReader(io.StringIO(out))
    assert (code, 0 < float(row["p_value"]) <= 1) == (0, True)
    lines = tmp_path / "scores.jsonl"
    assert call(capsys, "predict", tmp_path / "student.onnx", tmp_path / "x.png", "--out", lines, "--p-values")[0] == 0
    assert json.loads(lines.read_text())["p_value"] == float(row["p_value"])
    plain = call(capsys, "predict", tmp_path / "student.onnx", tmp_path / "x.png")[1]
    assert plain.splitlines()[0] == "file,row,score,decision"


def test_a_users_own_table_is_found_by_the_runs_recipe(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    random = np.random.default_rng(0)
    np.savez("mine.npz", X=random.normal(size=(200, 3)), y=np.r_[np.zeros(150, int), np.ones(50, int)])
    (tmp_path / "mine.yaml").write_text(
        "data: {name: table, path: mine.npz}\nstudent: {name: mlp_ae, base: 8, depth: 1, latent: 2}\n"
        "strategy: {name: scratch, epochs: 1}\n"
    )
    assert call(capsys, "distill", "mine.yaml")[0] == 0
    (folder,) = Path("runs/mine").iterdir()
    code, out, err = call(capsys, "export", folder, "--out", "device", "--quantile", "0.9", "--json")
    assert (code, err) == (0, "")
    assert "test samples" in json.loads(out)["parity"]["source"]
    assert call(capsys, "parity", folder / "student.safetensors", "device/student.onnx")[0] in (0, 1)
    assert json.loads(call(capsys, "evaluate", folder, "--json")[1])["false_alarms"]["normals"] > 0


def test_two_files_are_profiled_in_one_run(run, capsys, monkeypatch):
    monkeypatch.setattr("kdcompress.exporting.timing._SECONDS", 0.02)
    given = ("profile", run / "student.onnx", "--against", run / "student.onnx")
    code, out, _ = call(capsys, *given)
    assert code == 0
    assert re.search(r"file +\S+ bytes +\S+ bytes +1\.00 : 1", out)
    said = json.loads(call(capsys, *given, "--json")[1])
    assert said["against"]["bytes"] == said["bytes"]
    code, _, err = call(capsys, "profile", "ede_gan", "--input", "1,8,8", "--against", run / "student.onnx")
    assert (code, "--against: compares exported files" in err) == (2, True)


def test_files_of_a_run_are_timed_side_by_side_and_reported(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("kdcompress.exporting.timing._SECONDS", 0.02)
    own = tmp_path / run.name
    shutil.copytree(run, own)
    code, out, err = call(capsys, "profile", own)
    assert code == 0
    assert re.search(r"Latency, batch 1, median +\S+ ms +\S+ ms", out)
    assert "teacher: timed ..." in err
    found = json.loads((own / "deployment.json").read_text())
    assert found["student"]["cost"]["bytes"] == found["student"]["bytes"] < found["teacher"]["bytes"]
    assert found["student"]["agreement"]["passed"]
    for report in ("report.md", "report.html"):
        assert "As exported files" in (own / report).read_text()
        (own / report).unlink()
    assert call(capsys, "report", own)[0] == 0
    assert "As exported files" in (own / "report.md").read_text()
    assert {one.name for one in own.glob("*.onnx")} == {"student.onnx"}

    (own / "teacher.safetensors").unlink()
    import dataclasses

    from kdcompress import bundle

    loaded = bundle.load(own / "student.safetensors")
    bundle.save(own / "student.safetensors", dataclasses.replace(loaded.manifest, data={"name": "gone"}), loaded.pair)
    code, out, err = call(capsys, "profile", own, "--json")
    assert (code, out) == (2, "")
    assert "measured on 60 test samples, 20 held-out normals and 920 perturbed ones of synthetic" in err
    assert json.loads((own / "deployment.json").read_text()) == found
    (own / "deployment.json").unlink()
    code, out, _ = call(capsys, "profile", own, "--json")
    said = json.loads(out)
    assert (code, said["teacher"], said["int8"]) == (0, None, None)
    assert said["notes"] == ["int8: calibration needs held-out normals, and the run's data are not on this machine"]
    assert "Compared on 1000 made-up inputs." in (own / "report.md").read_text()

    code, _, err = call(capsys, "profile", own, "--input", "1,8,8")
    assert (code, "a run knows its input and its teacher" in err) == (2, True)
    code, _, err = call(capsys, "profile", own, "--device", "cuda")
    assert (code, "timed on the CPU, not on 'cuda'" in err) == (2, True)
    with RunDir(own).lock():
        code, _, err = call(capsys, "profile", own)
    assert (code, "another process is working on this run" in err, "timed ..." in err) == (2, True, False)
    for text, said in (
        ("{", "not JSON"),
        ('{"schema": 1}', "student: missing"),
        (json.dumps({**found, "schema": 2}), "schema 2, known here: 1"),
        (json.dumps({**found, "student": {**found["student"], "bytes": float("nan")}}), "finite number"),
    ):
        (own / "deployment.json").write_text(text)
        code, _, err = call(capsys, "report", own)
        assert (code, said in err) == (2, True), err
    code, _, err = call(capsys, "profile", own)
    assert (code, "not nan; measured again" in err) == (0, True), err
    assert json.loads((own / "deployment.json").read_text())["schema"] == 1


def test_profile_of_an_exported_file(run, capsys):
    code, out, err = call(capsys, "profile", run / "student.onnx", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert said["bytes"] == (run / "student.onnx").stat().st_size
    assert (said["threads"], said["input_shape"]) == (1, [1, 8, 8])
    for batch in ("batch_1", "batch_64"):
        assert 0 < said["latency_ms"][batch]["p50"] <= said["latency_ms"][batch]["p95"]
    assert set(said["samples_per_second"]) == {"one_thread", "all_threads"}
    assert said["samples_per_second"]["one_thread"] == pytest.approx(
        64_000 / said["latency_ms"]["batch_64"]["p50"], rel=0.9
    )
    if sys.platform == "linux":
        # Less than its weights cannot be, and more than a large model is no growth of a small one.
        assert 20_000 < said["peak_memory_bytes"] < 100_000_000
    assert "8 x 8" in call(capsys, "profile", run / "student.onnx", "--input", "1,8,8")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "{run}", "--to", "onx"], "did you mean 'onnx'?"),
        (["export", "{run}", "--to", "int9"], "did you mean 'int8'? (allowed: int8, onnx, pt2)"),
        (["export", "{run}", "--to", "pt2", "--kit"], "its example runs ONNX files"),
        (["export", "{run}", "--to", "int8", "--min-spearman", "2"], "--min-spearman"),
        (["export", "{run}", "--to", "int8", "--min-spearman", "nan"], "expected a number from 0 to 1, not nan"),
        (["parity", "{run}", "{run}/student.onnx", "--max-flipped", "nan"], "expected a number from 0 to 1, not nan"),
        (
            ["parity", "{run}", "{run}/student.onnx", "--max-auroc-lost", "-nan"],
            "expected a number from 0 to 1, not -nan",
        ),
        (["parity", "{run}", "{run}/student.onnx", "--tolerance", "nan"], "expected a number from 0 to 0.1, not nan"),
        (["export", "{run}", "--outputs", "map"], "allowed: reconstruction, anomaly_map"),
        (["export", "{run}", "--tolerance", "0"], "--tolerance"),
        (["export", "no.safetensors"], "no such file"),
        (["export", "{run}/student.onnx"], "an exported file by its name (allowed: the bundle that it was made of"),
        (["parity", "S.ONNX", "S.ONNX"], "an exported file by its name"),
        (["evaluate", "S.PT2"], "an exported file by its name"),
        (["predict", "S.ONNX", "x.png"], "S.ONNX: no such file"),
        (["profile", "S.ONNX"], "S.ONNX: no such file"),
        (["export", "."], "not a finished run"),
        (["parity", "{run}", "no.onnx"], "no such file"),
        (["parity", "{run}", "{run}/student.safetensors"], "allowed endings: .onnx, .pt2"),
        (["parity", "{run}", "x" * 300 + ".onnx"], "cannot read: File name too long"),
        (["profile", "{run}/student.onnx", "--input", "1,9,9"], "takes 1,8,8"),
        (["predict", "{run}/student.onnx", "no.png"], "no such file or folder"),
        (["predict", "{run}/student.onnx", "x.csv", "--on-bad", "skp"], "did you mean 'skip'?"),
        (["predict", "{run}/student.onnx"], "INPUT"),
        (
            ["predict", "{run}/student.onnx", "x.csv", "--columns", ","],
            "--columns: no name in ',' (allowed: names with",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_input_gets_one_message_and_code_two(run, capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, *(one.format(run=run) for one in arguments))
    assert (code, out) == (2, "")
    assert said in err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    raw = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    for index, one in enumerate(raw):
        Image.fromarray(one).save(folder / f"{index}.png")
    np.savez(tmp_path / "t.npz", X=raw[:, None])
    return folder


def test_a_threshold_of_ones_own_decides(run, images, capsys):
    rows = list(csv.DictReader(io.StringIO(call(capsys, "predict", run, images)[1])))
    least, second, _ = sorted(float(row["score"]) for row in rows)
    between = str((least + second) / 2)
    found = csv.DictReader(io.StringIO(call(capsys, "predict", run, images, "--threshold", between)[1]))
    assert sorted(row["decision"] for row in found) == ["0", "1", "1"]
    code, _, err = call(capsys, "predict", run, images, "--threshold", "nan")
    assert (code, "no finite number" in err) == (2, True)
    code, _, err = call(capsys, "predict", run, images, "--scale", "unit")
    assert (code, "--scale: is for a file of another tool" in err) == (2, True)
    code, _, err = call(capsys, "predict", run / "student.onnx", images, "--score-output", "score")
    assert (code, "says itself what its score is" in err) == (2, True)


LOOSE = ("--max-flipped", "0.1", "--max-auroc-lost", "0.05")
"""The student is hardly trained, and its AUROC is of 60 samples."""


@pytest.fixture(scope="module")
def kit(run):
    """The same student with layers in eight bits, and its kit."""
    with pytest.raises(SystemExit, match="0"):
        main(["export", str(run), "--to", "int8", "--kit", "--out", str(run / "device"), *LOOSE])
    return run / "device" / "kit"


def test_an_int8_file_is_compared_scored_and_timed_as_others_are(run, kit, images, capsys):
    file = kit.parent / "student.int8.onnx"
    assert (kit / file.name).read_bytes() == file.read_bytes()
    code, out, err = call(capsys, "parity", run, file, *LOOSE, "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert said["limits"] == {"spearman": 0.99, "flipped": 0.1, "auroc_lost": 0.05}
    assert 0.99 <= said["spearman"] < 1
    code, out, err = call(capsys, "parity", run, file, "--min-spearman", "1")
    assert code == 1
    assert "FAILED" in out
    assert "at least 1 is wanted (--min-spearman)" in err
    rounded, plain = (call(capsys, "predict", one, images)[1] for one in (file, run / "student.onnx"))
    assert len(rounded.splitlines()) == 4
    assert rounded != plain
    assert json.loads(call(capsys, "profile", file, "--json")[1])["bytes"] == file.stat().st_size


def test_a_runs_kit_has_the_runs_numbers(run, kit):
    found = json.loads((run / "result.json").read_text())
    card = (kit / "model_card.md").read_text()
    assert f"| AUROC | {100 * found['student']['auroc']:.2f} % (" in card
    assert f"tested on {found['data']['test_normal']} normals and {found['data']['test_anomaly']} anomalies" in card
    assert f"| Run | {found['digest']} |" in card


def test_a_kit_says_where_it_is_and_is_not_mixed_with_another(run, kit, capsys, tmp_path):
    code, out, _ = call(capsys, "export", run / "student.safetensors", "--kit", "--out", tmp_path, "--json")
    assert code == 0
    assert json.loads(out)["kit"] == str(tmp_path / "kit")
    assert "made of a bundle alone" in (tmp_path / "kit" / "model_card.md").read_text()
    code, _, err = call(capsys, "export", run, "--kit", "--out", kit.parent)
    assert code == 2
    assert "holds something else already: student.int8.onnx" in err
    assert not (kit.parent / "student.onnx").exists()


def test_a_kit_that_cannot_be_written_leaves_no_model_behind(run, capsys, tmp_path):
    (tmp_path / "kit").write_bytes(b"")
    code, _, err = call(capsys, "export", run, "--kit", "--out", tmp_path)
    assert code == 2
    assert f"{tmp_path / 'kit'} is a file" in err
    assert list(tmp_path.iterdir()) == [tmp_path / "kit"]


def test_int8_needs_the_data(run, capsys, tmp_path):
    import dataclasses

    from kdcompress import bundle

    loaded = bundle.load(run / "student.safetensors")
    path = tmp_path / "alone.safetensors"
    bundle.save(path, dataclasses.replace(loaded.manifest, data={}), loaded.pair)
    code, out, err = call(capsys, "export", path, "--to", "int8")
    assert (code, out) == (2, "")
    assert "calibration needs held-out normals" in err
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("target", ["student.onnx", "student.safetensors", ""])
def test_predict_writes_a_line_for_each_sample(run, images, capsys, target):
    code, out, err = call(capsys, "predict", run / target if target else run, images, images.parent / "t.npz")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(one["file"], one["row"]) for one in rows] == [
        *((str(images / f"{index}.png"), "") for index in range(3)),
        *((str(images.parent / "t.npz"), str(index)) for index in range(3)),
    ]
    scores = [float(one["score"]) for one in rows]
    assert scores[:3] == pytest.approx(scores[3:], rel=1e-6)
    assert {one["decision"] for one in rows} <= {"0", "1"}


def test_predict_skips_or_fails_on_what_is_bad(run, images, capsys, tmp_path):
    (images / "1.png").write_bytes(b"no image")
    code, out, err = call(capsys, "predict", run, images, "--out", tmp_path / "s.csv")
    assert (code, out) == (2, "")
    assert f"{images / '1.png'}: not an image" in err
    assert not (tmp_path / "s.csv").exists()
    code, out, err = call(capsys, "predict", run, images, "--on-bad", "skip", "--out", tmp_path / "s.jsonl")
    assert (code, out) == (0, "")
    assert err.splitlines()[0].startswith(f"skipped: {images / '1.png'}")
    assert err.splitlines()[1] == "skipped 1 bad samples"
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [one["file"] for one in lines] == [str(images / "0.png"), str(images / "2.png")]
    assert all(isinstance(one["score"], float) and one["decision"] in (0, 1) for one in lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "s.jsonl", "t.npz"]


@pytest.mark.parametrize("name", ["images/0.png", "t.npz", "link.npz", "hard.npz", "s.onnx"])
def test_predict_does_not_write_over_what_it_reads(run, images, capsys, tmp_path, name):
    (tmp_path / "s.onnx").write_bytes((run / "student.onnx").read_bytes())
    (tmp_path / "link.npz").symlink_to("t.npz")
    (tmp_path / "hard.npz").hardlink_to(tmp_path / "t.npz")
    before = (tmp_path / name).read_bytes()
    code, out, err = call(capsys, "predict", tmp_path / "s.onnx", images, tmp_path / "t.npz", "--out", tmp_path / name)
    assert (code, out) == (2, "")
    assert f"--out: {tmp_path / name} is {'TARGET' if name == 's.onnx' else 'an INPUT'}" in err
    assert (tmp_path / name).read_bytes() == before


def test_predict_does_not_write_over_what_a_run_or_a_suite_keeps(run, images, capsys, tmp_path):
    own, suite = tmp_path / run.name, tmp_path / "suite"
    shutil.copytree(run, own, ignore=shutil.ignore_patterns("*.onnx", "deep", "device"))
    (tmp_path / "link").symlink_to(own)
    suite.mkdir()
    (suite / "suite.json").write_text("{}")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.parent != images}
    kept = [path for path in before if own in path.parents]
    assert {path.name for path in kept} > {"result.json", "recipe.yaml", "report.md", "student.safetensors", ".lock"}
    later = [own / "deployment.json", own / "checkpoints" / "student.checkpoint", tmp_path / "link" / "result.json"]
    cells = [suite / name for name in ("suite.json", "digits_seed-0.json", "digits_seed-0.history.jsonl", "report.csv")]
    for out in (*kept, *later, *cells):
        code, shown, err = call(capsys, "predict", run / "student.onnx", images, "--out", out)
        assert (code, shown, f"--out: {out} is kept by the run or the suite" in err) == (2, "", True), out
    assert before == {one: one.read_bytes() for one in before}
    for out in (own / "mine.csv", suite / "mine.jsonl", tmp_path / "result.json"):
        assert call(capsys, "predict", run / "student.onnx", images, "--out", out)[0] == 0


def test_predict_does_not_write_over_what_stdin_reads(run, capsys, tmp_path, monkeypatch):
    (tmp_path / "in.csv").write_text("1,2,3\n")
    with (tmp_path / "in.csv").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        code, _, err = call(capsys, "predict", run / "student.onnx", "-", "--out", tmp_path / "in.csv")
    assert (code, (tmp_path / "in.csv").read_text()) == (2, "1,2,3\n")
    assert "is an INPUT" in err


@pytest.mark.parametrize("out", ["s.csv", ""])
def test_predict_writes_a_name_that_is_not_utf_8_as_it_is(run, images, capfdbinary, tmp_path, out):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    (images / "0.png").rename(name)
    with pytest.raises(SystemExit, match="0"):
        main(["predict", str(run / "student.onnx"), name, *(["--out", str(tmp_path / out)] if out else [])])
    written = (tmp_path / out).read_bytes() if out else capfdbinary.readouterr().out
    assert written.splitlines()[1].startswith(os.fsencode(name) + b",,")


@pytest.mark.parametrize("ending", ["", ".png", ".csv", ".npz", ".parquet"])
def test_predict_tells_of_a_name_that_no_file_can_have(run, capsys, ending):
    code, out, err = call(capsys, "predict", run / "student.onnx", "x" * 300 + ending)
    assert (code, out) == (2, "")
    assert "File name too long" in err
    assert "unexpected" not in err


@pytest.mark.parametrize("target", ["x" * 300, "x" * 300 + ".onnx"])
def test_predict_tells_of_a_target_or_an_out_that_no_file_can_have(run, images, capsys, target):
    code, out, err = call(capsys, "predict", target, images)
    assert (code, out) == (2, "")
    assert f"{target}: cannot read: File name too long" in err
    code, out, err = call(capsys, "predict", run / "student.onnx", images, "--out", target)
    assert (code, out) == (2, "")
    assert f"{target}: cannot write: File name too long" in err


@pytest.mark.parametrize(("out", "written"), [("", None), ("s.csv", "file,row,score,decision\n"), ("s.jsonl", "")])
def test_predict_says_that_nothing_was_scored(run, images, capsys, tmp_path, out, written):
    (images / "0.png").write_bytes(b"no image")
    options = ["--out", tmp_path / out] if out else []
    code, shown, err = call(capsys, "predict", run, images / "0.png", "no.npz", "--on-bad", "skip", *options)
    assert code == 2
    assert err.splitlines()[-2:] == ["skipped 2 bad samples", "kdcompress: no sample was scored: all of them are bad"]
    if out:
        assert (tmp_path / out).read_text() == written
    else:
        assert shown == "file,row,score,decision\n"


def test_progress_shows_after_two_seconds_on_a_terminal(monkeypatch, capsys):
    from kdcompress.cli import predict

    now = iter([0.0, 1.0, 1.9, 2.1, 2.2, 2.9])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with predict._progress() as count:
        for _ in range(5):
            count()
    err = capsys.readouterr().err
    assert err.count("scored") == 2
    assert "\r3 scored, 1 a second" in err
