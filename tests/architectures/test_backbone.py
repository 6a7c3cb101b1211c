import pickle
import re

import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from kdcompress.architectures.backbone import Backbone, FeatureDetector, Pyramid, channels_of, picture_of, sizes_of
from kdcompress.architectures.batched import batch
from kdcompress.architectures.folded import folded
from kdcompress.errors import InputError
from kdcompress.pinned import Pinned, pinned
from kdcompress.profiling import COUNTERS
from kdcompress.profiling.counters import params, tensor_bytes
from kdcompress.types import Pair

LEVELS = {
    "resnet18": ("layer1", "layer2", "layer3"),
    "resnet34": ("layer1", "layer2", "layer3"),
    "wide_resnet50_2": ("layer1", "layer2", "layer3"),
    "mobilenet_v3_small": ("features.1", "features.3", "features.8"),
    "efficientnet_b0": ("features.2", "features.3", "features.5"),
}
SMALL = "mobilenet_v3_small"


def reference(name, seed=0):
    """Return torchvision's whole network, with statistics as if it had been trained."""
    torch.manual_seed(seed)
    network = models.get_model(name, weights=None)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, 0, 0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1.5)
    return network.eval()


def detector(name=SMALL, weights=None):
    return FeatureDetector((1, 32, 32), None, name, weights)


def adapted(path, name=SMALL):
    found = detector(name, pinned(str(path)))
    found.adapt([])
    return found.backbone


@pytest.mark.parametrize("name", LEVELS)
def test_features_are_torchvisions_own(name):
    network = reference(name)
    expected = create_feature_extractor(network, {node: node for node in LEVELS[name]})
    backbone = Backbone(name)
    own = backbone.network.state_dict()
    backbone.network.load_state_dict({key: value for key, value in network.state_dict().items() if key in own})
    image = torch.rand(2, 3, 53, 40)
    # ImageNet's statistics as torchvision's documentation has them.
    mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    seen = backbone.standard(2 * image - 1)
    torch.testing.assert_close(seen, (image - mean[:, None, None]) / spread[:, None, None], rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        maps = backbone(seen)
        for found, wanted in zip(maps, expected(seen).values(), strict=True):
            # Float32 in another order of summation.
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())
    assert tuple(one.shape[1] for one in maps) == channels_of(name)
    assert [tuple(one.shape[2:]) for one in maps] == sizes_of((53, 40))


@pytest.mark.parametrize("name", LEVELS)
def test_random_features_neither_vanish_nor_explode(name):
    backbone = Backbone(name)
    for one in backbone(backbone.standard(2 * torch.rand(2, 3, 64, 64) - 1)):
        assert 1e-5 < one.std() < 1e3


def test_many_images_have_the_features_of_each():
    backbone = Backbone(SMALL)
    x = torch.rand(70, 3, 16, 16)
    for together, alone in zip(backbone(x), backbone(x[65:66]), strict=True):
        torch.testing.assert_close(together[65:66], alone, rtol=1e-4, atol=1e-6)


def test_grey_is_the_same_in_all_channels():
    backbone = Backbone(SMALL)
    grey = 2 * torch.rand(2, 1, 8, 8) - 1
    assert torch.equal(backbone.standard(grey), backbone.standard(grey.repeat(1, 3, 1, 1)))


def test_a_backbone_is_frozen_for_good():
    backbone = Backbone(SMALL).train().requires_grad_()
    assert not any(part.training for part in backbone.modules())
    assert not list(backbone.parameters())
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    assert not any(one.requires_grad for one in backbone(torch.rand(4, 3, 16, 16)))
    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())


def test_its_weights_count_in_macs_and_bytes_and_not_in_what_can_be_trained():
    backbone, plain = Backbone(SMALL), Pyramid(SMALL)
    x = torch.rand(1, 3, 32, 32)
    for name in COUNTERS:
        assert COUNTERS[name](backbone, x).macs == COUNTERS[name](plain, x).macs > 500_000
    assert params(backbone) == 0
    assert tensor_bytes(backbone) == tensor_bytes(plain) + 4 * 6


@pytest.mark.parametrize("name", ["resnet18", SMALL, "efficientnet_b0"])
def test_a_narrow_pyramid_is_of_the_same_form(name):
    whole, narrow = Pyramid(name), Pyramid(name, width=0.25)
    assert list(whole.state_dict()) == list(narrow.state_dict())
    maps = narrow(torch.rand(2, 3, 32, 32))
    assert tuple(one.shape[1] for one in maps) == channels_of(name, 0.25)
    assert [one.shape[2:] for one in maps] == [one.shape[2:] for one in whole(torch.rand(2, 3, 32, 32))]


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_weights_come_from_a_file_of_the_whole_network(tmp_path, ending):
    network, path = reference(SMALL), tmp_path / f"w{ending}"
    state = network.state_dict()
    if ending == ".pth":
        # As old files of torchvision's are.
        torch.save({key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}, path)
    else:
        safetensors.torch.save_file(state, path)
    expected = create_feature_extractor(network, [*LEVELS[SMALL]])
    backbone, x = adapted(path), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(backbone(x), list(expected(x).values()), rtol=1e-4, atol=1e-5)


def test_published_weights_come_from_torchvisions_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network, weights = reference(SMALL), models.get_model_weights(SMALL).DEFAULT
    place = tmp_path / "hub" / "checkpoints" / weights.url.rpartition("/")[2]
    place.parent.mkdir(parents=True)
    torch.save(network.state_dict(), place)
    found = detector(weights="torchvision:DEFAULT")
    found.adapt([])
    assert torch.equal(found.backbone.network.get_submodule("features.0.0").weight, network.features[0][0].weight)


def test_unknown_published_weights_are_named_before_anything_is_read():
    said = (
        r"unknown torchvision weights of resnet18 'IMAGENET1K'; did you mean 'IMAGENET1K_V1'\? \(allowed: DEFAULT, IM"
    )
    with pytest.raises(InputError, match=said):
        detector("resnet18", "torchvision:IMAGENET1K")


def broken(change):
    state = dict(reference(SMALL).state_dict())
    change(state)
    return state


def prefixed(state):
    for key in list(state):
        state[f"module.{key}"] = state.pop(key)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("features.1.block.0.0.weight"), "1 missing, the first features.1.block.0.0.weight"),
        (
            lambda state: state.update(extra=torch.ones(1)),
            "does not fit mobilenet_v3_small: 1 unexpected, the first extra",
        ),
        (
            lambda state: state.update({"features.0.0.weight": torch.ones(16, 1, 3, 3)}),
            "1 of another shape, the first features.0.0.weight: (16, 1, 3, 3) instead of (16, 3, 3, 3)",
        ),
        (prefixed, "missing, the first features.0.0.weight; did you mean 'module.features.0.0.weight'?; "),
    ],
)
def test_wrong_weights_are_refused_in_one_message(tmp_path, change, said):
    safetensors.torch.save_file(broken(change), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=re.escape(said)):
        adapted(tmp_path / "w.safetensors")


def test_weights_of_another_network_are_refused(tmp_path):
    safetensors.torch.save_file(reference(SMALL).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"w\.safetensors does not fit resnet18: \d+ missing, the first conv1.weight"):
        adapted(tmp_path / "w.safetensors", "resnet18")


class Runs:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.safetensors", b"nothing", "not a safetensors file, or a damaged one"),
        ("w.pth", b"nothing", "not a file of tensors, or a damaged one"),
        ("w.pth", pickle.dumps(Runs(), protocol=2), "holds more than tensors"),
    ],
)
def test_what_is_no_file_of_tensors_is_refused(tmp_path, name, content, said, capsys):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        adapted(tmp_path / name)
    assert capsys.readouterr().out == ""


def test_what_is_no_state_dict_is_refused(tmp_path):
    torch.save([torch.ones(2)], tmp_path / "w.pth")
    with pytest.raises(InputError, match="no state dict: not a mapping of names to tensors"):
        adapted(tmp_path / "w.pth")


def test_a_file_that_is_not_named_is_asked_for():
    with pytest.raises(InputError, match="weights: a file with sha256 0{64} is wanted, and none is named"):
        detector(weights=Pinned(None, "0" * 64)).adapt([])


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused(channels):
    with pytest.raises(InputError, match=f"x takes grey or colour images, of 1 or 3 channels, not of {channels}"):
        picture_of("x", (channels, 16, 16))


def test_frozen_layers_are_not_folded():
    twin = folded(nn.Sequential(Backbone("resnet18", 1)))
    assert type(twin[0].network.conv1) is nn.Conv2d


def test_it_does_not_train_side_by_side_with_others():
    """The batched form would make its weights trainable."""
    with pytest.raises(InputError, match=r"FeatureDetector has no batched form: layer backbone \(Backbone\)"):
        batch([Pair(detector()), Pair(detector())], torch.zeros(2, 1, 32, 32, dtype=torch.uint8))
