import math

import pytest
import torch

from kdcompress import queries, signature
from kdcompress.architectures.transform_net import transform_net
from kdcompress.errors import InputError
from kdcompress.evaluation import score
from kdcompress.losses import LOSSES
from kdcompress.losses.classification import softened
from kdcompress.stage import Side, fed
from kdcompress.strategies.logits import logits
from kdcompress.types import interface
from tests.engine.nets import run

# Brighter towards the top: normals are upright.
RAMP = torch.linspace(220, 30, 8)[:, None].expand(8, 8)


def images(count, seed):
    noise = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return (RAMP + 15 * noise).clamp(0, 255).to(torch.uint8)


NORMALS = images(128, 0)


def pair(seed, **options):
    torch.manual_seed(seed)
    return transform_net((1, 8, 8), **{"base": 4, "depth": 2, **options})


def planned(student, teacher=None, **options):
    sides = interface(student, NORMALS[:2]), None if teacher is None else interface(teacher, NORMALS[:2])
    return fed(logits(*sides, batch_size=16, **options), *sides)[0]


def side(values):
    return Side(torch.zeros(len(values), 1), {"logits": values}, aligned={"logits": values})


def test_transformation_is_cross_entropy():
    loss = LOSSES["transformation"].compute
    assert float(loss(side(torch.zeros(3, 4, 4)), None)) == pytest.approx(math.log(4))
    assert float(loss(side(60 * torch.eye(4).expand(3, -1, -1)), None)) == pytest.approx(0.0, abs=1e-6)
    assert float(loss(side(60 * torch.eye(4).roll(1, 0).expand(3, -1, -1)), None)) == pytest.approx(60.0)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_softened_logits_are_compared_by_their_divergence(temperature):
    generator = torch.Generator().manual_seed(0)
    mine, theirs = (torch.randn(3, 4, 4, generator=generator).double() for _ in range(2))
    p, q = ((values / temperature).softmax(2) for values in (theirs, mine))
    by_hand = temperature**2 * (p * (p / q).log()).sum(2).mean()
    loss = softened(temperature).compute
    torch.testing.assert_close(loss(side(mine), side(theirs)), by_hand)
    assert float(loss(side(mine), side(mine))) == pytest.approx(0.0, abs=1e-12)


def test_a_network_trained_alone_tells_what_is_not_upright():
    student = pair(1)
    run(planned(student, epochs=8, learning_rate=5e-3), student, None, NORMALS)
    upright, turned = images(40, 1), torch.rot90(images(40, 2), 2, (2, 3))
    assert score(student.detector, upright).max() < score(student.detector, turned).min()


def test_a_student_learns_its_teachers_answers():
    """From the teacher alone, without the right answers: here the teacher has them wrong."""
    teacher = pair(9, base=8)
    with torch.no_grad():
        teacher.detector.network[-1].weight.zero_()
        teacher.detector.network[-1].bias.copy_(torch.tensor([2.0, 0.0, -1.0, 1.0]))
    student = pair(1)
    stages = planned(student, teacher, epochs=20, learning_rate=5e-2, weight=0.0)
    assert [term.name for term in stages[0].terms()] == ["distil_logits"]
    run(stages, student, teacher, NORMALS)
    with torch.no_grad():
        found = student.detector.eval()(student.detector.prepare(NORMALS))["logits"].softmax(2)
    torch.testing.assert_close(found.mean((0, 1)), torch.tensor([2.0, 0.0, -1.0, 1.0]).softmax(0), atol=0.05, rtol=0)


def test_with_a_teacher_both_terms_are_there_and_without_one_the_right_answers_alone():
    student, teacher = pair(1), pair(9)
    assert [one.name for one in planned(student, teacher)[0].terms()] == ["transformation", "distil_logits"]
    assert [one.name for one in planned(student, weight=0.0)[0].terms()] == ["transformation"]


def test_other_transformations_on_the_two_sides_are_refused():
    with pytest.raises(
        InputError, match=r"student.logits has shape \(4, 4\) and teacher.logits \(5, 5\): .* transforms"
    ):
        planned(pair(1), pair(9, transforms="shifts"))


def test_features_are_compared_in_units_of_the_teachers_spread():
    generator = torch.Generator().manual_seed(0)
    mine, theirs = (torch.randn(50, 4, 3, generator=generator) for _ in range(2))
    theirs = theirs * torch.tensor([1.0, 4.0, 0.25]) + 3

    def compared(ours, its):
        sides = (Side(torch.zeros(50, 1), {"features": one}, aligned={"features": one}) for one in (ours, its))
        return LOSSES["distil_features"].compute(*sides)

    by_hand = ((mine - theirs).square().mean((0, 1)) / theirs.var((0, 1), correction=0)).mean()
    torch.testing.assert_close(compared(mine, theirs), by_hand)
    # The best constant explains nothing: each channel counts 1, whatever its scale.
    torch.testing.assert_close(compared(theirs.mean((0, 1)).expand_as(theirs), theirs), torch.tensor(1.0))
    # A dead channel is no division by zero, and a slip there no explosion.
    dead = theirs * torch.tensor([1.0, 1.0, 0.0])
    assert compared(dead + torch.tensor([0.0, 0.0, 0.01]), dead) < 0.01
    assert compared(torch.zeros(50, 4, 3), torch.zeros(50, 4, 3)) == 0


def test_a_hint_is_learned_through_a_map_to_the_teachers_width():
    student, teacher = pair(1), pair(9, base=8)
    stages = planned(student, teacher, epochs=30, learning_rate=5e-3, distil_weight=0.0, hint_weight=1.0)
    (stage,) = stages
    assert [(one.output, one.from_size, one.to_size) for one in stage.projections] == [("features", 8, 16)]
    assert stage.updates[0].parts == ("student.detector", "projection")
    rows = run(stages, student, teacher, NORMALS)
    found = [row["losses"]["student.distil_features"] for row in rows]
    assert found[-1] < 0.5 * found[0]


def test_no_map_where_both_sides_are_of_one_width_or_no_hint_is_asked_for():
    student, teacher = pair(1), pair(9)
    assert planned(student, teacher, hint_weight=1.0)[0].projections == ()
    assert planned(student, pair(9, base=8))[0].projections == ()


def test_the_teacher_is_asked_about_queries_and_the_right_answers_are_of_normals():
    student, teacher = pair(1), pair(9)
    (stage,) = planned(student, teacher, hint_weight=1.0, queries=("noise",), query_share=0.5)
    assert [(one.name, one.inputs) for one in stage.terms()] == [
        ("transformation", "normals"),
        ("distil_logits", "both"),
        ("distil_features", "both"),
    ]
    assert (stage.queries, stage.query_share) == (("noise",), 0.5)
    assert planned(student, queries=("noise",))[0].queries == ()


def test_a_student_agrees_with_its_teacher_on_what_it_was_asked_about():
    teacher, others = pair(9, base=8), queries.made(("uniform",), NORMALS, 64, seed=7)
    run(planned(teacher, epochs=4, learning_rate=5e-3), teacher, None, NORMALS)

    def distance(**options):
        student = pair(1)
        stages = planned(student, teacher, epochs=20, learning_rate=1e-2, weight=0.0, temperature=1.0, **options)
        run(stages, student, teacher, NORMALS)
        with torch.no_grad():
            ours, its = (one.detector.eval()(one.detector.prepare(others))["logits"] for one in (student, teacher))
        return float((ours.softmax(2) - its.softmax(2)).abs().mean())

    assert distance(queries=("uniform",)) < 0.8 * distance()


def test_options_that_came_later_leave_digests():
    assert not {"hint_weight", "queries", "query_share"} & set(signature.resolved(logits, {}))
    assert signature.resolved(logits, {"queries": ["noise"]})["queries"] == ["noise"]


def test_nothing_to_learn_from_the_teacher_is_refused():
    with pytest.raises(InputError, match=r"distil_weight and hint_weight are 0, .*allowed: one or both above 0"):
        planned(pair(1), pair(9), distil_weight=0.0)


@pytest.mark.parametrize("taught", [True, False])
def test_a_combined_score_is_fitted_to_the_normals_in_the_end(taught):
    student, teacher = pair(1, score="combined"), pair(9, score="combined") if taught else None
    run(planned(student, teacher, epochs=1), student, teacher, NORMALS)
    with torch.no_grad():
        x = student.detector.prepare(NORMALS)
        outputs = student.detector.eval()(x)
    assert float(outputs["distance"].mean() / student.detector.typical[1]) == pytest.approx(1.0, rel=1e-3)
    assert float(student.detector.score_outputs(x, outputs).mean()) == pytest.approx(1.0, rel=1e-3)
    if taught:
        assert torch.equal(teacher.detector.typical, torch.ones(2)), "a teacher's score is its own matter"


@pytest.mark.parametrize("options", [{}, {"hint_weight": 1.0}])
def test_a_student_of_one_pass_learns_all_that_its_teacher_of_four_says(options):
    student, teacher = pair(1, passes=1), pair(9)
    sides = interface(student, NORMALS[:2]), interface(teacher, NORMALS[:2])
    assert sides[0].outputs["logits"][0] == 1
    stages, _ = fed(logits(*sides, epochs=6, batch_size=16, weight=0.0, **options), *sides)
    rows = run(stages, student, teacher, NORMALS)
    found = [row["losses"]["student.distil_logits"] for row in rows]
    assert found[-1] < found[0]


def test_a_teacher_of_one_pass_teaches_it_alone():
    side = {passes: pair(1, passes=passes) for passes in (None, 1)}
    with torch.no_grad():
        x = side[1].detector.prepare(NORMALS[:8])
        whole, one = (Side(x, {}, aligned=side[passes].detector.eval()(x)) for passes in (None, 1))
    assert one.aligned["logits"].shape[1] == 1
    assert float(softened(2.0).compute(whole, one)) == pytest.approx(0, abs=1e-6)
