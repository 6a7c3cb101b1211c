import copy

import pytest
import torch
from torch import nn

from kdcompress.engine.events import Diverged, EpochDone, Progress, StageDone, Started
from kdcompress.engine.fit import fit
from kdcompress.engine.plan import Plan
from kdcompress.errors import InputError, KdcompressError
from kdcompress.losses import LOSSES
from kdcompress.stage import Loss, Projection, Term, cosine
from tests.engine.nets import Memory, pair, run, same, samples, stage, term, update, weights

STUDENT = "student.detector"


def gan(side, learning_rate=0.01):
    return (
        update(
            f"{side}.detector",
            term("reconstruction", 2.0, side),
            term("feature_matching", 1.0, side),
            learning_rate=learning_rate,
        ),
        update(f"{side}.critic", term("critic", 1.0, side), learning_rate=learning_rate),
    )


def distil(weight=1.0):
    return term("distil_latent", weight), term("distil_reconstruction", weight)


def test_one_step_is_adam_on_the_closed_form_gradient():
    student = pair(1, critic=False)
    reference = copy.deepcopy(student.detector)
    raw = samples(8)
    run((stage(update(STUDENT, term("reconstruction", 3.0)), epochs=1),), student, raw=raw)
    optimizer = torch.optim.Adam(reference.parameters(), lr=0.01, betas=(0.5, 0.999))
    (3.0 * (reference(raw)["reconstruction"] - raw).abs().mean()).backward()
    optimizer.step()
    for name, value in student.detector.state_dict().items():
        torch.testing.assert_close(value, reference.state_dict()[name], msg=name)


def test_simultaneous_updates_equal_one_backward_of_detached_losses():
    """The oracle writes out what a hand-written GAN step does: detach the reconstruction for the critic."""
    student = pair(1)
    detector, critic = copy.deepcopy(student.detector), copy.deepcopy(student.critic)
    raw = samples(8)
    run((stage(*gan("student"), epochs=1),), student, raw=raw)
    outputs = detector(raw)
    judged = critic(raw, outputs)
    own = 2.0 * (outputs["reconstruction"] - raw).abs().mean()
    own = own + (judged["fake_features"] - judged["real_features"]).square().mean()
    for_detector = torch.autograd.grad(own, list(detector.parameters()), allow_unused=True)
    detached = critic(raw, {"reconstruction": outputs["reconstruction"].detach()})
    one, zero = torch.ones(8), torch.zeros(8)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    loss = (entropy(detached["real_logit"], one) + entropy(detached["fake_logit"], zero)) / 2
    for_critic = torch.autograd.grad(loss, list(critic.parameters()), allow_unused=True)
    for module, grads in ((detector, for_detector), (critic, for_critic)):
        for param, grad in zip(module.parameters(), grads, strict=True):
            param.grad = grad
        torch.optim.Adam(module.parameters(), lr=0.01, betas=(0.5, 0.999)).step()
    for name, value in student.detector.state_dict().items():
        torch.testing.assert_close(value, detector.state_dict()[name], msg=name)
    for name, value in student.critic.state_dict().items():
        torch.testing.assert_close(value, critic.state_dict()[name], msg=name)


def test_a_distillation_step_is_adam_on_the_distance_to_the_teacher():
    student, teacher = pair(1, critic=False), pair(2, critic=False)
    reference = copy.deepcopy(student.detector)
    raw = samples(8)
    run((stage(update(STUDENT, *distil(0.5)), epochs=1),), student, teacher, raw=raw)
    optimizer = torch.optim.Adam(reference.parameters(), lr=0.01, betas=(0.5, 0.999))
    ours, theirs = reference(raw), {name: value.detach() for name, value in teacher.detector(raw).items()}
    loss = 0.5 * (ours["latent"] - theirs["latent"]).square().mean()
    (loss + 0.5 * (ours["reconstruction"] - theirs["reconstruction"]).abs().mean()).backward()
    optimizer.step()
    for name, value in student.detector.state_dict().items():
        torch.testing.assert_close(value, reference.state_dict()[name], msg=name)


@pytest.mark.parametrize(
    ("updates", "moved"),
    [
        ((update(STUDENT, *distil()),), {"student.detector"}),
        ((*gan("student"),), {"student.detector", "student.critic"}),
        ((update("student.critic", term("critic")),), {"student.critic"}),
        ((update(STUDENT, *distil(), term("feature_matching")),), {"student.detector"}),
        ((update(STUDENT, *distil()), *gan("teacher")), {"student.detector", "teacher.detector", "teacher.critic"}),
        (
            (*gan("student"), *gan("teacher")),
            {"student.detector", "student.critic", "teacher.detector", "teacher.critic"},
        ),
    ],
)
def test_only_what_an_update_names_moves(updates, moved):
    student, teacher = pair(1, norm=True), pair(2, norm=True)
    parts = {f"student.{n}": p for n, p in student.parts().items()} | {
        f"teacher.{n}": p for n, p in teacher.parts().items()
    }
    before = {name: weights(part) for name, part in parts.items()}
    run((stage(*updates),), student, teacher)
    assert {name for name, part in parts.items() if not same(before[name], weights(part))} == moved


def test_a_term_on_one_side_does_not_move_the_other():
    """A joint stage in which only the student has the distillation term trains the teacher as if it were alone."""
    alone, joint = pair(2), pair(2)
    run((stage(*gan("student")),), alone)
    run((stage(update(STUDENT, *distil()), *gan("teacher")),), pair(1), joint)
    for name, part in alone.parts().items():
        assert same(weights(part), weights(joint.parts()[name])), name


def test_cached_outputs_of_a_frozen_teacher_equal_running_it_in_every_step():
    # A teacher that an update moves is run in every step; at this learning rate it stays what it is.
    still = update("teacher.detector", term("reconstruction", 1.0, "teacher"), learning_rate=1e-30)
    cached, live = pair(1), pair(1)
    run((stage(update(STUDENT, *distil())),), cached, pair(2))
    run((stage(update(STUDENT, *distil()), still),), live, pair(2))
    for name, value in cached.detector.state_dict().items():
        torch.testing.assert_close(value, live.detector.state_dict()[name], rtol=1e-5, atol=1e-6, msg=name)


def test_a_frozen_teacher_runs_once_over_the_data_and_never_in_a_step():
    teacher = pair(2)
    run((stage(update(STUDENT, *distil()), epochs=5),), pair(1), teacher, raw=samples(300))
    assert teacher.detector.calls == 2  # 300 samples in chunks of 256


def test_a_frozen_teacher_is_in_eval_mode():
    teacher = pair(2, norm=True)
    before = weights(teacher.detector)
    run((stage(update(STUDENT, *distil())),), pair(1), teacher)
    assert same(before, weights(teacher.detector))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_runs_give_the_same_bits(precision):
    outcomes = []
    for _ in range(2):
        student, teacher = pair(1), pair(2)
        rows = run(
            (stage(*gan("student"), update("teacher.detector", *gan("teacher")[0].terms)),),
            student,
            teacher,
            plan=Plan(precision),
        )
        outcomes.append((weights(student.detector), weights(teacher.detector), [row["losses"] for row in rows]))
    assert same(outcomes[0][0], outcomes[1][0])
    assert same(outcomes[0][1], outcomes[1][1])
    assert outcomes[0][2] == outcomes[1][2]


def test_another_seed_gives_other_batches():
    one, other = pair(1), pair(1)
    run((stage(*gan("student")),), one, seed=0)
    run((stage(*gan("student")),), other, seed=1)
    assert not same(weights(one.detector), weights(other.detector))


def progressive_stages(averaging=None):
    return (
        stage(
            update((STUDENT, "projection"), *distil()),
            epochs=2,
            projections=(Projection("latent", 3, 2),),
            averaging=averaging,
        ),
        stage(
            update((STUDENT, "projection"), *distil(), *gan("student")[0].terms),
            gan("student")[1],
            *gan("teacher"),
            epochs=3,
            schedule=cosine,
            projections=(Projection("latent", 3, 2),),
            averaging=averaging,
        ),
    )


@pytest.mark.parametrize("averaging", [None, 0.9])
@pytest.mark.parametrize("stop_after", [1, 2, 3, 4, 5])
def test_a_stopped_run_continues_to_the_same_bits(stop_after, averaging):
    stages = progressive_stages(averaging)
    student, teacher = pair(1, size=3, norm=True), pair(2, norm=True)
    undisturbed = run(stages, student, teacher)
    slot = Memory(stop_after)
    with pytest.raises(InterruptedError, match="on purpose"):
        run(stages, pair(1, size=3, norm=True), pair(2, norm=True), slot=slot)
    slot.stop_after = None
    again, taught = pair(99, size=3, norm=True), pair(2, norm=True)  # other first weights: all must come from the slot
    run(stages, again, taught, slot=slot)
    assert [row["losses"] for row in slot.rows] == [row["losses"] for row in undisturbed]
    assert [row["learning_rate"] for row in slot.rows] == [row["learning_rate"] for row in undisturbed]
    for name, part in student.parts().items():
        assert same(weights(part), weights(again.parts()[name])), name
    for name, part in teacher.parts().items():
        assert same(weights(part), weights(taught.parts()[name])), name


@pytest.mark.parametrize("steps", [1, 2, 6, 7, 12])
def test_a_run_that_is_closed_between_two_steps_continues_to_the_same_bits(steps, monkeypatch):
    """Every step reports, and the consumer goes away after so many: the checkpoint is of the middle of an epoch."""
    monkeypatch.setattr("kdcompress.engine.stage_run._TICK_SECONDS", -1.0)
    stages = progressive_stages(0.9)
    student = pair(1, size=3, norm=True)
    undisturbed = run(stages, student, pair(2, norm=True))
    slot = Memory()
    more = {"device": torch.device("cpu"), "plan_for": lambda stage: Plan(), "seed": 0, "slot": slot}
    events = fit(stages, pair(1, size=3, norm=True), pair(2, norm=True), samples(), **more)
    for _ in range(steps):
        while not isinstance(next(events), Progress):
            pass
    events.close()
    again = pair(99, size=3, norm=True)
    run(stages, again, pair(2, norm=True), slot=slot)
    assert [row["losses"] for row in slot.rows] == [row["losses"] for row in undisturbed]
    for name, part in student.parts().items():
        assert same(weights(part), weights(again.parts()[name])), name


def exploding(times):
    """A loss that is not finite in its first so many calls."""
    calls = iter(range(10_000))
    return Loss(
        lambda own, other: own.outputs["latent"].square().mean() / (0 if next(calls) < times else 1),
        outputs=("latent",),
    )


def test_a_stage_that_diverges_goes_back_with_half_the_rate():
    student, reference = pair(1, critic=False), pair(1, critic=False)
    events = []
    raw = samples(8)
    diverging = stage(update(STUDENT, Term("loss", exploding(2))), epochs=2)
    more = {"device": torch.device("cpu"), "plan_for": lambda stage: Plan(), "seed": 0, "slot": Memory()}
    for event in fit((diverging,), student, None, raw, **more):
        events.append(event)
    said = [event for event in events if isinstance(event, Diverged)]
    assert [(event.epoch, event.retry) for event in said] == [(0, 1), (0, 2)]
    assert "student.loss is not finite" in said[0].why
    rows = [event.row for event in events if isinstance(event, EpochDone)]
    assert [row["retries"] for row in rows] == [2, 2]
    assert rows[0]["learning_rate"]["student.detector"] == pytest.approx(0.01 / 4)
    run((stage(update(STUDENT, Term("loss", exploding(0)), learning_rate=0.01 / 4), epochs=2),), reference, raw=raw)
    assert same(weights(student.detector), weights(reference.detector))


def test_a_run_stopped_after_a_divergence_keeps_the_smaller_rate():
    def stages():
        return (stage(update(STUDENT, Term("loss", exploding(1))), epochs=3),)

    student, again, slot = pair(1, critic=False), pair(1, critic=False), Memory(stop_after=2)
    run(stages(), student, raw=samples(8))
    with pytest.raises(InterruptedError, match="on purpose"):
        run(stages(), pair(1, critic=False), raw=samples(8), slot=slot)
    slot.stop_after = None
    run((stage(update(STUDENT, Term("loss", exploding(0))), epochs=3),), again, raw=samples(8), slot=slot)
    assert same(weights(student.detector), weights(again.detector))


def test_averaging_leaves_the_moving_average_of_the_weights():
    student = pair(1, critic=False)
    start = weights(student.detector)
    one_step = pair(1, critic=False)
    run((stage(update(STUDENT, term("reconstruction")), epochs=1),), one_step, raw=samples(8))
    run((stage(update(STUDENT, term("reconstruction")), epochs=1, averaging=0.75),), student, raw=samples(8))
    for name, value in student.detector.state_dict().items():
        expected = 0.75 * start[name] + 0.25 * one_step.detector.state_dict()[name]
        torch.testing.assert_close(value, expected, msg=name)


def test_the_schedule_sets_the_rate_of_every_optimiser():
    rows = run(
        (stage(*gan("student"), *gan("teacher", 0.002), epochs=4, schedule=cosine),), pair(1), pair(2), raw=samples(8)
    )
    for epoch, row in enumerate(rows):  # one batch an epoch: the progress is epoch / 4
        assert row["learning_rate"]["student.detector"] == pytest.approx(0.01 * cosine(epoch / 4))
        assert row["learning_rate"]["teacher.critic"] == pytest.approx(0.002 * cosine(epoch / 4))


def test_history_has_every_term_and_its_mean():
    student = pair(1, critic=False)
    fixed = Loss(lambda own, other: own.x.mean() + own.outputs["latent"].sum() * 0, outputs=("latent",))
    raw = samples(16)
    rows = run((stage(update(STUDENT, Term("fixed", fixed)), epochs=1),), student, raw=raw)
    assert rows[0]["losses"] == {"student.fixed": pytest.approx(float(raw.mean()), abs=1e-6)}
    assert rows[0]["step"] == 2
    assert (rows[0]["epoch"], rows[0]["epochs"]) == (0, 2 - 1)


def test_an_epoch_sees_every_sample_once_and_leaves_out_the_remainder():
    seen = []
    spy = Loss(lambda own, other: seen.append(own.x.clone()) or own.outputs["latent"].sum(), outputs=("latent",))
    raw = samples(21)
    run((stage(update(STUDENT, Term("spy", spy)), epochs=2),), pair(1, critic=False), raw=raw)
    assert [len(x) for x in seen] == [8, 8, 8, 8]
    for epoch in (seen[:2], seen[2:]):
        rows = {tuple(row.tolist()) for row in torch.cat(epoch)}
        assert len(rows) == 16
        assert rows <= {tuple(row.tolist()) for row in raw}
    assert not torch.equal(seen[0], seen[2])


def test_every_stage_has_its_own_order_of_batches():
    seen = []
    spy = Loss(lambda own, other: seen.append(own.x.clone()) or own.outputs["latent"].sum(), outputs=("latent",))
    one = stage(update(STUDENT, Term("spy", spy)), epochs=1, batch_size=20)
    run((one, one), pair(1, critic=False), raw=samples(20))
    assert not torch.equal(seen[0], seen[1])


def test_fewer_samples_than_a_batch_are_one_batch():
    rows = run((stage(update(STUDENT, term("reconstruction")), epochs=1, batch_size=64),), pair(1), raw=samples(5))
    assert rows[0]["step"] == 1


def test_a_loss_that_is_not_finite_is_an_error_that_names_it():
    broken = Loss(lambda own, other: own.outputs["latent"].sum() / 0, outputs=("latent",))
    with pytest.raises(
        KdcompressError, match=r"student\.broken is not finite in epoch 1 .*8 times smaller.*learning_rate"
    ):
        run((stage(update(STUDENT, Term("broken", broken))),), pair(1, critic=False))


def test_a_critic_runs_only_where_a_term_reads_it():
    student = pair(1)
    student.critic.forward = None  # would raise if it were called
    run((stage(update(STUDENT, term("reconstruction"))),), student)


def test_events_tell_the_way():
    events = list(
        fit(
            progressive_stages(),
            pair(1, size=3),
            pair(2),
            samples(),
            device=torch.device("cpu"),
            plan_for=lambda stage: Plan(),
            seed=0,
            slot=Memory(),
        )
    )
    kinds = [type(event) for event in events if not isinstance(event, Progress)]
    assert kinds == [Started, *[EpochDone] * 2, StageDone, Started, *[EpochDone] * 3, StageDone]


def test_everything_is_in_eval_mode_afterwards():
    student, teacher = pair(1), pair(2)
    run((stage(*gan("student"), *gan("teacher")),), student, teacher)
    assert not any(part.training for side in (student, teacher) for part in side.parts().values())


def test_every_loss_of_the_terms_is_registered():
    assert {"distil_latent", "distil_reconstruction", "critic", "feature_matching"} <= set(LOSSES)


def test_a_gradient_of_another_memory_layout_moves_the_right_weights():
    """The fused optimiser goes by addresses; a product with a transposed weight gives a transposed gradient."""

    class Transposed(nn.Module):
        def __init__(self, one):
            super().__init__()
            self.weight, self.bias = one.weight, one.bias

        def forward(self, x):
            return torch.bmm(x[None], self.weight.t()[None])[0] + self.bias

    student, reference = pair(1, critic=False), pair(1, critic=False)
    student.detector.decode = Transposed(student.detector.decode)
    for one in (student, reference):
        run((stage(update(STUDENT, term("reconstruction"))),), one)
    for name, value in reference.detector.state_dict().items():
        torch.testing.assert_close(student.detector.state_dict()[name], value, msg=name)


def test_a_function_that_was_not_made_a_loss_is_refused_by_name():
    with pytest.raises(InputError, match=r"term 'plain': its loss is a function, not a Loss; .*@kd\.loss"):
        Term("plain", lambda own, other: own.outputs["score"].mean())
