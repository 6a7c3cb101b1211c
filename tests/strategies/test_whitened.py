import copy

import pytest
import torch

from kdcompress.architectures.ede_gan import ede_gan
from kdcompress.stage import fed
from kdcompress.strategies.frozen import frozen
from kdcompress.strategies.whitened import whitened
from kdcompress.training import moves_teacher
from kdcompress.types import interface
from tests.engine.nets import Memory, run, same, weights

IMAGES = torch.randint(0, 256, (40, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def pair(seed, **options):
    torch.manual_seed(seed)
    return ede_gan((1, 12, 12), **{"base": 4, "latent": 5, **options})


def planned(strategy, student, teacher=None, **options):
    sides = interface(student, IMAGES[:2]), None if teacher is None else interface(teacher, IMAGES[:2])
    return fed(strategy(*sides, batch_size=8, epochs=3, **options), *sides)[0]


def calibrated(detector):
    detector.eval()
    with torch.no_grad():
        detector.calibrate([detector.prepare(IMAGES)])
    return detector


def test_it_is_a_frozen_stage_between_two_calibrations():
    student, teacher = pair(1), pair(9)
    by_hand, its_teacher = copy.deepcopy(student), copy.deepcopy(teacher)
    run(planned(whitened, student, teacher), student, teacher, IMAGES)
    calibrated(its_teacher.detector)
    assert same(weights(teacher.detector), weights(its_teacher.detector))
    run(planned(frozen, by_hand, its_teacher), by_hand, its_teacher, IMAGES)
    assert not same(weights(student.detector), weights(by_hand.detector))
    assert same(weights(student.detector), weights(calibrated(by_hand.detector)))


def test_a_control_is_calibrated_too():
    student, by_hand = pair(1), pair(1)
    run(planned(whitened, student), student, None, IMAGES)
    run(planned(frozen, by_hand), by_hand, None, IMAGES)
    assert same(weights(student.detector), weights(calibrated(by_hand.detector)))


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_calibrates_once(stop):
    student, teacher = pair(1), pair(9)
    undisturbed, its_teacher = copy.deepcopy(student), copy.deepcopy(teacher)
    stages = planned(whitened, student, teacher)
    run(stages, undisturbed, its_teacher, IMAGES)
    slot = Memory(stop_after=stop)
    with pytest.raises(InterruptedError, match="on purpose"):
        run(stages, copy.deepcopy(student), copy.deepcopy(teacher), IMAGES, slot=slot)
    slot.stop_after = None
    run(stages, student, teacher, IMAGES, slot=slot)
    assert same(weights(student.detector), weights(undisturbed.detector))
    assert same(weights(teacher.detector), weights(its_teacher.detector))


def test_its_stages_change_the_teacher():
    student, teacher = pair(1), pair(9)
    assert moves_teacher(planned(whitened, student, teacher))
    assert not moves_teacher(planned(frozen, student, teacher))
