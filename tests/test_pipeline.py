import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from kdcompress import evaluation
from kdcompress import rundir as rundirs
from kdcompress.bundle import load
from kdcompress.engine.checkpoint import Snapshot
from kdcompress.engine.events import EpochDone, LeftOut, StageDone, Started
from kdcompress.engine.plan import Plan
from kdcompress.errors import InputError, RecipeError
from kdcompress.evaluation import score, threshold
from kdcompress.pipeline import run
from kdcompress.planning import plan
from kdcompress.profiling.counters import macs
from kdcompress.recipe import Ref
from kdcompress.reporting.files import read, write_run
from kdcompress.results import HELPS, HURTS, UNCLEAR, to_json
from kdcompress.rundir import RunDir
from kdcompress.specimens import percentile
from kdcompress.start import check, load_data, resolve_written
from kdcompress.teachers import teacher_recipes
from kdcompress.types import Scorer
from tests.recipes import TINY, tiny

BUNDLES = ("teacher", "teacher_after", "student", "control", "student-stage-1", "control-stage-1")
TIMES = {"seconds", "images_per_second"}


@pytest.fixture(scope="module", autouse=True)
def _no_clock():
    """Timing a detector takes longer than training it here; it is tested where it is at home."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
        yield


@pytest.fixture(scope="module")
def done(_no_clock, tmp_path_factory):
    return run(tiny(), tmp_path_factory.mktemp("undisturbed"))


def bits(finished):
    """Everything of a run but what a clock says."""
    files = {name: finished.rundir.bundle(name).read_bytes() for name in BUNDLES}
    scores = {name: values.tolist() for name, values in finished.rundir.scores().items()}
    history = [{k: v for k, v in row.items() if k not in TIMES} for row in finished.rundir.history()]
    history.sort(key=lambda row: (row["arm"], row["stage"], row["epoch"]))
    return files, scores, history


def test_the_directory_has_the_files_of_the_contract(done):
    names = {path.name for path in done.rundir.path.iterdir()}
    assert names >= {
        "recipe.yaml",
        "environment.json",
        "history.jsonl",
        "teacher.safetensors",
        "student.safetensors",
        "control.safetensors",
        "scores.npz",
        "result.json",
        "report.md",
        "report.html",
    }
    assert done.rundir.path.parent.name == "tiny"
    assert not [name for name in names if name.startswith(".")]
    assert not list((done.rundir.path / "checkpoints").glob("*.checkpoint"))


def test_the_result_has_the_keys_of_the_contract(done):
    plain = json.loads((done.rundir.path / "result.json").read_text())
    arm = {"auroc", "auroc_ci95", "average_precision", "fpr_at_95tpr", "distinct_scores", "params", "macs", "bytes"}
    arm |= {"latency_ms", "peak_memory_bytes"}
    assert list(plain)[0] == "schema"
    assert set(plain["data"]) >= {"name", "normal_class", "train", "validation", "test_normal", "test_anomaly"}
    for name in ("teacher", "student", "control", "teacher_after"):
        assert set(plain[name]) >= arm
    assert set(plain["student"]) >= {"stages", "threshold", "fpr_at_threshold"}
    assert set(plain["compression"]) >= {"macs", "params", "bytes", "latency_batch_1"}
    assert set(plain["counters"]) == {"fvcore", "thop", "torch", "uncounted"}
    assert plain["protocol"]["labels_used_in_training"] is False
    assert plain["protocol"]["eval_mode"] is True
    assert set(plain["fidelity"]) == {"spearman", "decision_agreement"}
    assert set(plain["seconds"]) == {"teacher", "stages", "total"}
    assert plain["verdict"] in {HELPS, UNCLEAR, HURTS}
    assert plain == json.loads(json.dumps(to_json(done.result)))


def test_figures_agree_with_each_other(done):
    r = done.result
    assert r.kd_gain == pytest.approx(r.student.auroc - r.control.auroc)
    assert r.student_minus_teacher == pytest.approx(r.student.auroc - r.teacher.auroc)
    assert r.kd_gain_ci95[0] <= r.kd_gain <= r.kd_gain_ci95[1]
    assert r.compression.macs == r.teacher.macs / r.student.macs
    assert r.student.macs == r.control.macs
    assert r.student.stages[-1].auroc == pytest.approx(r.student.auroc)
    assert r.data.train + r.data.validation == 80


@pytest.mark.parametrize(("metric", "asked"), [("macs_ratio", 3), ("macs", 5000), ("params", 900)])
def test_a_target_is_met_as_closely_as_channels_allow(tmp_path, metric, asked):
    result = run(tiny(student={"name": "ede_gan", metric: asked}, control=False), tmp_path).result
    reached = {"macs_ratio": result.compression.macs, "macs": result.student.macs, "params": result.student.params}
    assert (result.target.metric, result.target.asked) == (metric, asked)
    assert result.target.reached == pytest.approx(reached[metric])
    assert reached[metric] >= asked if metric == "macs_ratio" else reached[metric] <= asked
    assert result.student_architecture.options["width"] == result.target.width


def test_what_is_saved_is_what_was_scored_and_counted(done):
    recipe, _ = resolve_written(tiny(), "recipe")
    data = load_data(recipe.data)
    for name in ("teacher", "teacher_after", "control", "student"):
        detector = load(done.rundir.bundle(name)).detector
        assert score(detector, data.test).tolist() == done.rundir.scores()[name].tolist()
        held_out = done.rundir.scores()[f"validation_{name}"]
        assert score(detector, data.validation).tolist() == held_out.tolist()
        assert getattr(done.result, name).threshold == threshold(held_out, 0.05)
        assert macs(Scorer(detector), data.test[:1]) == getattr(done.result, name).macs


def test_no_detector_is_scored_twice(tmp_path, monkeypatch):
    scored = []

    def score(detector, raw, **how):
        scored.append((len(raw), tuple(float(one.detach().double().sum()) for one in detector.parameters())))
        return plain(detector, raw, **how)

    plain = evaluation.score
    monkeypatch.setattr(evaluation, "score", score)
    run(tiny(), tmp_path)
    # The teacher before and after, and student and control at the end of both steps; on two sets but for step 1.
    assert len(scored) == 2 * 4 + 2
    assert len(set(scored)) == len(scored)


def test_bundles_carry_their_threshold_and_only_the_teacher_its_critic(done):
    for name in ("student", "control"):
        manifest = load(done.rundir.bundle(name)).manifest
        assert manifest.threshold == getattr(done.result, name).threshold
        assert not manifest.critic
    assert load(done.rundir.bundle("teacher")).manifest.critic
    assert load(done.rundir.bundle("teacher")).manifest.threshold == done.result.teacher.threshold


def test_the_joint_step_moved_the_teacher_and_the_frozen_one_is_kept(done):
    before, after = (load(done.rundir.bundle(name)).detector for name in ("teacher", "teacher_after"))
    moved = [bool((value != after.state_dict()[key]).any()) for key, value in before.state_dict().items()]
    assert any(moved)
    trained = next(done.rundir.path.parent.parent.glob("tiny-teacher/*/student.safetensors"))
    again = load(trained).detector.state_dict()
    assert all(bool((value == again[key]).all()) for key, value in before.state_dict().items())


def test_the_resolved_recipe_gives_the_same_run(done, tmp_path):
    plain = yaml.safe_load(done.rundir.recipe())
    from kdcompress.recipe import parse

    recipe, _ = resolve_written(parse(plain), "recipe")
    assert recipe == resolve_written(tiny(), "recipe")[0]


def test_the_teachers_own_recipe_gives_the_teacher(done, tmp_path):
    """Training it by itself and training it on the way to a student are one run with one digest."""
    recipe, _ = resolve_written(tiny(), "recipe")
    (own,) = teacher_recipes(recipe)
    alone = run(own, tmp_path)
    assert done.rundir.path.parent.parent.joinpath(own.name, alone.rundir.path.name, "result.json").exists()
    assert alone.rundir.scores()["student"].tolist() == done.rundir.scores()["teacher"].tolist()
    assert done.result.seconds.teacher > 0
    assert len([row for row in done.rundir.history() if row["arm"] == "teacher"]) == 2


def test_two_runs_give_the_same_bits(done, tmp_path):
    assert bits(run(tiny(), tmp_path)) == bits(done)


def test_the_same_command_again_computes_nothing(done, monkeypatch):
    monkeypatch.setattr("kdcompress.pipeline.train", None)
    again = run(tiny(), done.rundir.path.parent.parent)
    assert again.result == done.result


def test_fresh_starts_beside_and_resuming_takes_the_newest(tmp_path):
    recipe = tiny(control=False, strategy={"name": "scratch", "epochs": 1})
    first = run(recipe, tmp_path)
    second = run(recipe, tmp_path, fresh=True)
    assert second.rundir.path.name == f"{first.rundir.path.name}-2"
    assert first.rundir.result() is not None
    assert run(recipe, tmp_path).rundir == second.rundir


def test_a_missing_report_is_made_again(tmp_path):
    recipe = tiny(control=False, strategy={"name": "scratch", "epochs": 1})
    first = run(recipe, tmp_path)
    (first.rundir.path / "report.html").unlink()
    run(recipe, tmp_path)
    assert (first.rundir.path / "report.html").stat().st_size > 10_000


class Stop(BaseException):
    """A kill: nothing in the program may catch it."""


def stopping_at(number, monkeypatch):
    """Make the process die at its n-th write of a file, before it happens."""
    count = iter(range(10_000))
    real = rundirs.write_atomic

    def write(path, data):
        if next(count) == number:
            raise Stop
        real(path, data)

    for module in ("kdcompress.rundir", "kdcompress.bundle", "kdcompress.environment"):
        monkeypatch.setattr(f"{module}.write_atomic", write)


def writes(tmp_path, monkeypatch):
    made = []
    real = rundirs.write_atomic
    with monkeypatch.context() as patched:
        for module in ("kdcompress.rundir", "kdcompress.bundle", "kdcompress.environment"):
            patched.setattr(f"{module}.write_atomic", lambda path, data: (made.append(path), real(path, data)))
        patched.setattr("kdcompress.pipeline.write_run", lambda rundir: rundir.write_report("", ""))
        run(tiny(), tmp_path)
    return len(made)


def test_a_run_killed_before_any_of_its_writes_continues_to_the_same_bits(done, tmp_path, monkeypatch):
    total = writes(tmp_path / "count", monkeypatch)
    assert total > 30
    monkeypatch.setattr("kdcompress.pipeline.write_run", lambda rundir: rundir.write_report("", ""))
    for number in range(0, total, 3):
        root = tmp_path / str(number)
        with monkeypatch.context() as patched:
            stopping_at(number, patched)
            with pytest.raises(Stop):
                run(tiny(), root)
        assert bits(run(tiny(), root)) == bits(done), f"killed before write {number}"


@pytest.mark.parametrize("number", [0, 3, 9, 17, 30, 41])
def test_a_full_disk_at_any_write_is_one_message_and_nothing_is_lost(done, tmp_path, monkeypatch, number):
    monkeypatch.setattr("kdcompress.pipeline.write_run", lambda rundir: rundir.write_report("", ""))
    count = iter(range(10_000))

    def fsync(descriptor):
        if next(count) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(InputError, match=r"cannot write: No space left on device"):
            run(tiny(), tmp_path)
    assert not list(tmp_path.rglob(".*.safetensors*"))
    assert bits(run(tiny(), tmp_path)) == bits(done)


@pytest.mark.parametrize("rows", [2, 6])
def test_a_process_killed_outright_continues_to_the_same_bits(done, tmp_path, rows):
    """SIGKILL while it trains, several times at other places, then the same command again."""
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(TINY))
    command = [sys.executable, "-m", "kdcompress", "distill", str(file), "--out", str(tmp_path / "runs"), "--quiet"]
    environment = {**os.environ, "KDCOMPRESS_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if sum(len(path.read_text().splitlines()) for path in tmp_path.glob("runs/*/*/history.jsonl")) >= rows:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    process.wait(timeout=60)
    subprocess.run(command, env=environment, check=True, timeout=120)
    finished = next(tmp_path.glob("runs/tiny/*"))
    run_dir = rundirs.RunDir(finished)
    again = type(done)(run_dir, run_dir.result())
    assert bits(again) == bits(done)


def test_the_control_starts_from_the_students_weights(tmp_path):
    """At a learning rate that moves nothing, both are still what they began as."""
    still = {"teacher": "frozen", "gan": True, "epochs": 1, "learning_rate": 1e-30}
    finished = run(tiny(strategy={"name": "progressive", "batch_size": 16, "steps": [still]}), tmp_path)
    assert finished.rundir.scores()["student"].tolist() == finished.rundir.scores()["control"].tolist()
    assert finished.result.kd_gain == 0


def test_the_control_computes_as_the_student_does(tmp_path, monkeypatch):
    """Also where a joint teacher makes another plan the fastest for the student's stage."""
    plans = iter([Plan("bf16"), Plan("fp32"), Plan("bf16"), *[Plan("fp32")] * 10])
    monkeypatch.setattr("kdcompress.engine.plan.choose", lambda *_, **__: next(plans))
    seen = {"teacher": [], "student": [], "control": []}

    def observe(arm, event):
        if isinstance(event, Started):
            seen[arm].append(event.plan.precision)

    run(tiny(engine={"threads": 1}), tmp_path, observe=observe)
    assert seen == {"teacher": ["bf16"], "student": ["fp32", "bf16"], "control": ["fp32", "bf16"]}


def test_the_control_has_the_students_budget(tmp_path):
    seen = {"student": [], "control": []}

    def observe(arm, event):
        if isinstance(event, EpochDone) and arm in seen:
            seen[arm].append((event.row["step"], event.row["learning_rate"]["student.detector"]))

    run(tiny(), tmp_path, observe=observe)
    assert seen["student"] == seen["control"]


def test_without_control(tmp_path):
    result = run(tiny(control=False), tmp_path).result
    assert result.control is None
    assert result.kd_gain is None
    assert result.verdict is None
    assert result.student_minus_teacher is not None


def test_a_teacher_from_a_bundle_is_used_as_it_is(done, tmp_path):
    path = done.rundir.bundle("teacher")
    again = run(tiny(teacher={"bundle": str(path)}), tmp_path)
    assert again.result.teacher.auroc == done.result.teacher.auroc
    assert again.rundir.scores()["student"].tolist() == done.rundir.scores()["student"].tolist()


def test_a_bundle_of_other_input_is_refused(done, tmp_path):
    path = done.rundir.bundle("teacher")
    data = {**TINY["data"], "height": 12}
    with pytest.raises(InputError, match=r"takes input of shape \(1, 8, 8\)"):
        run(tiny(teacher={"bundle": str(path)}, data=data), tmp_path)


def test_a_recipe_without_a_teacher_trains_one_detector(tmp_path):
    recipe = tiny(teacher=None, student={"name": "ede_gan", "base": 4, "latent": 4}, strategy=None)
    finished = run(recipe, tmp_path)
    assert finished.result.strategy.name == "scratch"
    assert finished.result.teacher is finished.result.control is finished.result.compression is None
    assert load(finished.rundir.bundle("student")).manifest.critic


def test_another_latent_size_is_trained_through_a_projection_that_is_not_exported(done, tmp_path):
    finished = run(tiny(student={"name": "ede_gan", "width": 0.5, "latent": 3}), tmp_path)
    manifest = load(finished.rundir.bundle("student")).manifest
    assert manifest.options["latent"] == 3
    keys = load(finished.rundir.bundle("student")).detector.state_dict()
    assert not [key for key in keys if "projection" in key or "maps" in key]
    assert {row["arm"] for row in finished.rundir.history()} == {"teacher", "student", "control"}


def test_data_without_anomalies_give_null_auroc_and_everything_else(tmp_path, monkeypatch):
    from dataclasses import replace

    from kdcompress import start

    real = start.load_data

    def normals_only(ref):
        data = real(ref)
        normal = data.labels == 0
        return replace(data, test=data.test[normal], labels=data.labels[normal])

    monkeypatch.setattr(start, "load_data", normals_only)
    result = run(tiny(), tmp_path).result
    assert result.student.auroc is result.kd_gain is result.verdict is None
    assert result.student.fpr_at_threshold is not None
    assert result.fidelity is not None
    assert result.compression is not None
    assert "null" in (next(tmp_path.glob("tiny/*")) / "result.json").read_text()


def test_test_labels_reach_no_training(tmp_path, monkeypatch, done):
    """With every label turned round, everything that is trained or chosen stays the same to the bit."""
    from dataclasses import replace

    from kdcompress import start

    real = start.load_data
    monkeypatch.setattr(start, "load_data", lambda ref: replace(real(ref), labels=1 - real(ref).labels))
    turned = run(tiny(), tmp_path)
    assert turned.result.student.auroc == pytest.approx(1 - done.result.student.auroc)
    assert turned.result.student.threshold == done.result.student.threshold
    scores, before = turned.rundir.scores(), done.rundir.scores()
    assert all(np.array_equal(scores[name], before[name]) for name in scores if name != "labels")


def test_a_second_process_is_kept_out_until_the_first_is_done(tmp_path, done):
    root = tmp_path
    with pytest.MonkeyPatch.context() as patched:
        stopping_at(20, patched)
        with pytest.raises(Stop):
            run(tiny(), root)
    (path,) = root.glob("tiny/*/")
    with (
        rundirs.RunDir(path).lock(),
        pytest.raises(InputError, match=r"another process is working .*: wait until it is done$"),
    ):
        run(tiny(), root)
    assert bits(run(tiny(), root)) == bits(done)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_process_saves_its_step_and_says_how_to_go_on(done, tmp_path, number):
    recipe = {**TINY, "strategy": {**TINY["strategy"], "steps": [{"epochs": 100_000}]}}
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(recipe))
    command = [sys.executable, "-m", "kdcompress", "distill", str(file), "--out", str(tmp_path / "runs")]
    environment = {**os.environ, "KDCOMPRESS_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while process.poll() is None and not list(tmp_path.glob("runs/tiny/*/checkpoints/student*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip() == "kdcompress: interrupted; the same command goes on where it stopped"
    (run_dir,) = (rundirs.RunDir(path.parent) for path in tmp_path.glob("runs/tiny/*/history.jsonl"))
    rows = [row for row in run_dir.history() if row["arm"] == "student"]
    assert Snapshot.from_bytes(run_dir.checkpoint("student").read()).epoch == len(rows)


def test_a_teacher_that_its_strategy_cannot_train_is_found_by_a_check():
    net = {"name": "transform_net", "base": 4, "depth": 2}
    teacher = {"architecture": net, "strategy": {"name": "scratch"}}
    wrong = tiny(teacher=teacher, student={**net, "width": 0.5}, strategy={"name": "logits"})
    match = "^r.yaml: teacher: in its own training, where it is the student: strategy: nothing to learn for student"
    with pytest.raises(RecipeError, match=match):
        check(wrong, "r.yaml")
    right = tiny(teacher={**teacher, "strategy": {"name": "logits"}}, student=net, strategy={"name": "logits"})
    check(right, "r.yaml")


def test_wrong_input_leaves_no_folder_behind(tmp_path):
    with pytest.raises(InputError, match="cannot be reached"):
        run(tiny(student={"name": "ede_gan", "macs_ratio": 1e9}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_goes_on_where_it_was_begun(tmp_path, done):
    root = tmp_path
    with pytest.MonkeyPatch.context() as patched:
        stopping_at(20, patched)
        with pytest.raises(Stop):
            run(tiny(), root)
    (environment,) = root.glob("tiny/*/environment.json")
    plain = json.loads(environment.read_text())
    environment.write_text(json.dumps({**plain, "device": "cuda"}))
    with pytest.raises(InputError, match=r"begun on cuda"):
        run(tiny(), root)


@pytest.mark.parametrize("damage", [{"a": 1}, {"threads": "x", "device": "cpu", "plans": {}}])
def test_a_damaged_environment_is_named(tmp_path, damage):
    with pytest.MonkeyPatch.context() as patched:
        stopping_at(24, patched)
        with pytest.raises(Stop):
            run(tiny(), tmp_path)
    (environment,) = tmp_path.glob("tiny/*/environment.json")
    environment.write_text(json.dumps(damage))
    with pytest.raises(InputError, match=r"environment\.json is damaged; distill --fresh starts over"):
        run(tiny(), tmp_path)
    assert run(tiny(), tmp_path, fresh=True).result is not None


def test_events_name_the_arm(tmp_path):
    seen = []
    run(tiny(), tmp_path, observe=lambda arm, event: seen.append((arm, type(event))))
    arms = [arm for arm, kind in seen if kind is StageDone]
    assert arms == ["teacher", "student", "student", "control", "control"]


@pytest.mark.parametrize("score", ["joint", "distance"])
@pytest.mark.parametrize("strategy", ["frozen", "whitened"])
def test_a_score_that_no_stage_fits_is_told(strategy, score):
    data = load_data(Ref(**TINY["data"]))
    recipe, _ = resolve_written(
        tiny(student={"name": "ede_gan", "width": 0.5, "score": score}, strategy={"name": strategy, "epochs": 1}), "r"
    )
    said = [one for one in plan(recipe, "", data, None).left_out if "fits" in one]
    unfitted = (strategy, score) == ("frozen", "joint")
    assert said == (
        ["the student's score 'joint' needs a stage that fits it, and 'frozen' has none"] if unfitted else []
    )


TOO_DEEP = {"name": "transform_net", "depth": 6}


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"student": TOO_DEEP}, r"^student: transform_net: depth 6 is too much"),
        ({"student": {"name": "ede_gan", "macs_ratio": 1e9}}, r"^student\.macs_ratio: 1000000000 cannot be reached"),
        (
            {"teacher": {"architecture": TOO_DEEP, "strategy": {"name": "logits"}}, "strategy": {"name": "response"}},
            r"^teacher\.architecture: transform_net: depth 6 is too much",
        ),
    ],
)
def test_what_is_wrong_with_one_side_says_which_it_is(sections, said):
    recipe, _ = resolve_written(tiny(**sections), "r")
    with pytest.raises(InputError, match=said):
        plan(recipe, "", load_data(Ref(**TINY["data"])), None)


FAMILIES = ["ede_gan", "conv_ae"]


@pytest.mark.parametrize("teacher", FAMILIES)
@pytest.mark.parametrize("student", FAMILIES)
def test_any_family_teaches_any_other(tmp_path, teacher, student):
    recipe = tiny(
        teacher={**TINY["teacher"], "architecture": {"name": teacher, "base": 6, "latent": 6}},
        student={"name": student, "width": 0.5, "base": 6, "latent": 6},
    )
    seen = []
    finished = run(recipe, tmp_path, observe=lambda arm, event: seen.append(event))
    said = [index for index, event in enumerate(seen) if isinstance(event, LeftOut)]
    trained = [index for index, event in enumerate(seen) if isinstance(event, EpochDone)]
    same = teacher == student == "ede_gan"
    assert bool(finished.result.left_out) is not same
    assert bool(said) is not same
    assert not said or said[0] < trained[0]
    losses = {name for row in finished.rundir.history() if row["arm"] == "student" for name in row["losses"]}
    assert losses >= {"student.distil_latent", "student.distil_reconstruction"}
    assert ("student.critic" in losses) is (student == "ede_gan")
    assert ("teacher.critic" in losses) is (teacher == "ede_gan")


def test_a_run_shows_its_samples_and_one_without_them_still_reports(done, tmp_path):
    record = read(done.rundir)
    labels, index = record.scores["labels"], record.samples["index"]
    assert record.samples["label"].tolist() == labels[index].tolist()
    for arm in ("teacher", "control", "student"):
        assert f"reconstruction_{arm}" in record.samples
        expected = percentile(labels, record.scores[arm])[index]
        assert record.samples[f"percentile_{arm}"].tolist() == expected.tolist()
    assert (done.rundir.path / "report.html").read_text().count("<img") == 6 * len(index)

    older = RunDir(Path(shutil.copytree(done.rundir.path, tmp_path / "older")))
    (older.path / "samples.npz").unlink()
    write_run(older)
    page = (older.path / "report.html").read_text()
    assert "<img" not in page
    assert "What they see" not in page


def copied(done, tmp_path):
    """A copy of a finished run and its teacher, to damage."""
    shutil.copytree(done.rundir.path.parent.parent, tmp_path / "runs")
    return rundirs.RunDir(tmp_path / "runs" / "tiny" / done.rundir.path.name)


@pytest.mark.parametrize("name", ["student", "student-stage-1", "control", "teacher_after"])
def test_what_is_missing_of_a_stopped_run_is_made_again(done, tmp_path, name):
    damaged = copied(done, tmp_path)
    (damaged.path / "result.json").unlink()
    damaged.bundle(name).unlink()
    assert bits(run(tiny(), tmp_path / "runs")) == bits(done)


def test_a_result_without_its_student_is_no_finished_run(done, tmp_path):
    damaged = copied(done, tmp_path)
    damaged.bundle("student").unlink()
    assert bits(run(tiny(), tmp_path / "runs")) == bits(done)


@pytest.mark.parametrize("other", ["control", "student-stage-1"])
def test_another_detector_in_the_students_place_is_refused(done, tmp_path, other):
    damaged = copied(done, tmp_path)
    (damaged.path / "result.json").unlink()
    shutil.copy(damaged.bundle(other), damaged.bundle("student"))
    with pytest.raises(InputError, match=r"student\.safetensors: not the detector that this run trained; delete it"):
        run(tiny(), tmp_path / "runs")


@pytest.mark.parametrize("damage", [b"", b"{}", None])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    with pytest.MonkeyPatch.context() as patched:
        stopping_at(24, patched)
        with pytest.raises(Stop):
            run(tiny(), tmp_path)
    (path,) = tmp_path.glob("*/*/checkpoints/*.checkpoint")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data) if damage is None else damage)
    with pytest.raises(InputError, match=r"\.checkpoint: damaged; delete it"):
        run(tiny(), tmp_path)
    path.unlink()
    assert run(tiny(), tmp_path).result.student.auroc is not None
