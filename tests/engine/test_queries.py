import copy
from dataclasses import replace

import pytest
import torch

from kdcompress import queries
from kdcompress.losses import LOSSES
from kdcompress.seeding import derive
from kdcompress.stage import Term, fed
from kdcompress.types import interface
from tests.engine.nets import Memory, pair, run, same, samples, stage, term, update, weights

STUDENT = "student.detector"
KINDS = ("noise", "mixes")


def asked(*terms, **changes):
    return replace(stage(update(STUDENT, *terms), epochs=changes.pop("epochs", 1)), queries=KINDS, **changes)


def response(inputs="both"):
    return Term("distil_score", LOSSES["distil_score"], 1.0, inputs=inputs)


def expected_queries(raw, count, seed=0):
    return queries.made(KINDS, raw, count, derive(derive(seed, "stage", 0), "queries"))


def test_a_step_on_the_teachers_score_is_adam_on_normals_and_queries():
    student, teacher = pair(1, critic=False), pair(2, critic=False)
    reference = copy.deepcopy(student.detector)
    raw = samples(8)
    run((asked(response(), term("reconstruction")),), student, teacher, raw=raw)
    both = torch.cat([raw, expected_queries(raw, 8)])
    optimizer = torch.optim.Adam(reference.parameters(), lr=0.01, betas=(0.5, 0.999))

    def compressed(values):
        return values.sign() * (values.abs() / values.detach().abs().median()).log1p()

    ours, theirs = (compressed(one.score_outputs(both, one(both))) for one in (reference, teacher.detector))
    correlation = torch.corrcoef(torch.stack([ours, theirs.detach()]))[0, 1]
    own = (reference(raw)["reconstruction"] - raw).abs().mean()
    (1 - correlation + own).backward()
    optimizer.step()
    for name, value in student.detector.state_dict().items():
        torch.testing.assert_close(value, reference.state_dict()[name], msg=name, atol=2e-5, rtol=1e-4)


def test_terms_on_normals_do_not_see_the_queries():
    one, other = pair(1, critic=False), pair(1, critic=False)
    plain = stage(update(STUDENT, term("reconstruction")), epochs=3)
    run((plain,), one, raw=samples(40))
    run((replace(plain, queries=KINDS),), other, raw=samples(40))
    assert same(weights(one.detector), weights(other.detector))


def test_queries_move_the_student():
    one, other = pair(1, critic=False), pair(1, critic=False)
    run((asked(response("normals")),), one, pair(2), raw=samples(40))
    run((asked(response("both")),), other, pair(2), raw=samples(40))
    assert not same(weights(one.detector), weights(other.detector))


@pytest.mark.parametrize("share", [0.01, 0.5, 3.0])
def test_every_query_is_in_one_batch_of_an_epoch_and_each_batch_has_some(share):
    student = pair(1, critic=False)
    seen = []
    forward = student.detector.forward

    def noted(x):
        seen.append(x.detach().clone())
        return forward(x)

    student.detector.forward = noted
    raw = samples(40)
    run((asked(term("reconstruction"), query_share=share),), student, raw=raw)
    count = max(round(40 * share), 40 // 8)
    rows = torch.cat([batch[8:] for batch in seen])
    assert all(len(batch) > 8 for batch in seen)
    assert sorted(rows.tolist()) == sorted(expected_queries(raw, count).tolist())
    assert {tuple(row) for batch in seen for row in batch[:8].tolist()} == {tuple(row) for row in raw.tolist()}


def test_a_stopped_run_goes_on_to_the_same_bits():
    stages = (asked(response(), epochs=4),)
    whole = pair(1, critic=False)
    run(stages, whole, pair(2), raw=samples(40))
    slot = Memory(stop_after=2)
    with pytest.raises(InterruptedError, match="on purpose"):
        run(stages, pair(1, critic=False), pair(2), raw=samples(40), slot=slot)
    slot.stop_after = None
    resumed = pair(1, critic=False)
    run(stages, resumed, pair(2), raw=samples(40), slot=slot)
    assert same(weights(whole.detector), weights(resumed.detector))


def test_the_teachers_scores_are_computed_once():
    teacher = pair(2, critic=False)
    before = teacher.detector.calls
    run((asked(response(), epochs=5),), pair(1, critic=False), teacher, raw=samples(40))
    assert teacher.detector.calls == before + 1


def test_every_detector_offers_a_score():
    own = interface(pair(1), samples(2))
    assert own.outputs["score"] == ()
    kept, left_out = fed((asked(response()),), own, own)
    assert not left_out
    assert kept[0].terms() == (response(),)
