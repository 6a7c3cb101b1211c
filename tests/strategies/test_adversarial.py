"""A student that is to be taken for its teacher, and the judge that tells them apart."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from kdcompress.engine.players import Jury
from kdcompress.errors import InputError
from kdcompress.losses.judged import taken, told
from kdcompress.seeding import derive
from kdcompress.stage import Judge, Side, Stage, Term, constant, fed
from kdcompress.strategies.adversarial import adversarial
from kdcompress.types import interface
from tests.engine.nets import pair, run, same, samples, term, update, weights
from tests.strategies.test_single import IMAGES, planned, teacher_and_student
from tests.strategies.test_single import pair as family

RAW = samples(48)


def stages(student, teacher, **options):
    sides = interface(student, RAW[:2]), interface(teacher, RAW[:2])
    return fed(adversarial(*sides, **{"batch_size": 16, "queries": (), **options}), *sides)[0]


def side(verdict, **outputs):
    return Side(torch.zeros(2, 1), outputs, aligned=outputs, verdict=verdict)


def test_a_judge_that_knows_nothing_costs_both_sides_one_bit():
    unsure = side(torch.zeros(2))
    assert float(taken("latent").compute(unsure, unsure)) == pytest.approx(math.log(2))
    assert float(told("latent").compute(unsure, unsure)) == pytest.approx(math.log(2))


def test_the_losses_are_cross_entropies():
    mine, theirs = torch.tensor([1.0, -3.0]), torch.tensor([2.0, 0.5])
    entropy = F.binary_cross_entropy_with_logits
    wanted = (entropy(mine, torch.zeros(2)) + entropy(theirs, torch.ones(2))) / 2
    assert float(told("latent").compute(side(mine), side(theirs))) == pytest.approx(float(wanted))
    assert float(taken("latent").compute(side(mine), None)) == pytest.approx(float(entropy(mine, torch.ones(2))))


def test_a_judge_sees_the_mean_of_a_map_over_its_places():
    jury = Jury(Judge("features", 5), 0)
    features = torch.randn(3, 4, 2, 5, generator=torch.Generator().manual_seed(0))
    as_map, as_vector = (side(None, features=one) for one in (features, features.mean((1, 2))))
    torch.testing.assert_close(jury(as_map), jury(as_vector))
    assert Jury(None, 0)(as_map) is None


def test_one_step_moves_each_by_its_own_loss_at_the_same_weights():
    """The oracle writes out a hand-written GAN step between two detectors."""
    student, teacher = pair(1, critic=False), pair(2, critic=False)
    twin, jury = copy.deepcopy(student.detector), Jury(Judge("latent", 2), derive(0, "judge"))
    updates = (
        update("student.detector", term("distil_latent", 0.5), Term("taken", taken("latent"), 0.3)),
        update("judge", Term("judge", told("latent"))),
    )
    run((Stage("one", 1, len(RAW), updates, constant, judge=Judge("latent", 2)),), student, teacher, RAW)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.01, betas=(0.5, 0.999))
    latent = twin(RAW)["latent"]
    with torch.no_grad():
        wanted = teacher.detector(RAW)["latent"]
    verdict = jury(side(None, latent=latent))
    loss = 0.5 * F.mse_loss(latent, wanted) + 0.3 * F.softplus(-verdict).mean()
    grads = torch.autograd.grad(loss, list(twin.parameters()), allow_unused=True)
    for param, grad in zip(twin.parameters(), grads, strict=True):
        param.grad = grad
    optimizer.step()
    for name, value in student.detector.state_dict().items():
        torch.testing.assert_close(value, twin.state_dict()[name], msg=name)


def test_the_student_comes_to_be_taken_for_its_teacher_and_that_keeps_its_bits():
    student, teacher = pair(1, critic=False), pair(2, critic=False)
    before = weights(teacher.detector)
    rows = run(stages(student, teacher, epochs=60, own_weight=0, learning_rate=0.02), student, teacher, RAW)
    assert same(weights(teacher.detector), before)
    losses = [row["losses"] for row in rows]
    assert losses[-1]["student.distil_latent"] < 0.1 * losses[0]["student.distil_latent"]
    assert losses[-1]["student.judge"] == pytest.approx(math.log(2), abs=0.05)


def test_the_judge_alone_moves_the_distribution():
    """Without the distance, the student's latents come to have the teacher's mean."""
    student, teacher = pair(1, critic=False), pair(2, critic=False)
    with torch.no_grad():
        teacher.detector.encode.bias += 3

    def away():
        with torch.no_grad():
            both = [one.detector(RAW)["latent"].mean(0) for one in (student, teacher)]
        return float((both[0] - both[1]).norm())

    first = away()
    course = {"epochs": 60, "learning_rate": 0.02, "own_weight": 0}
    run(stages(student, teacher, weight=0, adversarial_weight=1.0, **course), student, teacher, RAW)
    assert away() < 0.5 * first


def test_it_says_what_it_copies():
    teacher, student = teacher_and_student()
    (by_latent,), (by_features,) = (
        planned("adversarial", student, teacher, **options) for options in ({}, {"output": "features"})
    )
    assert by_latent.judge == Judge("latent", 6)
    assert by_features.judge.output == "features"
    assert by_latent.trained() == {"student.detector", "projection", "judge"}
    assert [one.name for one in by_latent.terms()] == [
        *("reconstruction", "distil_latent", "taken_for_teacher", "judge")
    ]
    assert [one.name for one in planned("adversarial", student)[0].terms()] == ["reconstruction"]


def test_it_learns_features_of_maps_with_queries():
    teacher, student = teacher_and_student()
    rows = run(planned("adversarial", student, teacher, epochs=6, output="features"), student, teacher, IMAGES)
    found = [row["losses"]["student.distil_features"] for row in rows]
    assert found[-1] < found[0]


def test_students_that_train_as_one_have_no_judge_each():
    teacher, student = teacher_and_student()
    assert planned("adversarial", student, teacher)[0].apart()


def test_a_pair_without_what_it_copies_is_refused():
    teacher, student = teacher_and_student()
    with pytest.raises(InputError, match="nothing to learn from the teacher in stage 'adversarial'"):
        planned("adversarial", student, family("score_net", base=4, depth=1), output="latent")
