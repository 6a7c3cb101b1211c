"""Teachers that are several, and teachers that have a teacher themselves."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from kdcompress import bundle
from kdcompress.architectures.ensemble import Ensemble
from kdcompress.architectures.modules import MODULES
from kdcompress.errors import InputError, RecipeError
from kdcompress.evaluation import score
from kdcompress.pipeline import run
from kdcompress.recipe import parse
from kdcompress.scale.tasks import tasks
from kdcompress.start import check, resolve_written
from kdcompress.suite import parse as parse_suite
from kdcompress.teachers import teacher_recipes

ROWS = {"name": "digits", "normal_class": 8}
AUTOENCODER = {"architecture": {"name": "mlp_ae", "base": 16}, "strategy": {"name": "response", "epochs": 2}}
NEIGHBOURS = {"architecture": {"name": "nearest_neighbours"}, "strategy": {"name": "fitted"}}
STUDENT = {"name": "score_net", "base": 4, "depth": 1}
RESPONSE = {"name": "response", "epochs": 2, "batch_size": 32}


def recipe(teacher, **more):
    plain = {"name": "it", "data": ROWS, "teacher": teacher, "student": STUDENT, "strategy": RESPONSE, **more}
    return parse(plain, "it.yaml")


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    return run(
        recipe({"ensemble": [AUTOENCODER, {**AUTOENCODER, "seed": 7}, NEIGHBOURS]}), tmp_path_factory.mktemp("e")
    )


def test_an_ensemble_scores_by_the_mean_of_its_standardised_members(several):
    whole = bundle.load(several.rundir.bundle("teacher")).detector
    assert isinstance(whole, Ensemble)
    raw = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    members = np.stack([score(member, raw) for member in whole.members], 1)
    unit, mean, spread = (getattr(whole, name).numpy() for name in ("unit", "mean", "spread"))
    expected = ((np.log1p(members / unit) - mean) / spread).mean(1)
    assert score(whole, raw).tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_over_training_normals_each_member_has_mean_0_and_spread_1(several):
    whole = bundle.load(several.rundir.bundle("teacher")).detector
    from kdcompress.start import load_data

    with torch.no_grad():
        scores = whole(whole.prepare(load_data(several_recipe(several).data).train))["scores"]
    own = (scores / whole.unit).log1p()
    assert own.mean(0).tolist() == pytest.approx(whole.mean.tolist(), abs=1e-4)
    assert own.std(0, correction=0).tolist() == pytest.approx(whole.spread.tolist(), rel=1e-3)


def several_recipe(done):
    import yaml

    return parse(yaml.safe_load(done.rundir.recipe()), "resolved")


def test_members_are_runs_of_their_own_and_differ_by_seed(several):
    resolved, _ = resolve_written(several_recipe(several), "it")
    own = teacher_recipes(resolved)
    assert [one.student.name for one in own] == ["mlp_ae", "mlp_ae", "nearest_neighbours"]
    assert [one.seed for one in own] == [0, 7, 0]
    whole = bundle.load(several.rundir.bundle("teacher")).detector
    first, second, _ = whole.members
    assert not torch.equal(next(first.parameters()), next(second.parameters()))
    stages = {row["stage"] for row in several.rundir.history() if row["arm"] == "teacher"}
    assert stages == {"1: alone", "2: alone"}


def test_the_costs_of_an_ensemble_are_those_of_all_members(several):
    whole = bundle.load(several.rundir.bundle("teacher")).detector
    from kdcompress.profiling.counters import macs
    from kdcompress.types import Scorer

    raw = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    assert several.result.teacher.macs == sum(macs(Scorer(member), raw) for member in whole.members)


def test_a_resolved_recipe_resolves_to_itself_and_keeps_its_digest(several, tmp_path):
    again = run(several_recipe(several), several.rundir.path.parent.parent)
    assert again.rundir.path == several.rundir.path


def test_a_student_can_have_its_size_from_an_ensemble():
    check(recipe({"ensemble": [AUTOENCODER, NEIGHBOURS]}, student={"name": "score_net", "macs_ratio": 10}), "it.yaml")


def test_a_member_that_cannot_be_trained_is_found_before_any_is(tmp_path):
    wrong = {"architecture": {"name": "deep_svdd"}, "strategy": {"name": "scratch"}}
    with pytest.raises(RecipeError, match="in its own training"):
        run(recipe({"ensemble": [AUTOENCODER, wrong]}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_teacher_that_nobody_trained_is_to_blame_itself(tmp_path):
    import kdcompress as kd

    constant = kd.wrap(lambda images: images.reshape(len(images), -1)[:, 0] * 0.0 + 3, input_shape=(1, 8, 8))
    with pytest.raises(InputError, match="all its scores are 3"):
        run(recipe({"architecture": {"name": constant.name}, "strategy": {"name": "fitted"}}), tmp_path)


def test_another_member_is_another_run():
    from kdcompress.recipe import digest

    def of(*members):
        return digest(resolve_written(recipe({"ensemble": list(members)}), "it")[0])

    assert of(AUTOENCODER, NEIGHBOURS) != of(AUTOENCODER, AUTOENCODER)
    assert of(AUTOENCODER, NEIGHBOURS) != of({**AUTOENCODER, "seed": 3}, NEIGHBOURS)
    assert of(AUTOENCODER, NEIGHBOURS) == of(AUTOENCODER, NEIGHBOURS)


ASSISTANT = {"architecture": {"name": "score_net", "base": 16}, "strategy": RESPONSE, "teacher": NEIGHBOURS}


def test_an_assistant_learns_from_its_teacher_and_the_student_from_the_assistant(tmp_path):
    done = run(recipe(ASSISTANT), tmp_path)
    assistant = bundle.load(done.rundir.bundle("teacher"))
    assert assistant.manifest.architecture == "score_net"
    (own,) = teacher_recipes(resolve_written(recipe(ASSISTANT), "it")[0])
    alone = run(own, tmp_path / "alone")
    assert alone.result.teacher is not None
    assert alone.result.control is None, "nobody compares an assistant"
    assert alone.rundir.scores()["student"].tolist() == done.rundir.scores()["teacher"].tolist()
    assert done.result.teacher.auroc == alone.result.student.auroc


def test_an_assistant_can_have_its_size_from_its_teacher(tmp_path):
    teacher = {"architecture": {"name": "mlp_ae", "base": 64}, "strategy": {"name": "response", "epochs": 1}}
    middle = {"architecture": {"name": "mlp_ae", "macs_ratio": 4}, "strategy": RESPONSE, "teacher": teacher}
    small = {"student": {"name": "mlp_ae", "macs_ratio": 3}}
    done = run(recipe(middle, **small), tmp_path)
    (own,) = teacher_recipes(resolve_written(recipe(middle, **small), "it")[0])
    alone = run(own, tmp_path)
    assert alone.result.compression.macs >= 4
    assert done.result.compression.macs >= 3
    assert done.result.teacher.macs == alone.result.student.macs


def test_a_recipe_with_a_teacher_can_teach(tmp_path):
    """A born-again student: the same network once more, with the first one as its teacher."""
    (tmp_path / "first.yaml").write_text(
        json.dumps(
            {
                "data": ROWS,
                "teacher": NEIGHBOURS,
                "student": STUDENT,
                "strategy": RESPONSE,
            }
        )
    )
    plain = {"name": "again", "data": ROWS, "teacher": {"recipe": "first.yaml"}, "student": STUDENT}
    born_again = parse({**plain, "strategy": RESPONSE}, str(tmp_path / "again.yaml"))
    resolved, _ = resolve_written(born_again, "again.yaml")
    assert resolved.teacher.architecture.name == "score_net"
    assert resolved.teacher.teacher.architecture.name == "nearest_neighbours"
    done = run(born_again, tmp_path)
    assert done.result.teacher.macs == done.result.student.macs


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        ({"ensemble": [AUTOENCODER]}, r"teacher\.ensemble: .*at least 2"),
        ({"ensemble": [AUTOENCODER, NEIGHBOURS], "seed": 3}, "give either ensemble or seed"),
        ({"ensemble": [AUTOENCODER, {"bundle": "x.safetensors"}]}, "the student's teacher only"),
        (
            {"ensemble": [AUTOENCODER, {"architecture": {"name": "mlp_aa"}}]},
            r"ensemble\.1\.architecture\.name: .*mlp_ae",
        ),
        ({**NEIGHBOURS, "teacher": {"bundle": "x.safetensors"}}, "the student's teacher only"),
        (
            {**AUTOENCODER, "teacher": {**AUTOENCODER, "strategy": {"name": "frozen"}}},
            r"teacher\.teacher\.strategy\.name",
        ),
        (
            {**ASSISTANT, "teacher": {"architecture": {"name": "mlp_ae", "bass": 3}}},
            r"teacher\.teacher\.architecture.*base",
        ),
    ],
)
def test_what_cannot_teach_is_said_with_its_key(teacher, said):
    with pytest.raises(RecipeError, match=said):
        check(recipe(teacher), "it.yaml")


def test_recipes_that_name_each_other_are_refused(tmp_path):
    for one, other in (("a", "b"), ("b", "a")):
        plain = {"data": ROWS, "teacher": {"recipe": f"{other}.yaml"}, "student": STUDENT, "strategy": RESPONSE}
        (tmp_path / f"{one}.yaml").write_text(json.dumps(plain))
    with pytest.raises(RecipeError, match="would be its own teacher"):
        parse({**plain, "name": "c"}, str(tmp_path / "c.yaml"))


def test_what_is_wrong_with_a_members_recipe_is_named_with_its_place(tmp_path):
    plain = {"name": "c", "data": ROWS, "student": STUDENT, "strategy": RESPONSE}
    plain["teacher"] = {"ensemble": [AUTOENCODER, {"recipe": "teacher-digit"}]}
    with pytest.raises(RecipeError, match=r"teacher\.ensemble\.1\.recipe: unknown recipe 'teacher-digit'"):
        parse(plain, str(tmp_path / "c.yaml"))


def test_a_suite_trains_the_members_before_the_cells_that_share_them():
    suite = {"name": "s", "data": ROWS, "student": STUDENT, "strategy": RESPONSE, "seed": 0}
    suite["teacher"] = {"ensemble": [AUTOENCODER, NEIGHBOURS]}
    suite["grid"] = {"student.base": [4, 5]}
    found = tasks(parse_suite(suite))
    assert [one.kind for one in found] == ["teacher", "cell", "cell"]
    assert found[1].needs == found[2].needs == (found[0].name,)


class Wrong(nn.Module):
    """A network whose scores are of a kind that nobody can learn."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.layer = kind, nn.Linear(64, 2)
        if kind == "features":
            nn.init.constant_(self.layer.weight, torch.nan)

    def forward(self, x):
        found = self.layer(x.flatten(1))
        kinds = {"two": found, "deep": found[:, :1, None], "one": found.mean(), "nan": found[:, 0] * torch.nan}
        return kinds[self.kind] if self.kind in kinds else {"score": x.flatten(1).sum(1), "output": found}


@pytest.fixture
def wrong():
    kinds = ("two", "deep", "one", "nan", "features")
    for kind in kinds:
        MODULES.register(kind)(lambda kind=kind: Wrong(kind))
    yield
    for kind in kinds:
        MODULES._forget(kind)


@pytest.mark.usefixtures("wrong")
class TestAdaptersThatCannotTeach:
    @pytest.mark.parametrize(("kind", "shape"), [("two", r"\[2, 2\]"), ("deep", r"\[2, 1, 1\]"), ("one", r"\[\]")])
    def test_scores_of_another_shape_are_found_without_a_run(self, kind, shape):
        match = rf"it\.yaml: teacher\.adapter\.score: output 'output' is {shape}, not one .*allowed: an output \[N\]"
        with pytest.raises(RecipeError, match=match):
            check(recipe({"adapter": {"name": "module", "of": kind}}), "it.yaml")

    @pytest.mark.parametrize("several", [False, True])
    def test_scores_that_are_no_numbers_are_said_of_the_key_and_not_of_a_learning_rate(self, several, tmp_path):
        adapter = {"adapter": {"name": "module", "of": "nan"}}
        teacher, key = ({"ensemble": [NEIGHBOURS, adapter]}, "ensemble.1.adapter") if several else (adapter, "adapter")
        with pytest.raises(InputError, match=rf"^teacher\.{key}: module: its scores are no finite") as caught:
            run(recipe(teacher), tmp_path)
        assert "learning rate" not in str(caught.value)

    def test_outputs_that_are_no_numbers_are_said_of_the_teacher_and_not_of_the_students_learning_rate(self, tmp_path):
        adapter = {"name": "module", "of": "features", "score": "score", "taps": {"latent": "layer"}}
        given = {"student": {"name": "mlp_ae", "base": 4}, "strategy": {"name": "latent", "epochs": 1}}
        with pytest.raises(InputError, match="^teacher: its output 'latent' has values that are no finite numbers"):
            run(recipe({"adapter": adapter}, **given), tmp_path)
