import pytest

from kdcompress.errors import InputError, RecipeError
from kdcompress.resolve import resolve
from kdcompress.stage import constant, cosine, fed
from kdcompress.strategies import STRATEGIES
from kdcompress.strategies.progressive import Step
from kdcompress.strategies.updates import COMPARED, DistilWeights, OwnWeights, projections
from kdcompress.types import Interface
from tests.recipes import tiny

PROGRESSIVE = STRATEGIES["progressive"]
CRITIC = {"real_logit": (), "fake_logit": (), "real_features": (2,), "fake_features": (2,)}
GAN = Interface({"latent": (8,), "reconstruction": (1, 4, 4), "latent_of_reconstruction": (8,)}, CRITIC)
AUTOENCODER = Interface({"latent": (8,), "reconstruction": (1, 4, 4)})
SMALL = Interface({"latent": (3,), "reconstruction": (1, 4, 4), "latent_of_reconstruction": (3,)}, CRITIC)

DISTIL = {"distil_latent", "distil_reconstruction", "distil_latent_of_reconstruction"}
OWN = {"reconstruction", "latent_consistency", "feature_matching"}


def plan(stage):
    return {update.parts: {term.name for term in update.terms} for update in stage.updates}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Step("frozen"), {("student.detector",): DISTIL}),
        (Step("frozen", gan=True), {("student.detector",): DISTIL | OWN, ("student.critic",): {"critic"}}),
        (
            Step("joint"),
            {("student.detector",): DISTIL, ("teacher.detector",): OWN, ("teacher.critic",): {"critic"}},
        ),
        (
            Step("joint", gan=True),
            {
                ("student.detector",): DISTIL | OWN,
                ("student.critic",): {"critic"},
                ("teacher.detector",): OWN,
                ("teacher.critic",): {"critic"},
            },
        ),
        (
            Step("joint", teacher_distils=True),
            {("student.detector",): DISTIL, ("teacher.detector",): OWN | DISTIL, ("teacher.critic",): {"critic"}},
        ),
    ],
)
def test_the_four_structures_of_the_paper(step, expected):
    (stage,) = PROGRESSIVE(GAN, GAN, steps=(step,))
    assert plan(stage) == expected


@pytest.mark.parametrize("gan", [False, True])
@pytest.mark.parametrize("kind", ["frozen", "joint"])
def test_single_steps_are_progressive_ones_of_length_one(kind, gan):
    options = {"epochs": 3, "learning_rate": 0.01, "schedule": "constant"}
    more = {"teacher_learning_rate": 0.02, "teacher_distils": True} if kind == "joint" else {}
    single = STRATEGIES[kind](GAN, GAN, gan=gan, batch_size=5, averaging=0.5, **options, **more)
    assert single == PROGRESSIVE(GAN, GAN, steps=(Step(kind, gan=gan, **options, **more),), batch_size=5, averaging=0.5)


def test_by_default_it_is_the_papers_two_steps():
    first, second = PROGRESSIVE(GAN, GAN)
    assert not any(part.startswith("teacher") for part in first.trained())
    assert {"teacher.detector", "teacher.critic"} <= second.trained()


def test_steps_keep_their_epochs_rates_and_schedules():
    steps = (
        Step("frozen", epochs=3, learning_rate=0.1),
        Step("joint", epochs=4, schedule="constant", teacher_learning_rate=0.2),
    )
    first, second = PROGRESSIVE(GAN, GAN, steps=steps, batch_size=5, averaging=0.9)
    assert (first.epochs, second.epochs) == (3, 4)
    assert (first.schedule, second.schedule) == (cosine, constant)
    assert first.updates[0].optimizer.learning_rate == 0.1
    assert {u.optimizer.learning_rate for u in second.updates if u.parts[0].startswith("teacher")} == {0.2}
    assert {stage.batch_size for stage in (first, second)} == {5}
    assert {stage.averaging for stage in (first, second)} == {0.9}


def test_a_pair_without_critics_and_second_latents_uses_what_both_have():
    stages, left_out = fed(PROGRESSIVE(AUTOENCODER, GAN, steps=(Step("frozen", gan=True),)), AUTOENCODER, GAN)
    assert plan(stages[0]) == {("student.detector",): {"distil_latent", "distil_reconstruction", "reconstruction"}}
    assert sorted(left_out) == [
        "student.critic needs real_logit, fake_logit",
        "student.distil_latent_of_reconstruction needs own latent_of_reconstruction",
        "student.feature_matching needs real_features, fake_features",
        "student.latent_consistency needs latent_of_reconstruction",
    ]


def test_a_teacher_without_a_critic_is_trained_along_without_one():
    stages, left_out = fed(PROGRESSIVE(GAN, AUTOENCODER, steps=(Step("joint"),)), GAN, AUTOENCODER)
    assert "teacher.critic" not in stages[0].trained()
    assert "teacher.detector" in stages[0].trained()
    assert "teacher.feature_matching needs real_features, fake_features" in left_out


def test_what_both_can_feed_is_left_as_it_is():
    stages = PROGRESSIVE(GAN, GAN)
    assert fed(stages, GAN, GAN) == (stages, ())


@pytest.mark.parametrize("gan", [False, True])
def test_a_student_that_shares_nothing_with_its_teacher_is_refused(gan):
    other = Interface({"reconstruction": (1, 4, 4)})
    strangers = Interface({"score": ()})
    with pytest.raises(InputError, match=r"nothing to learn .*distil_reconstruction needs other reconstruction"):
        fed(PROGRESSIVE(other, strangers, steps=(Step("frozen", gan=gan),)), other, strangers)


def test_weights_that_leave_nothing_are_refused():
    stages = STRATEGIES["scratch"](GAN, weights=OwnWeights(0, 0, 0, 0))
    with pytest.raises(InputError, match=r"nothing to learn for student\.detector .*all weights are 0"):
        fed(stages, GAN, None)


@pytest.mark.parametrize("gan", [False, True])
@pytest.mark.parametrize("kind", ["frozen", "joint", "progressive"])
def test_a_recipe_that_distils_nothing_is_refused_with_its_key(kind, gan):
    """With the student's own losses there would be something to train, but its control's training."""
    nothing = dict.fromkeys(vars(DistilWeights()), 0)
    options = {"steps": [{"teacher": "joint", "gan": gan}]} if kind == "progressive" else {"gan": gan}
    recipe = tiny(strategy={"name": kind, "distil_weights": nothing, **options})
    said = r"^r\.yaml: strategy\.distil_weights: all are 0, .*\(allowed: one or more of distil_latent, .* above 0\)$"
    with pytest.raises(RecipeError, match=said):
        resolve(recipe, "r.yaml")
    for one in nothing:
        assert resolve(tiny(strategy={"name": kind, "distil_weights": {**nothing, one: 1e-6}, **options}), "r.yaml")


def test_another_latent_size_gets_projections_that_are_trained():
    (stage,) = PROGRESSIVE(SMALL, GAN, steps=(Step("frozen"),))
    assert {(p.output, p.from_size, p.to_size) for p in stage.projections} == {
        ("latent", 3, 8),
        ("latent_of_reconstruction", 3, 8),
    }
    assert "projection" in stage.trained()


def test_images_of_another_size_are_refused():
    other = Interface({"reconstruction": (1, 8, 8)})
    with pytest.raises(InputError, match=r"reconstruction .*same input size"):
        projections(AUTOENCODER, other, COMPARED)


def test_weights_reach_the_terms_and_zero_leaves_one_out():
    (stage,) = PROGRESSIVE(
        GAN,
        GAN,
        steps=(Step("frozen", gan=True),),
        weights=OwnWeights(feature_matching=0.0, reconstruction=7.0),
        distil_weights=DistilWeights(distil_latent=0.5, distil_reconstruction=0.0),
    )
    weights = {term.name: term.weight for term in stage.updates[0].terms}
    assert weights == {
        "reconstruction": 7.0,
        "latent_consistency": 1.0,
        "distil_latent": 0.5,
        "distil_latent_of_reconstruction": 1.0,
    }


def test_without_a_teacher_all_steps_train_on_the_students_own_losses():
    stages = PROGRESSIVE(GAN, None, steps=(Step("frozen"), Step("joint", gan=True)))
    assert [plan(stage) for stage in stages] == [{("student.detector",): OWN, ("student.critic",): {"critic"}}] * 2


def test_scratch_trains_alone_whatever_the_teacher():
    build = STRATEGIES["scratch"]
    assert build(GAN, GAN, epochs=2) == build(GAN, None, epochs=2)
    (stage,), _ = fed(build(AUTOENCODER), AUTOENCODER, None)
    assert plan(stage) == {("student.detector",): {"reconstruction"}}
