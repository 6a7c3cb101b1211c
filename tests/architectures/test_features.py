"""Inner maps: offered in training, where they cost nothing, and gone where a detector is used."""

import pytest
import torch

from kdcompress.architectures import ARCHITECTURES
from kdcompress.evaluation import score
from kdcompress.profiling.memory import peak_memory_bytes
from kdcompress.types import Scorer, interface

IMAGES = torch.randint(0, 256, (5, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
FAMILIES = ("conv_ae", "deep_svdd", "ede_gan", "score_net")


def pair(name, **options):
    torch.manual_seed(0)
    return ARCHITECTURES[name]((1, 16, 16), **options)


@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_the_map_that_the_last_layers_see(name):
    detector = pair(name, base=4, depth=2).detector.eval()
    path = "encoder" if name in {"conv_ae", "ede_gan"} else "network"
    last = 2 if path == "encoder" else 3
    seen = {}
    detector.get_submodule(path)[-last].register_forward_pre_hook(lambda _, given: seen.update(map=given[0]))
    with torch.no_grad():
        features = detector(detector.prepare(IMAGES))["features"]
    assert features.shape == (5, 4, 4, 8)
    assert torch.equal(features.permute(0, 3, 1, 2), seen["map"])


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_are_those_of_the_outputs_to_the_bit(name):
    detector = pair(name, base=4).detector.eval()
    with torch.no_grad():
        x = detector.prepare(IMAGES)
        assert torch.equal(detector.score_outputs(x, detector(x)), torch.as_tensor(score(detector, IMAGES)))


@pytest.mark.parametrize("name", ["conv_ae", "ede_gan"])
def test_no_map_takes_memory_in_use(name):
    detector = pair(name).detector.eval()
    assert "features" in interface(pair(name), IMAGES).outputs
    with torch.no_grad():
        assert "features" not in detector.scored(detector.prepare(IMAGES))
    lean = peak_memory_bytes(Scorer(detector), IMAGES)
    detector.scored = detector.forward
    assert peak_memory_bytes(Scorer(detector), IMAGES) > lean
