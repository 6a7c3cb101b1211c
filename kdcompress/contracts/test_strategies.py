"""What every registered strategy must do."""

import inspect

import pytest

from kdcompress import signature
from kdcompress.errors import InputError
from kdcompress.stage import Stage, fed
from kdcompress.strategies import STRATEGIES
from kdcompress.types import Interface

EVERYTHING = Interface(
    {
        "score": (),
        "latent": (8,),
        "reconstruction": (1, 4, 4),
        "latent_of_reconstruction": (8,),
        "logits": (4, 4),
        "features": (4, 4, 6),
        "anomaly_map": (1, 4, 4),
    },
    {"real_logit": (), "fake_logit": (), "real_features": (2,), "fake_features": (2,)},
)
SMALL_LATENT = Interface({**EVERYTHING.outputs, "latent": (3,), "latent_of_reconstruction": (3,)}, EVERYTHING.critic)
REGISTRY = STRATEGIES


def stages(name, student, teacher):
    build = STRATEGIES[name]
    return fed(build(student, teacher, **signature.arguments(build, {})), student, teacher)[0]


def students_rate(stage):
    return [update.optimizer for update in stage.updates if "student.detector" in update.parts]


@pytest.mark.parametrize("student", [EVERYTHING, SMALL_LATENT])
def test_it_trains_the_student_and_every_update_has_terms(name, student):
    built = stages(name, student, EVERYTHING)
    assert built
    assert all(isinstance(stage, Stage) for stage in built)
    # One without a step fits the student's score.
    assert all("student.detector" in stage.trained() or "student" in stage.calibrated for stage in built)
    assert all(update.terms for stage in built for update in stage.updates)


def test_the_control_has_the_same_budget_and_no_teacher(name):
    taught, alone = stages(name, EVERYTHING, EVERYTHING), stages(name, EVERYTHING, None)
    assert len(taught) == len(alone)
    for one, other in zip(taught, alone, strict=True):
        assert (one.epochs, one.batch_size, one.averaging) == (other.epochs, other.batch_size, other.averaging)
        assert [one.schedule(step / 10) for step in range(10)] == [other.schedule(step / 10) for step in range(10)]
        assert students_rate(one) == students_rate(other)
        assert not any(part.startswith("teacher") for part in other.trained())
        assert not other.projections
        assert not any(term.loss.shared or term.on == "teacher" for term in other.terms())


@pytest.mark.parametrize("student", [EVERYTHING, SMALL_LATENT])
def test_all_terms_can_be_fed(name, student):
    for stage in stages(name, student, EVERYTHING):
        for term in stage.terms():
            own, other = (student, EVERYTHING) if term.on == "student" else (EVERYTHING, student)
            assert not term.loss.missing(own, other)


def test_term_names_are_unique_on_each_side(name):
    for stage in stages(name, EVERYTHING, EVERYTHING):
        names = [(term.on, term.name) for term in stage.terms()]
        assert len(names) == len(set(names))


def test_it_is_pure(name):
    assert stages(name, EVERYTHING, EVERYTHING) == stages(name, EVERYTHING, EVERYTHING)


def test_every_option_is_documented_and_has_a_default(name):
    options = signature.options(STRATEGIES[name])
    assert not [option.name for option in options if not option.description or option.default == "required"]


def test_a_pair_without_any_common_term_is_refused(name):
    other = Interface({"other": (4,)})
    if inspect.signature(STRATEGIES[name]).parameters["teacher"].default is None:
        pytest.skip(f"{name} does not need a teacher")
    with pytest.raises(InputError, match="nothing to learn"):
        stages(name, EVERYTHING, other)
