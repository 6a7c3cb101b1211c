import pytest
import torch

from kdcompress.architectures import ARCHITECTURES
from kdcompress.errors import InputError
from kdcompress.evaluation import score
from kdcompress.stage import fed
from kdcompress.strategies.fitted import fitted
from kdcompress.strategies.response import response
from kdcompress.types import Interface, interface
from tests.engine.nets import run

ROWS = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
OTHERS = torch.randn(400, 6, generator=torch.Generator().manual_seed(1)) * 2


def pair(name, seed=0, **options):
    torch.manual_seed(seed)
    found = ARCHITECTURES[name]((6,), **options)
    with torch.no_grad():
        found.detector.eval().adapt([ROWS])
    return found


def planned(student, teacher=None, **options):
    sides = interface(student, ROWS[:2]), None if teacher is None else interface(teacher, ROWS[:2])
    return fed(response(*sides, **options), *sides)[0]


def fit_to_normals(name, **options):
    found = pair(name, **options)
    sides = interface(found, ROWS[:2]), None
    assert run(fed(fitted(*sides), *sides)[0], found, raw=ROWS) == []
    return found


def agreement(one, other):
    ranks = [torch.tensor(score(each.detector, OTHERS)).argsort().argsort().double() for each in (one, other)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


@pytest.mark.parametrize("name", ["nearest_neighbours", "isolation_forest"])
def test_a_small_network_takes_the_scores_of_what_cannot_be_trained(name):
    teacher, student = fit_to_normals(name), pair("score_net", 3, base=16)
    before = agreement(teacher, student)
    run(planned(student, teacher, epochs=40, batch_size=32, learning_rate=1e-2), student, teacher, raw=ROWS)
    assert agreement(teacher, student) > 0.8 > before + 0.3


def test_queries_make_a_student_agree_beyond_the_normals():
    teacher = fit_to_normals("nearest_neighbours")
    without, asked = pair("score_net", 3, base=16), pair("score_net", 3, base=16)
    run(planned(asked, teacher, epochs=40, batch_size=32, learning_rate=1e-2), asked, teacher, raw=ROWS)
    stages = planned(without, teacher, epochs=40, batch_size=32, learning_rate=1e-2, own_weight=0)
    stages = tuple(stage.__class__(**{**vars(stage), "queries": ()}) for stage in stages)
    run(stages, without, teacher, raw=ROWS)
    assert agreement(teacher, asked) > agreement(teacher, without)


def test_each_family_keeps_its_own_losses_beside():
    def names(student, **options):
        return [term.name for stage in planned(pair(student), pair("mlp_ae"), **options) for term in stage.terms()]

    assert names("mlp_ae") == ["reconstruction", "distil_score"]
    assert names("deep_svdd") == ["one_class", "distil_score"]
    assert names("affine_net") == ["transformation", "distil_score"]
    assert names("score_net") == ["contrast", "distil_score"]
    assert names("score_net", own_weight=0) == ["distil_score"]


def test_the_control_is_asked_where_it_learns_from_queries():
    assert planned(pair("score_net"))[0].queries == ("noise", "mixes", "shuffles")
    assert planned(pair("mlp_ae"))[0].queries == ()
    assert planned(pair("mlp_ae"))[0].terms()[0].weight == 1


def test_a_student_that_learns_from_queries_alone_has_to_have_some():
    with pytest.raises(InputError, match="queries: none, and the student learns without a teacher by telling normals"):
        planned(pair("score_net"), pair("mlp_ae"), queries=())


def test_no_weight_is_refused():
    with pytest.raises(InputError, match=r"weight: 0, .* \(allowed: above 0\)"):
        planned(pair("mlp_ae"), pair("mlp_ae"), weight=0)


def test_a_detector_without_any_loss_has_nothing_to_learn_alone():
    with pytest.raises(InputError, match="nothing to learn for student.detector in stage 'alone'"):
        fed(response(Interface({"score": ()}), None), Interface({"score": ()}), None)
