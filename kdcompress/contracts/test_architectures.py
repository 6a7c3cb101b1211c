"""What every registered architecture must do."""

import json
import math

import pytest
import torch

from kdcompress import bundle, signature
from kdcompress.architectures import ARCHITECTURES
from kdcompress.bundle import Manifest
from kdcompress.evaluation import score
from kdcompress.profiling.counters import macs, tensor_bytes
from kdcompress.types import Scorer, interface

REGISTRY = ARCHITECTURES


def raw(shape, count=4):
    """Return images, or numbers where the shape is that of no image."""
    generator = torch.Generator().manual_seed(0)
    if len(shape) != 3:
        return torch.randn(count, *shape, generator=generator)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


def build(name, shape, seed=0, **options):
    pair = bundle.build(name, options, shape, seed)
    with torch.no_grad():
        pair.detector.eval().adapt([raw(shape, 30), raw(shape, 20)])
    return pair


def test_options_are_a_schema_with_a_width(name):
    options = signature.resolved(ARCHITECTURES[name], {})
    assert options["width"] == 1.0
    json.dumps(options, allow_nan=False)


def test_every_option_is_documented(name):
    assert not [option.name for option in signature.options(ARCHITECTURES[name]) if not option.description]


def test_scores_are_one_finite_number_for_each_sample_and_differ(name, shape):
    scores = score(build(name, shape, width=0.1).detector, raw(shape, 8))
    assert scores.shape == (8,)
    assert len(set(scores.tolist())) == 8


def test_a_sample_is_scored_alike_in_any_company(name, shape):
    detector = build(name, shape, width=0.1).detector
    together = score(detector, raw(shape, 5))
    alone = [float(score(detector, raw(shape, 5)[i : i + 1])[0]) for i in range(5)]
    assert together.tolist() == pytest.approx(alone, rel=1e-4)


def test_the_score_is_that_of_the_outputs(name, shape):
    detector = build(name, shape, width=0.1).detector.eval()
    with torch.no_grad():
        x = detector.prepare(raw(shape))
        torch.testing.assert_close(detector.score_outputs(x, detector(x)), detector.score(raw(shape)))


def test_calibration_keeps_cost_and_shapes_and_scores_stay_finite(name, shape):
    pair = build(name, shape, width=0.1)
    offered, spent = interface(pair, raw(shape)), macs(Scorer(pair.detector), raw(shape, 1))
    with torch.no_grad():
        pair.detector.eval().calibrate(pair.detector.prepare(raw(shape, 40)).split(15))
    assert all(map(math.isfinite, score(pair.detector, raw(shape, 8)).tolist()))
    assert interface(pair, raw(shape)) == offered
    assert macs(Scorer(pair.detector), raw(shape, 1)) == spent


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state(name, shape):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, other = build(name, shape, seed=3), build(name, shape, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    for key, value in one.detector.state_dict().items():
        assert torch.equal(value, other.detector.state_dict()[key])


def test_width_changes_inner_channels_and_never_the_outputs_shapes(name, shape):
    full, narrow = (dict(interface(build(name, shape, width=width), raw(shape)).outputs) for width in (1.0, 0.1))
    ours, its = (outputs.pop("features", (0,)) for outputs in (full, narrow))
    assert ours[:-1] == its[:-1]
    assert full == narrow


def test_cost_grows_with_width(name, shape):
    widths = [1e-6, 0.05, 0.1, 0.11, 0.2, 0.5, 1.0]
    detectors = [build(name, shape, width=width).detector for width in widths]
    spent = [macs(Scorer(detector), raw(shape, 1)) for detector in detectors]
    sizes = [tensor_bytes(detector) for detector in detectors]
    assert spent == sorted(spent)
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_it_can_be_counted_without_memory(name, shape):
    with torch.device("meta"):
        detector = ARCHITECTURES[name](shape, width=0.3).detector
    one = torch.empty_like(raw(shape, 1), device="meta")
    assert macs(Scorer(detector), one) == macs(Scorer(build(name, shape, width=0.3).detector), raw(shape, 1))


def test_every_weight_of_the_detector_gets_a_gradient(name, shape):
    pair = build(name, shape, width=0.2)
    if not list(pair.detector.parameters()):
        pytest.skip(f"{name} has nothing to train")
    x = pair.detector.prepare(raw(shape))
    sum(value.square().sum() for value in pair.detector(x).values()).backward()
    assert not [key for key, value in pair.detector.named_parameters() if value.grad is None]


def test_the_critic_judges_real_and_reconstructed_alike_in_shape(name, shape):
    offered = interface(build(name, shape, width=0.2), raw(shape)).critic
    if not offered:
        pytest.skip(f"{name} has no critic")
    assert offered["real_logit"] == offered["fake_logit"] == ()
    assert offered["real_features"] == offered["fake_features"]


def test_a_bundle_gives_the_same_bits_back(name, shape, tmp_path):
    pair = build(name, shape, width=0.2)
    options = signature.resolved(ARCHITECTURES[name], {"width": 0.2})
    bundle.save(tmp_path / "it.safetensors", Manifest(name, options, shape), pair)
    again = bundle.load(tmp_path / "it.safetensors").detector
    assert score(again, raw(shape)).tolist() == score(pair.detector, raw(shape)).tolist()


def test_it_learns_in_bf16_with_finite_outputs(name, shape):
    detector = build(name, shape, width=0.2).detector
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = detector.eval()(detector.prepare(raw(shape)))
    assert all(math.isfinite(value.detach().float().sum().item()) for value in outputs.values())
