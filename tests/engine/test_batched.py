"""Students trained as one end as they do one by one.

In float64 the two differ by rounding alone, measured at most 1e-14 after twenty steps: 1e-9 is required. In float32 a
rounding error can turn the sign of a gradient that is zero but for rounding, and Adam's steps have the size of the
learning rate whatever the gradient's size: as two runs one by one do whose first weights differ in the last bit.
"""

import copy
import shutil
from dataclasses import replace

import pytest
import torch
from torch import nn

from kdcompress.architectures.conv_ae import conv_ae
from kdcompress.architectures.ede_gan import ede_gan
from kdcompress.architectures.folded import FoldedConv2d
from kdcompress.engine import players
from kdcompress.engine.batched import fit_batched
from kdcompress.engine.events import EpochDone, StageDone
from kdcompress.engine.plan import Plan
from kdcompress.errors import InputError, KdcompressError
from kdcompress.stage import Loss, Term, fed
from kdcompress.strategies.attention import attention
from kdcompress.strategies.frozen import frozen
from kdcompress.strategies.hint import hint
from kdcompress.strategies.progressive import Step, progressive
from kdcompress.strategies.relational import relational
from kdcompress.strategies.scratch import scratch
from kdcompress.strategies.similarity import similarity
from kdcompress.types import interface
from tests.engine.nets import Memory, pair, run, same, samples, stage, term, update, weights

CPU = torch.device("cpu")
STUDENT = "student.detector"
IMAGES = torch.randint(0, 256, (24, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def together(stages, students, teacher=None, raw=None, slot=None, seed=0, plan=None):
    events = fit_batched(
        stages,
        students,
        teacher,
        samples() if raw is None else raw,
        device=CPU,
        plan_for=lambda stage, pair: plan or Plan(),
        seed=seed,
        slot=slot if slot is not None else Memory(),
    )
    return [event.row for event in events if isinstance(event, EpochDone)]


def image_pair(build, seed, **options):
    torch.manual_seed(seed)
    return build((1, 12, 12), **{"base": 4, "latent": 5, **options})


def planned(strategy, student, teacher=None, **options):
    sides = interface(student, IMAGES[:2]), None if teacher is None else interface(teacher, IMAGES[:2])
    return fed(strategy(*sides, batch_size=6, **options), *sides)[0]


def farthest(ones, others):
    """Return the largest difference of any weight or statistic."""
    return max(
        (value.double() - other.parts()[name].state_dict()[key].double()).abs().max().item()
        for one, other in zip(ones, others, strict=True)
        for name, part in one.parts().items()
        for key, value in part.state_dict().items()
    )


@pytest.fixture
def double(monkeypatch):
    """Compute in float64, where one order of summation is as good as another."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    for module in ("ede_gan", "conv_ae"):
        whole = f"kdcompress.architectures.{module}.prepared"
        monkeypatch.setattr(whole, lambda raw, size: raw.double() / 127.5 - 1)
    monkeypatch.setattr(players, "_float", lambda outputs: {name: value.double() for name, value in outputs.items()})
    yield
    torch.set_default_dtype(before)


NORMS = ["instance", "batch", "group", "none"]
COURSES = {
    "scratch": (scratch, False, {"epochs": 4}),
    "frozen": (frozen, True, {"epochs": 4}),
    "frozen with gan": (frozen, True, {"epochs": 4, "gan": True, "averaging": 0.9}),
    "two steps": (
        progressive,
        True,
        {"steps": (Step("frozen", gan=True, epochs=3), Step("joint", gan=True, epochs=2))},
    ),
    **{one.__name__: (one, True, {"epochs": 3, "queries": ()}) for one in (hint, attention, relational, similarity)},
}


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    ("build", "norm", "course"),
    [(ede_gan, norm, "two steps") for norm in NORMS]
    + [(conv_ae, "batch", "two steps")]
    + [pytest.param(conv_ae, norm, "two steps", marks=pytest.mark.slow) for norm in NORMS if norm != "batch"]
    + [(build, "batch", course) for build in (ede_gan, conv_ae) for course in COURSES if course != "two steps"],
)
def test_students_end_as_one_by_one(build, norm, course):
    strategy, taught, options = COURSES[course]
    ones = [image_pair(build, seed, norm=norm) for seed in range(3)]
    first = copy.deepcopy(ones)
    many = copy.deepcopy(ones)
    teacher = image_pair(build, 9, norm=norm, base=6, latent=7) if taught else None
    stages = planned(strategy, ones[0], teacher, **options)
    teachers = [copy.deepcopy(teacher) for _ in ones]
    for one, its_teacher in zip(ones, teachers, strict=True):
        run(stages, one, its_teacher, IMAGES)
    together(stages, many, teacher, IMAGES)
    assert farthest(ones, many) < 1e-9
    assert farthest(ones, first) > 1e-3
    if taught:
        assert farthest([teachers[0]], [teacher]) == 0.0


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("build", [ede_gan, conv_ae])
def test_folded_training_ends_as_plain_training(build):
    plain, teacher = image_pair(build, 1), image_pair(build, 9, base=6)
    other = copy.deepcopy(plain)
    strategy, _, options = COURSES["two steps"]
    stages = planned(strategy, plain, teacher, **options)
    run(stages, plain, copy.deepcopy(teacher), IMAGES)
    run(stages, other, copy.deepcopy(teacher), IMAGES, plan=Plan(folded=True))
    assert farthest([plain], [other]) < 1e-9
    assert not any(isinstance(layer, FoldedConv2d) for part in other.parts().values() for layer in part.modules())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_training_ends_near_plain_training():
    plain = image_pair(conv_ae, 1)
    other = copy.deepcopy(plain)
    stages = planned(scratch, plain, None, epochs=1)
    run(stages, plain, None, IMAGES)
    run(stages, other, None, IMAGES, plan=Plan(compiled=True))
    assert farthest([plain], [other]) < 1e-4


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_in_float32_nearly_all_weights_stay_within_rounding(norm, last):
    """Measured after four steps: 5e-7 for all; the hundredth that is let off is for gradients of zero."""
    ones, many = ([image_pair(ede_gan, seed, norm=norm) for seed in range(3)] for _ in range(2))
    teacher = image_pair(ede_gan, 9, norm=norm, base=6)
    stages = planned(frozen, ones[0], teacher, epochs=1, gan=True, schedule="constant")
    for one in ones:
        run(stages, one, teacher, IMAGES, plan=Plan(channels_last=last))
    together(stages, many, teacher, IMAGES, plan=Plan(channels_last=last))
    for one, other in zip(ones, many, strict=True):
        for name, part in one.parts().items():
            pairs = zip(part.parameters(), other.parts()[name].parameters(), strict=True)
            differences = torch.cat([(a - b).abs().flatten() for a, b in pairs])
            assert differences.quantile(0.99) < 1e-5


def test_the_first_gradients_are_the_same_in_float32():
    """Adam's first moments after one step are the gradients, scaled."""
    ones, teacher = [pair(seed) for seed in range(3)], pair(9)
    many = copy.deepcopy(ones)
    stages = (stage(update(STUDENT, term("distil_latent", 3.0), term("reconstruction", 2.0)), epochs=1),)
    slots = [Memory() for _ in ones]
    raw = samples(8)
    for one, slot in zip(ones, slots, strict=True):
        run(stages, one, teacher, raw, slot=slot)
    slot = Memory()
    together(stages, many, teacher, raw, slot=slot)
    joint = moments(slot)
    for index, alone in enumerate(map(moments, slots)):
        for name, value in alone.items():
            torch.testing.assert_close(joint[name].chunk(3)[index], value, rtol=1e-5, atol=1e-7, msg=name)


def moments(slot):
    from kdcompress.engine.checkpoint import Snapshot

    return {n: v for n, v in Snapshot.from_bytes(slot.saved).under("optimizer/").items() if n.endswith("exp_avg")}


def test_bfloat16_stays_near():
    ones = [image_pair(ede_gan, seed) for seed in range(3)]
    many, teacher = copy.deepcopy(ones), image_pair(ede_gan, 9)
    stages = planned(frozen, ones[0], teacher, epochs=5, gan=True)
    rows = together(stages, many, teacher, IMAGES, plan=Plan("bf16"))
    losses = [run(stages, one, teacher, IMAGES, plan=Plan("bf16"))[-1]["losses"] for one in ones]
    for name, value in rows[-1]["losses"].items():
        assert value == pytest.approx(sum(one[name] for one in losses) / 3, rel=0.1), name


def test_the_history_has_the_mean_over_the_students():
    ones, teacher = [pair(seed) for seed in range(3)], pair(9)
    stages = (stage(update(STUDENT, term("distil_latent", 3.0)), epochs=3),)
    rows = together(stages, copy.deepcopy(ones), teacher)
    alone = [run(stages, one, teacher) for one in ones]
    for epoch, row in enumerate(rows):
        mean = sum(history[epoch]["losses"]["student.distil_latent"] for history in alone) / 3
        assert row["losses"] == {"student.distil_latent": pytest.approx(mean, rel=1e-4)}


@pytest.mark.usefixtures("double")
def test_companions_and_their_order_do_not_matter():
    stages = planned(scratch, image_pair(ede_gan, 0), epochs=3)
    first, second = ([image_pair(ede_gan, seed) for seed in seeds] for seeds in ((0, 1, 2), (7, 2, 0, 5)))
    alone = [image_pair(ede_gan, 2)]
    for students in (first, second, alone):
        together(stages, students, None, IMAGES)
    assert farthest(first[::2], second[2:0:-1]) < 1e-9
    assert farthest(first[2:], alone) < 1e-9


def test_a_companion_of_huge_weights_does_no_harm():
    """What is not a number in one student stays there."""
    ones = [pair(seed) for seed in range(3)]
    many = copy.deepcopy(ones)
    with torch.no_grad():
        many[1].detector.decode.weight.mul_(1e12)
    stages = (stage(update(STUDENT, term("reconstruction"))),)
    run(stages, ones[0])
    together(stages, many)
    assert farthest(ones[:1], many[:1]) < 1e-5


@pytest.mark.usefixtures("double")
def test_a_loss_that_looks_across_the_features_sees_one_student_at_a_time():
    def compute(own, other):
        return nn.functional.cosine_similarity(own.aligned["latent"], other.aligned["latent"]).square().mean()

    cosine = Term("cosine", Loss(compute, shared=("latent",)))
    ones, teacher = [image_pair(conv_ae, seed) for seed in range(3)], image_pair(conv_ae, 9)
    many = copy.deepcopy(ones)
    stages = (stage(update(STUDENT, cosine)),)
    for one in ones:
        run(stages, one, teacher, IMAGES)
    together(stages, many, teacher, IMAGES)
    assert farthest(ones, many) < 1e-9


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("distils", [False, True])
@pytest.mark.parametrize("kind", ["frozen", "joint"])
def test_each_may_have_data_and_a_teacher_of_its_own(kind, distils):
    ones, many = ([image_pair(ede_gan, seed) for seed in range(3)] for _ in range(2))
    teachers, moved = ([image_pair(ede_gan, 10 + seed, latent=7) for seed in range(3)] for _ in range(2))
    raws = [IMAGES, IMAGES.flip(0), 255 - IMAGES]
    steps = (Step(kind, gan=True, epochs=3, teacher_distils=distils, teacher_learning_rate=1e-3),)
    stages = planned(progressive, ones[0], teachers[0], steps=steps)
    for one, teacher, raw in zip(ones, teachers, raws, strict=True):
        run(stages, one, teacher, raw)
    together(stages, many, moved, raws)
    assert farthest(ones, many) < 1e-9
    assert farthest(teachers, moved) < 1e-9


@pytest.mark.usefixtures("double")
def test_each_may_have_an_order_of_its_own():
    ones, many = ([image_pair(ede_gan, seed) for seed in range(3)] for _ in range(2))
    teachers = [image_pair(ede_gan, 10 + seed, latent=7) for seed in range(3)]
    raws, seeds = [IMAGES, IMAGES.flip(0), IMAGES], [4, 5, 6]
    stages = planned(frozen, ones[0], teachers[0], epochs=3, gan=True)
    alone = [
        run(stages, one, teacher, raw, seed=seed)
        for one, teacher, raw, seed in zip(ones, teachers, raws, seeds, strict=True)
    ]
    rows = together(stages, many, teachers, raws, seed=seeds)
    assert farthest(ones, many) < 1e-9
    for epoch, row in enumerate(rows):
        for own, history in zip(row["losses_of_each"], alone, strict=True):
            assert own == pytest.approx(history[epoch]["losses"], rel=1e-9)


@pytest.mark.usefixtures("double")
def test_a_teacher_each_on_shared_data():
    ones, many = ([image_pair(conv_ae, seed) for seed in range(3)] for _ in range(2))
    teachers = [image_pair(conv_ae, 10 + seed) for seed in range(3)]
    stages = planned(frozen, ones[0], teachers[0], epochs=2, gan=True)
    for one, teacher in zip(ones, teachers, strict=True):
        run(stages, one, teacher, IMAGES)
    together(stages, many, teachers, IMAGES)
    assert farthest(ones, many) < 1e-9


def test_resuming_ends_with_the_bits_of_an_undisturbed_run():
    stages = planned(scratch, image_pair(ede_gan, 0), epochs=4, averaging=0.9) * 2
    undisturbed = [image_pair(ede_gan, seed) for seed in range(3)]
    together(stages, undisturbed, None, IMAGES)
    for stop in (2, 5):
        slot, resumed = Memory(stop_after=stop), [image_pair(ede_gan, seed) for seed in range(3)]
        with pytest.raises(InterruptedError, match="on purpose"):
            together(stages, resumed, None, IMAGES, slot=slot)
        slot.stop_after = None
        resumed = [image_pair(ede_gan, seed) for seed in range(3)]
        together(stages, resumed, None, IMAGES, slot=slot)
        for one, other in zip(undisturbed, resumed, strict=True):
            assert all(same(weights(part), weights(other.parts()[name])) for name, part in one.parts().items())


def test_closing_in_an_epoch_saves_and_resumes():
    stages = (stage(update(STUDENT, term("reconstruction")), epochs=2, batch_size=1),)
    raw = samples(3000)
    slot, students, undisturbed = Memory(), [pair(1), pair(2)], [pair(1), pair(2)]
    together(stages, undisturbed, raw=raw)
    arguments = {"device": CPU, "plan_for": lambda stage, pair: Plan(), "seed": 0, "slot": slot}
    events = fit_batched(stages, students, None, raw, **arguments)
    next(events)
    next(events)
    events.close()
    assert slot.saved is not None
    assert slot.rows == []
    together(stages, students, raw=raw, slot=slot)
    assert farthest(students, undisturbed) == 0.0


def test_students_have_their_weights_at_the_end_of_each_stage():
    students = [pair(1), pair(2)]
    stages = (stage(update(STUDENT, term("reconstruction"))), stage(update(STUDENT, term("reconstruction"))))
    seen = []
    arguments = {"device": CPU, "plan_for": lambda stage, pair: Plan(), "seed": 0, "slot": Memory()}
    for event in fit_batched(stages, students, None, samples(), **arguments):
        if isinstance(event, StageDone):
            seen.append(weights(students[1].detector))
            assert not students[1].detector.training
    assert not same(seen[0], seen[1])
    assert same(seen[1], weights(students[1].detector))


def test_a_student_that_diverges_stops_all():
    students = [pair(1), pair(2)]
    with torch.no_grad():
        students[1].detector.decode.weight.fill_(float("inf"))
    slot = Memory()
    with pytest.raises(KdcompressError, match="one of 2 students diverged in epoch 1 .* train them one by one"):
        together((stage(update(STUDENT, term("reconstruction"))),), students, slot=slot)
    assert slot.rows == []


def test_what_cannot_train_as_one_is_refused():
    three = [pair(seed) for seed in range(3)]
    drawn = stage(
        update(STUDENT, term("distil_latent")), update("teacher.detector", term("distil_latent", on="teacher"))
    )
    alone = stage(update(STUDENT, term("reconstruction")))
    with pytest.raises(InputError, match=r"draws the teacher towards its student \(distil_latent\).* a teacher each"):
        together((drawn,), three, pair(9))
    with pytest.raises(InputError, match="reads or fits scores, or has queries: students that train as one"):
        together((replace(alone, calibrated=("student",)),), three)
    with pytest.raises(InputError, match="reads or fits scores, or has queries: students that train as one"):
        together((replace(alone, queries=("noise",)),), three)
    with pytest.raises(InputError, match="students on data of their own need a teacher each"):
        together((alone,), three, pair(9), [samples()] * 3)
    with pytest.raises(InputError, match="3 students with 3 seeds: give one, or one and raw data for each"):
        together((alone,), three, seed=[1, 2, 3])
    with pytest.raises(InputError, match="3 students with 2 seeds"):
        together((alone,), three, None, [samples()] * 3, seed=[1, 2])
    with pytest.raises(InputError, match="3 students have 2 teachers"):
        together((alone,), three, [pair(8), pair(9)])
    with pytest.raises(InputError, match=r"need 3 sets of one shape, not \(40, 6\), \(40, 6\), \(30, 6\)"):
        together((alone,), three, None, [samples(), samples(), samples(30)])
    with pytest.raises(InputError, match="same layers, in the same sizes"):
        together((alone,), [pair(1), pair(2, size=3)])
