import re

import pytest

from kdcompress import recipe as recipes
from kdcompress.architectures import ARCHITECTURES
from kdcompress.errors import RecipeError
from kdcompress.recipe import Ref
from kdcompress.resolve import resolve
from kdcompress.strategies import STRATEGIES

GAN = {"architecture": {"name": "ede_gan", "latent": 7, "base": 9, "norm": "batch", "width": 0.75}}


def recipe(**sections):
    return recipes.parse({"name": "r", "data": {"name": "digits"}, "student": {"name": "ede_gan"}, **sections})


def problems(**sections):
    with pytest.raises(RecipeError) as caught:
        resolve(recipe(**sections), "r.yaml")
    assert caught.value.where == "r.yaml"
    # Arrays that other tests of this process gave stand among the data sets.
    return [re.sub(r"samples-[0-9a-f]+, ", "", problem) for problem in caught.value.problems]


@pytest.fixture
def registered(monkeypatch):
    """Return a function that registers a thing for one test."""

    def register(registry, name, item):
        monkeypatch.setattr(registry, "_items", dict(registry._items))
        monkeypatch.setattr(registry, "_descriptions", dict(registry._descriptions))
        registry.register(name)(item)

    return register


def test_a_student_has_its_teachers_options_but_not_its_width():
    student = resolve(recipe(teacher=GAN, student={"name": "ede_gan", "norm": "none"}), "r").student
    assert student.options == {"base": 9, "latent": 7, "depth": None, "norm": "none", "size": None}
    assert student.width == 1.0


def test_a_student_does_not_have_its_teachers_weights(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"weights")
    own = {"name": "module", "of": "net", "score": {"reconstruction": "output"}, "checkpoint": str(tmp_path / "net.pt")}
    resolved = resolve(recipe(teacher={"architecture": own}, student={"name": "module", "of": "net"}), "r")
    assert resolved.teacher.architecture.options["checkpoint"] is not None
    assert resolved.student.options["score"] == {"reconstruction": "output"}
    assert resolved.student.options["checkpoint"] is None


@pytest.mark.parametrize("size", [{"width": 0.5}, {"macs_ratio": 10.0}, {"macs": 10_000}, {"params": 1000}])
def test_a_student_keeps_the_one_size_it_was_given(size):
    student = resolve(recipe(teacher=GAN, student={"name": "ede_gan", **size}), "r").student
    assert {key: getattr(student, key) for key in recipes.SIZES if getattr(student, key) is not None} == size
    assert "width" not in student.options


def test_a_student_of_another_family_inherits_nothing(registered):
    def other(input_shape, *, width: float = 1.0, latent: int = 5):
        raise AssertionError("resolving builds nothing")

    registered(ARCHITECTURES, "other", other)
    student = resolve(recipe(teacher=GAN, student={"name": "other"}), "r").student
    assert student.options == {"latent": 5}


def test_a_student_inherits_from_a_teachers_bundle_too():
    found = resolve(recipe(teacher={"bundle": "x"}), "r", Ref(name="ede_gan", latent=3, width=0.25))
    assert found.student.options["latent"] == 3
    assert found.student.width == 1.0
    assert found.teacher == recipes.Teacher(bundle="x")


def test_a_student_without_a_teacher_has_the_builders_defaults():
    student = resolve(recipe(), "r").student
    assert student.options == resolve(recipe(student={"name": "ede_gan", "latent": 128}), "r").student.options


@pytest.mark.parametrize(("teacher", "name"), [({}, "scratch"), ({"teacher": GAN}, "progressive")])
def test_without_a_strategy_it_depends_on_the_teacher(teacher, name):
    assert resolve(recipe(**teacher), "r").strategy.name == name


@pytest.mark.parametrize(("given", "resolved"), [({}, 3), ({"seed": 8}, 8), ({"seed": 0}, 0)])
def test_a_teacher_has_the_runs_seed_unless_it_has_its_own(given, resolved):
    assert resolve(recipe(seed=3, teacher={**GAN, **given}), "r").teacher.seed == resolved


def test_a_control_needs_a_teacher():
    assert not resolve(recipe(), "r").control
    assert resolve(recipe(teacher=GAN), "r").control
    assert not resolve(recipe(teacher=GAN, control=False), "r").control


def test_every_option_stands_in_a_resolved_recipe():
    found = resolve(recipe(teacher=GAN), "r")
    assert found.data.options == {"normal_class": 0, "validation": 0.25}
    assert set(found.teacher.architecture.options) == {"width", "base", "latent", "depth", "norm", "size"}
    assert {"epochs", "batch_size", "learning_rate", "weights"} <= found.teacher.strategy.options.keys()
    assert set(found.strategy.options["steps"][0]) >= {"teacher", "gan", "epochs", "learning_rate"}


@pytest.mark.parametrize("teacher", [{}, {"teacher": GAN}])
def test_resolving_twice_changes_nothing(teacher):
    once = resolve(recipe(**teacher), "r")
    assert resolve(once, "r") == once


def test_the_recipe_as_written_stays():
    written = recipe(teacher=GAN)
    resolve(written, "r")
    assert written == recipe(teacher=GAN)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"strategy": {"name": "progressive"}},
            "teacher: missing; the strategy 'progressive' needs one (without one: scratch)",
        ),
        (
            {"student": {"name": "ede_gan", "macs_ratio": 10}},
            "student.macs_ratio: needs a teacher (allowed without one: width, macs, params)",
        ),
        (
            {"teacher": {**GAN, "strategy": {"name": "progressive"}}},
            "teacher.strategy.name: 'progressive' needs a teacher itself (without one: scratch)",
        ),
        (
            {"data": {"name": "digit"}},
            "data.name: unknown data set 'digit'; did you mean 'digits'? "
            "(allowed: adbench, cifar10, digits, fashion_mnist, folder, manifest, mnist, nab, series, synthetic, "
            "table)",
        ),
        (
            {"data": {"name": "digits", "normal_class": 12}},
            "data.normal_class: input should be less than or equal to 9, not 12",
        ),
        (
            {"data": {"name": "digits", "normal_clas": 1}},
            "data.normal_clas: unknown key 'normal_clas'; did you mean 'normal_class'? "
            "(allowed: normal_class, validation)",
        ),
        (
            {"student": {"name": "ede_gan", "macs_ration": 10}},
            "student.macs_ration: unknown key 'macs_ration'; did you mean 'macs_ratio'? "
            "(allowed: width, macs_ratio, macs, params, base, latent, depth, norm, size, score)",
        ),
        (
            {"strategy": {"name": "scratch", "learning_rate": float("nan")}},
            "strategy.learning_rate: input should be a finite number, not nan",
        ),
        (
            {"teacher": GAN, "strategy": {"name": "progressive", "steps": [{"epochs": 0}]}},
            "strategy.steps.0.epochs: input should be greater than or equal to 1, not 0",
        ),
        (
            {"teacher": GAN, "strategy": {"name": "progressive", "steps": {"0": {"epochs": 3}}}},
            "strategy.steps: input should be a list, not a mapping",
        ),
        (
            {"strategy": {"name": "scratch", "weights": {"adversarial": float("inf")}}},
            "strategy.weights.adversarial: input should be a finite number, not inf",
        ),
        # What a student inherits is named once, where it stands.
        (
            {"teacher": {"architecture": {"name": "ede_gan", "latent": 0}}},
            "teacher.architecture.latent: input should be greater than or equal to 1, not 0",
        ),
        # An adapter is named as its user wrote it.
        (
            {"teacher": {"adapter": {"name": "onnx", "file": "a.onnx"}}},
            "teacher.adapter.file: a.onnx: no such file",
        ),
        # Pruning is a student.
        (
            {"strategy": {"name": "pruning"}},
            "strategy.name: unknown strategy 'pruning' (allowed: adversarial, attention, fitted, frozen, hint, joint, "
            "latent, logits, maps, progressive, reconstruction, relational, response, scratch, sequence, similarity, "
            "whitened); a network of your own with fewer channels is a student, student: {name: sliced} "
            "(docs/own_detector.md)",
        ),
        # A name that means something to pydantic means nothing in a recipe.
        (
            {"data": {"name": "digits", "model_config": 1}},
            "data.model_config: unknown key 'model_config' (allowed: normal_class, validation)",
        ),
    ],
)
def test_what_is_wrong_is_named(sections, said):
    assert problems(**sections) == [said]


def test_every_problem_is_named_at_once_across_sections():
    found = problems(
        data={"name": "digit", "x": 1},
        teacher={"architecture": {"name": "ede_gan", "latent": 0, "depht": 1}, "strategy": {"name": "scrath"}},
        student={"name": "ede_gan", "base": 0},
        strategy={"name": "progressive", "batch_size": 0, "steps": [{"gan": 3}, {"epoch": 1}]},
    )
    assert [one.partition(":")[0] for one in found] == [
        *("data.name", "teacher.architecture.latent", "teacher.architecture.depht", "teacher.strategy.name"),
        *("student.base", "strategy.steps.0.gan", "strategy.steps.1.epoch", "strategy.batch_size"),
    ]


def test_a_strategy_of_a_plug_in_may_do_without_a_teacher(registered):
    def mine(student, *, epochs: int = 1):
        raise AssertionError("resolving plans nothing")

    registered(STRATEGIES, "mine", mine)
    assert resolve(recipe(strategy={"name": "mine"}), "r").strategy == Ref(name="mine", epochs=1)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=true", "seed: input should be a number, not true"),
        ("strategy.steps.0.epochs=yes", "strategy.steps.0.epochs: input should be a number, not true"),
        ("data.normal_class=off", "data.normal_class: input should be a number, not false"),
        ("strategy.weights.adversarial=true", "strategy.weights.adversarial: input should be a number, not true"),
        ("strategy.steps.1.gan=1", "strategy.steps.1.gan: input should be true or false, not 1"),
        ("control=0", "control: input should be true or false, not 0"),
        ("engine.threads=true", "engine.threads: input should be a number, not true"),
        ("student.macs_ratio=0.5", "student.macs_ratio: input should be greater than or equal to 1, not 0.5"),
    ],
)
def test_truth_values_are_no_numbers(override, said):
    with pytest.raises(RecipeError, match=re.escape(said)):
        resolve(recipes.load("digits", [override]), "digits")
