"""What every registered architecture must do."""

import json
import math

import pytest
import torch

from kdcompress import bundle, signature
from kdcompress.architectures import ARCHITECTURES
from kdcompress.bundle import Manifest
from kdcompress.evaluation import score
from kdcompress.profiling.counters import macs, params
from kdcompress.types import Scorer, interface

SHAPE = (1, 16, 16)
NAMES = list(ARCHITECTURES)


def raw(count=4, shape=SHAPE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


def build(name, seed=0, **options):
    return bundle.build(name, options, SHAPE, seed)


@pytest.mark.parametrize("name", NAMES)
def test_options_are_a_schema_with_a_width(name):
    options = signature.resolved(ARCHITECTURES[name], {})
    assert options["width"] == 1.0
    json.dumps(options, allow_nan=False)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_documented(name):
    assert not [option.name for option in signature.options(ARCHITECTURES[name]) if not option.description]


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_one_finite_number_for_each_sample_and_differ(name):
    scores = score(build(name, width=0.1).detector, raw(8))
    assert scores.shape == (8,)
    assert len(set(scores.tolist())) == 8


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_scored_alike_in_any_company(name):
    detector = build(name, width=0.1).detector
    together = score(detector, raw(5))
    alone = [float(score(detector, raw(5)[i : i + 1])[0]) for i in range(5)]
    assert together.tolist() == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_score_is_that_of_the_outputs(name):
    detector = build(name, width=0.1).detector.eval()
    with torch.no_grad():
        x = detector.prepare(raw())
        torch.testing.assert_close(detector.score_outputs(x, detector(x)), detector.score(raw()))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state(name):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, other = build(name, seed=3), build(name, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    for key, value in one.detector.state_dict().items():
        assert torch.equal(value, other.detector.state_dict()[key])


@pytest.mark.parametrize("name", NAMES)
def test_width_changes_inner_channels_and_never_the_outputs_shapes(name):
    full, narrow = (interface(build(name, width=width), raw()) for width in (1.0, 0.1))
    assert full.outputs == narrow.outputs


@pytest.mark.parametrize("name", NAMES)
def test_cost_grows_with_width(name):
    widths = [1e-6, 0.05, 0.1, 0.11, 0.2, 0.5, 1.0]
    detectors = [build(name, width=width).detector for width in widths]
    spent = [macs(Scorer(detector), raw(1)) for detector in detectors]
    sizes = [params(detector) for detector in detectors]
    assert spent == sorted(spent)
    assert sizes == sorted(sizes)
    assert spent[0] < spent[-1]


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_counted_without_memory(name):
    with torch.device("meta"):
        detector = ARCHITECTURES[name](SHAPE, width=0.3).detector
    one = torch.zeros(1, *SHAPE, dtype=torch.uint8, device="meta")
    assert macs(Scorer(detector), one) == macs(Scorer(build(name, width=0.3).detector), raw(1))


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_of_the_detector_gets_a_gradient(name):
    pair = build(name, width=0.2)
    x = pair.detector.prepare(raw())
    sum(value.square().sum() for value in pair.detector(x).values()).backward()
    assert not [key for key, value in pair.detector.named_parameters() if value.grad is None]


@pytest.mark.parametrize("name", NAMES)
def test_the_critic_judges_real_and_reconstructed_alike_in_shape(name):
    offered = interface(build(name, width=0.2), raw()).critic
    if not offered:
        pytest.skip(f"{name} has no critic")
    assert offered["real_logit"] == offered["fake_logit"] == ()
    assert offered["real_features"] == offered["fake_features"]


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_gives_the_same_bits_back(name, tmp_path):
    pair = build(name, width=0.2)
    options = signature.resolved(ARCHITECTURES[name], {"width": 0.2})
    bundle.save(tmp_path / "it.safetensors", Manifest(name, options, SHAPE), pair)
    again = bundle.load(tmp_path / "it.safetensors").detector
    assert score(again, raw()).tolist() == score(pair.detector, raw()).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_in_bf16_with_finite_outputs(name):
    detector = build(name, width=0.2).detector
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = detector.eval()(detector.prepare(raw()))
    assert all(math.isfinite(value.detach().float().sum().item()) for value in outputs.values())
