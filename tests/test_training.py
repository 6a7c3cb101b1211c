import pytest
import torch

from kdcompress import training
from kdcompress.engine.events import Spilled
from kdcompress.pipeline import run
from kdcompress.rundir import RunDir
from kdcompress.training import Course
from tests.recipes import tiny

# Prepared, the 4800 training normals take 1.23 MB a side.
DATA = {"name": "synthetic", "train": 6000, "test": 60, "height": 8, "width": 8}
ARMS = ("teacher", "student", "teacher_after", "student-stage-1")


def memory(engine, device, tmp_path):
    """Return what a recipe's training may take."""
    recipe = tiny(engine=engine)
    return training._memory(Course(recipe, RunDir(tmp_path), device, torch.zeros(1), lambda *_: None), "student")


def test_half_of_what_is_available_is_taken_where_the_recipe_does_not_say(tmp_path, monkeypatch):
    monkeypatch.setattr("kdcompress.training.available_bytes", lambda: 1_000)
    cpu = torch.device("cpu")
    assert memory({}, cpu, tmp_path).left == 500
    assert memory({"memory_bytes": 2**20}, cpu, tmp_path).left == 2**20
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (600, 9_000))
    assert memory({}, torch.device("cuda"), tmp_path).left == 300


@pytest.mark.slow
def test_a_run_with_little_memory_has_the_digest_and_the_bits_of_one_with_enough(tmp_path, monkeypatch):
    monkeypatch.setattr("kdcompress.profiling.profile.latency_ms", lambda *_, **__: 1.0)
    told = []

    def finished(root, **engine):
        steps = [{"teacher": "frozen", "epochs": 1}, {"teacher": "joint", "epochs": 1}]
        strategy = {"name": "progressive", "batch_size": 500, "steps": steps}
        taught = {"architecture": {"name": "ede_gan", "base": 4, "latent": 4}}
        taught["strategy"] = {"name": "scratch", "epochs": 1, "batch_size": 500}
        plain = {"precision": "fp32", "channels_last": False, "folded": False, "threads": 1, **engine}
        recipe = tiny(data=DATA, teacher=taught, strategy=strategy, engine=plain, control=False)
        return run(recipe, root, observe=lambda arm, event: told.append((arm, event)))

    inside = finished(tmp_path / "inside")
    assert not [event for _, event in told if isinstance(event, Spilled)]
    filed = finished(tmp_path / "filed", memory_bytes=2**20)
    said = {(arm, event.what) for arm, event in told if isinstance(event, Spilled)}
    assert ("teacher", "the student's prepared input") in said
    assert ("student", "the teacher's prepared input") in said
    assert ("student", "the teacher's outputs 'reconstruction'") in said
    assert filed.rundir.digest == inside.rundir.digest
    for arm in ARMS:
        assert filed.rundir.bundle(arm).read_bytes() == inside.rundir.bundle(arm).read_bytes(), arm
    losses = [[row["losses"] for row in one.rundir.history()] for one in (inside, filed)]
    assert losses[0] == losses[1]
    left = {path.name for path in (filed.rundir.path / "checkpoints").iterdir()}
    assert left <= {".lock"}
