from dataclasses import replace

import pytest
import torch

from kdcompress.engine import plan as plans
from kdcompress.engine.plan import Plan, choose, device_for
from kdcompress.errors import InputError
from tests.engine.nets import pair, same, samples, weights

LABELS = ["fp32 contiguous", "fp32 channels_last", "bf16 contiguous", "bf16 channels_last"]
FOLDED = [f"{label} folded" for label in LABELS]
AUTO = {"precision": "auto", "channels_last": "auto", "fold": "auto"}


class Conv(torch.nn.Module):
    """A detector for images [N, 1, 6, 6] with a buffer that training moves."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)

    def forward(self, x):
        return {"map": self.norm(self.conv(x))}


def images():
    torch.manual_seed(0)
    from kdcompress.types import Pair

    return Pair(Conv()), torch.randn(4, 1, 6, 6)


def timed(monkeypatch, *milliseconds):
    """Let the candidates take these times; those that are left out take the last one's."""
    times = [*milliseconds, *[milliseconds[-1]] * (8 - len(milliseconds))]
    found = dict(zip([*LABELS, *FOLDED], times, strict=True))
    monkeypatch.setattr(plans, "_milliseconds", lambda pair, x, several: found)
    return found


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([10.0, 9.5, 9.9, 9.6], Plan("fp32", False)),  # within noise of plain float32
        ([10.0, 12.0, 6.0, 7.0], Plan("bf16", False)),
        ([10.0, 5.0, 6.0, 7.0], Plan("fp32", True)),
        ([10.0, 12.0, 6.0, 5.0, 9.0], Plan("bf16", True)),
        ([10.0, 12.0, 6.0, 5.0, 2.0, 3.0], Plan("fp32", False, True)),
    ],
)
def test_the_fastest_is_taken_if_it_is_worth_it(monkeypatch, times, expected):
    measured = timed(monkeypatch, *times)
    two, x = images()
    found = choose(two, x, **AUTO, known={})
    assert replace(found, measured_ms=()) == expected
    assert dict(found.measured_ms) == measured


def test_what_is_asked_for_is_not_measured(monkeypatch):
    monkeypatch.setattr(plans, "_milliseconds", None)
    two, x = images()
    assert choose(two, x, precision="bf16", channels_last=True, fold=True, known={}) == Plan("bf16", True, True)


def test_half_of_the_choice_can_be_fixed(monkeypatch):
    timed(monkeypatch, 10.0, 2.0, 5.0, 1.0, 8.0, 0.5)
    two, x = images()
    assert not choose(two, x, **{**AUTO, "channels_last": False}, known={}).channels_last
    assert choose(two, x, **{**AUTO, "precision": "bf16"}, known={}).precision == "bf16"
    assert not choose(two, x, **{**AUTO, "fold": False}, known={}).folded


def test_what_was_measured_once_is_kept(monkeypatch):
    timed(monkeypatch, 10.0, 9.0, 5.0, 9.0)
    two, x = images()
    known = {}
    first = choose(two, x, **AUTO, known=known)
    timed(monkeypatch, 1.0)
    assert choose(two, x, **AUTO, known=known) == first
    assert len(known) == 1
    choose(two, x[:2], **AUTO, known=known)
    assert len(known) == 2


def test_measuring_changes_nothing():
    two, x = images()
    before = weights(two.detector)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    found = choose(two, x, **AUTO, known={})
    assert all(milliseconds > 0 for _, milliseconds in found.measured_ms)
    assert same(before, weights(two.detector))
    assert torch.equal(state, torch.get_rng_state())
    assert all(param.grad is None for param in two.detector.parameters())


def test_a_hopeless_candidate_is_not_measured_on_a_whole_batch(monkeypatch):
    asked = []

    def seconds(pair, x, plan):
        asked.append((plan.precision, len(x)))
        return len(x) * (0.03 if plan.precision == "bf16" else 0.001)

    monkeypatch.setattr(plans, "_seconds", seconds)
    monkeypatch.setattr(plans, "_bf16_over_fp32", lambda device: 1.0)
    two, _ = images()
    found = choose(two, torch.randn(64, 1, 6, 6), **AUTO, known={})
    assert found.precision == "fp32"
    assert dict(found.measured_ms) == pytest.approx(
        dict(zip([*LABELS, *FOLDED], [64, 64, 1920, 1920] * 2, strict=True))
    )
    assert ("fp32", 64) in asked
    assert ("bf16", 64) not in asked


def test_only_images_have_a_memory_format():
    found = choose(pair(1), samples(4), **{**AUTO, "precision": "fp32"}, known={})
    assert not found.channels_last
    assert not found.folded
    with pytest.raises(InputError, match=r"engine\.channels_last"):
        choose(pair(1), samples(4), **{**AUTO, "channels_last": True}, known={})


def test_a_plan_survives_json():
    plan = Plan("bf16", True, True, False, (("fp32 contiguous", 2.0),))
    assert plans.from_json(plans.as_json(plan)) == plan


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    two, x = images()
    with pytest.raises(InputError, match=r"engine\.compile: .* there is no no-such-compiler"):
        choose(two, x, precision="fp32", channels_last=False, fold=False, compiled=True, known={})


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_for("auto") == device_for("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="no CUDA device"):
        device_for("cuda")
    with pytest.raises(InputError, match=r"unknown device \(allowed: auto, cpu, cuda\)"):
        device_for("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_for("auto") == torch.device("cuda")


def test_where_bfloat16_is_hopeless_no_step_is_taken_in_it(monkeypatch):
    asked = set()

    def seconds(pair, x, plan):
        asked.add(plan.precision)
        return len(x) * 0.001

    monkeypatch.setattr(plans, "_seconds", seconds)
    monkeypatch.setattr(plans, "_bf16_over_fp32", lambda device: 200.0)
    two, _ = images()
    known = {}
    found = choose(two, torch.randn(64, 1, 6, 6), **AUTO, known=known)
    assert asked == {"fp32"}
    assert found.precision == "fp32"
    assert dict(found.measured_ms) == pytest.approx(
        dict(zip([*LABELS, *FOLDED], [64, 64, 12_800, 12_800] * 2, strict=True))
    )
    # A precision that is asked for is kept, measured or not.
    assert choose(two, torch.randn(64, 1, 6, 6), **{**AUTO, "precision": "bf16"}, known=known).precision == "bf16"


def test_the_price_of_bfloat16_is_a_ratio():
    assert 0.01 < plans._bf16_over_fp32(torch.device("cpu")) < 10_000
