"""Anomaly maps are copied place by place."""

import pytest

from kdcompress import bundle
from kdcompress.architectures import ARCHITECTURES
from kdcompress.errors import InputError
from kdcompress.evaluation.scoring import outputs
from kdcompress.pipeline import run
from kdcompress.recipe import parse
from kdcompress.stage import fed
from kdcompress.start import load_data
from kdcompress.strategies import STRATEGIES
from kdcompress.types import interface

DATA = {"name": "synthetic", "train": 120, "test": 40, "height": 16, "width": 16}
RECIPE = {
    "name": "maps",
    "data": DATA,
    "teacher": {"architecture": {"name": "patch_memory", "patches": 100}, "strategy": {"name": "fitted"}},
    "student": {"name": "map_net", "base": 8, "depth": 2},
    "strategy": {"name": "maps", "epochs": 15, "batch_size": 20, "learning_rate": 5.0e-3},
    "engine": {"precision": "fp32", "channels_last": False, "folded": False, "threads": 1},
}


def offers(name, **options):
    import torch

    return interface(ARCHITECTURES[name]((1, 16, 16), **options), torch.zeros(2, 1, 16, 16, dtype=torch.uint8))


def test_a_student_of_maps_agrees_with_its_teacher_where_an_image_is_odd(tmp_path):
    done = run(parse(RECIPE), tmp_path)
    raw = load_data(parse(RECIPE).data).test
    maps = {
        name: outputs(bundle.load(done.rundir.bundle(name)).detector, raw)["anomaly_map"]
        for name in ("teacher", "student", "control")
    }
    assert maps["student"].shape == maps["teacher"].shape == (len(raw), 1, 16, 16)

    def alike(name):
        mine, theirs = (one.flatten() - one.mean() for one in (maps[name], maps["teacher"].log1p()))
        return float((mine * theirs).sum() / (mine.norm() * theirs.norm()))

    assert alike("student") > alike("control") + 0.1


@pytest.mark.parametrize(
    ("student", "teacher", "lacks"), [("map_net", "conv_ae", "other"), ("score_net", "patch_memory", "own")]
)
def test_a_side_without_maps_is_refused(student, teacher, lacks):
    sides = offers(student), offers(teacher)
    with pytest.raises(InputError, match=f"nothing to learn from the teacher .* needs {lacks} anomaly_map"):
        fed(STRATEGIES["maps"](*sides), *sides)
