from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor, nn

from kdcompress.errors import InputError
from kdcompress.profiling import COUNTERS
from kdcompress.profiling.counters import macs
from kdcompress.profiling.profile import counters_json, profile
from kdcompress.results import Count, Profile
from kdcompress.types import Detector, Outputs, Scorer


class AutoEncoder(Detector):
    """Encoder, decoder, second encoder, as in GANomaly: all three are needed for the score."""

    def __init__(self, width: int = 4, latent: int = 6) -> None:
        super().__init__()
        self.encoder = self._encoder(width, latent)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(latent, width, 4, bias=False),
            nn.InstanceNorm2d(width, affine=True),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1),
            nn.BatchNorm2d(width),
            nn.ConvTranspose2d(width, 1, 3, 2, 1, output_padding=1),
            nn.Tanh(),
        )
        self.second = self._encoder(width, latent)

    @staticmethod
    def _encoder(width: int, latent: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1, groups=2),
            nn.BatchNorm2d(2 * width),
            nn.Conv2d(2 * width, latent, 4),
        )

    def prepare(self, raw: Tensor) -> Tensor:
        return raw.float() / 127.5 - 1

    def forward(self, x: Tensor) -> Outputs:
        latent = self.encoder(x)
        reconstruction = self.decoder(latent)
        return {"latent": latent, "reconstruction": reconstruction, "again": self.second(reconstruction)}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        return (outputs["latent"] - outputs["again"]).square().flatten(1).mean(1)


ENCODER = 4 * 1 * 16 * 8 * 8 + 8 * (4 // 2) * 16 * 4 * 4 + 6 * 8 * 16
DECODER = 6 * 4 * 16 + 4 * 4 * 16 * 4 * 4 + 4 * 1 * 9 * 8 * 8
RAW = torch.randint(0, 256, (1, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def found() -> Profile:
    return profile(AutoEncoder(), RAW)


def test_counters_agree_on_the_closed_form_of_all_passes(found):
    assert found.macs == 2 * ENCODER + DECODER
    assert {name: count.macs for name, count in found.counters.items()} == dict.fromkeys(COUNTERS, found.macs)
    with torch.device("meta"):
        assert macs(Scorer(AutoEncoder()), torch.empty(1, 1, 16, 16, dtype=torch.uint8)) == found.macs


def test_what_is_not_macs_is_shown(found):
    fvcore, thop = found.counters["fvcore"], found.counters["thop"]
    # Values per input: batch norms in eval mode 2 a value, instance norm with affine 5 (fvcore), 4 (thop).
    batch_norms = 2 * 8 * 4 * 4 + 4 * 8 * 8
    assert fvcore.other_ops == 2 * batch_norms + 5 * 4 * 4 * 4
    assert thop.other_ops == 4 * batch_norms + 4 * 4 * 4 * 4
    assert fvcore.uncounted["aten::leaky_relu"] == 2
    assert fvcore.uncounted["aten::tanh"] == 1


def test_sizes(found):
    detector = AutoEncoder()
    parameters = sum(parameter.numel() for parameter in detector.parameters())
    assert found.params == parameters
    running = 2 * (8 + 4 + 8)
    assert found.bytes == 4 * (parameters + running) + 3 * 8


def test_latency_and_memory(found):
    assert set(found.latency_ms) == {"batch_1", "batch_64"}
    assert all(value > 0 and math.isfinite(value) for value in found.latency_ms.values())
    assert found.peak_memory_bytes > found.bytes + RAW.numel()


def test_profiling_leaves_the_detector_as_it_was():
    detector = AutoEncoder().train()
    detector.second.eval()
    detector.encoder[0].requires_grad_(False)
    modes = [part.training for part in detector.modules()]
    gradients = [parameter.requires_grad for parameter in detector.parameters()]
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    profile(detector, RAW)
    after = detector.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [part.training for part in detector.modules()] == modes
    assert [parameter.requires_grad for parameter in detector.parameters()] == gradients
    assert not any(hasattr(part, "total_ops") or hasattr(part, "total_params") for part in detector.modules())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in detector.modules())
    assert all(parameter.grad is None for parameter in detector.parameters())


def test_counters_json_has_the_shape_of_the_contract(found):
    plain = counters_json(found)
    assert json.loads(json.dumps(plain)) == plain
    assert set(plain) == {"fvcore", "thop", "torch", "uncounted"}
    assert all(plain[name]["macs"] == found.macs for name in COUNTERS)
    assert plain["fvcore"]["other_ops"] == found.counters["fvcore"].other_ops
    assert plain["torch"]["operators"] == {"aten.convolution": found.macs}
    assert plain["uncounted"]["aten::leaky_relu"] == 2


def test_disagreement_is_visible_and_fvcore_leads():
    class Functional(AutoEncoder):
        def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
            gap = (outputs["latent"] - outputs["again"]).flatten(1)
            return (gap @ torch.eye(6, device=gap.device) * gap).sum(1)

    found = profile(Functional(), RAW)
    assert found.macs == found.counters["torch"].macs == 2 * ENCODER + DECODER + 36
    assert found.counters["thop"].macs == found.macs - 36


def test_uncounted_of_all_counters_is_joined():
    counts = {"a": Count(1, uncounted={"aten::tanh": 2}), "b": Count(1, uncounted={"GroupNorm": 1})}
    plain = counters_json(Profile(0, 1, 0, {}, 0, counts))
    assert plain["uncounted"] == {"aten::tanh": 2, "GroupNorm": 1}


def test_more_than_one_input_is_refused():
    with pytest.raises(InputError, match=r"one raw input of shape \[1, ...\]; got \[2, 1, 16, 16\]"):
        profile(AutoEncoder(), RAW.repeat(2, 1, 1, 1))


def test_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="device 'cuda:99' cannot be used here"):
        profile(AutoEncoder(), RAW, device="cuda:99")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_profile_on_cuda():
    found = profile(AutoEncoder().cuda(), RAW.cuda(), device="cuda")
    assert found.macs == 2 * ENCODER + DECODER
    assert found.peak_memory_bytes > found.bytes
