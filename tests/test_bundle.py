import inspect
import json
import math
import os
import pickle
import typing
from dataclasses import asdict, replace

import pytest
import safetensors.torch
import torch

from kdcompress import bundle
from kdcompress.architectures import ARCHITECTURES
from kdcompress.bundle import FORMAT, Manifest
from kdcompress.errors import BundleError, InputError
from kdcompress.types import Pair

OPTIONS = {"width": 0.5, "base": 6, "latent": 4, "norm": "batch"}
MANIFEST = Manifest(
    "ede_gan",
    OPTIONS,
    (1, 8, 8),
    threshold=0.1 + 0.2,
    data={"name": "synthetic", "normal_class": None},
    recipe="r",
    digest="0123",
    critic=True,
)


@pytest.fixture
def pair():
    """Return a pair whose norms have seen data, so that every tensor differs from a new one."""
    made = bundle.build("ede_gan", OPTIONS, (1, 8, 8), seed=3)
    images = raw(20)
    made.critic(made.detector.prepare(images), made.detector(made.detector.prepare(images)))
    return made


@pytest.fixture
def path(tmp_path, pair):
    """Return a bundle's file."""
    bundle.save(tmp_path / "a.safetensors", MANIFEST, pair)
    return tmp_path / "a.safetensors"


def raw(count, shape=(1, 8, 8)):
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def rewrite(path, tensors=None, sign=True, **manifest):
    """Write a bundle with other tensors or another manifest; signed as its own if asked for."""
    with safetensors.safe_open(path, framework="pt") as file:
        plain = json.loads(file.metadata()["kdcompress"])
    tensors = safetensors.torch.load_file(path) if tensors is None else tensors
    plain = {**plain, **manifest}
    if sign and "sha256" not in manifest:
        plain["sha256"] = bundle._hash(tensors, plain)
    text = json.dumps(plain)
    path.write_bytes(safetensors.torch.save(tensors, {"kdcompress": text}))


def tensors_of(path):
    return safetensors.torch.load_file(path)


class TestRoundTrip:
    def test_scores_are_equal_to_the_bit(self, path, pair):
        pair.detector.eval()
        loaded = bundle.load(path)
        assert torch.equal(loaded.detector.score(raw(9)), pair.detector.score(raw(9)))
        assert not torch.equal(
            loaded.detector.score(raw(9)), bundle.build("ede_gan", OPTIONS, (1, 8, 8), 4).detector.score(raw(9))
        )

    def test_every_tensor_and_the_critic_come_back(self, path, pair):
        loaded = bundle.load(path)
        for name, part in pair.parts().items():
            found = loaded.pair.parts()[name].state_dict()
            assert found.keys() == part.state_dict().keys()
            assert all(torch.equal(found[key], value) for key, value in part.state_dict().items())

    def test_the_manifest_comes_back(self, path):
        found = bundle.load(path).manifest
        assert replace(found, sha256="") == MANIFEST
        assert found == bundle.read_manifest(path)
        assert found.threshold == 0.1 + 0.2

    def test_saving_what_was_loaded_gives_the_same_bytes(self, path, tmp_path):
        loaded = bundle.load(path)
        again = bundle.save(tmp_path / "b.safetensors", loaded.manifest, loaded.pair)
        assert again == loaded.manifest.sha256
        assert (tmp_path / "b.safetensors").read_bytes() == path.read_bytes()

    def test_a_loaded_detector_is_in_eval_mode(self, path):
        parts = bundle.load(path).pair.parts().values()
        assert not any(module.training for part in parts for module in part.modules())

    def test_the_pair_that_is_saved_stays_as_it_is(self, tmp_path, pair):
        before = {name: value.clone() for name, value in pair.detector.state_dict().items()}
        bundle.save(tmp_path / "b.safetensors", MANIFEST, pair)
        assert pair.detector.training
        assert all(torch.equal(value, before[name]) for name, value in pair.detector.state_dict().items())

    def test_without_its_critic_a_bundle_is_smaller_and_scores_the_same(self, path, tmp_path, pair):
        small = tmp_path / "b.safetensors"
        bundle.save(small, replace(MANIFEST, critic=False), pair)
        assert bundle.load(small).pair.critic is None
        assert small.stat().st_size < path.stat().st_size
        assert torch.equal(bundle.load(small).detector.score(raw(3)), bundle.load(path).detector.score(raw(3)))

    def test_a_critic_that_is_not_there_is_not_promised(self, tmp_path, pair):
        bundle.save(tmp_path / "b.safetensors", MANIFEST, Pair(pair.detector))
        assert not bundle.load(tmp_path / "b.safetensors").manifest.critic

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8])
    def test_the_hash_tells_tensors_of_every_type_apart(self, dtype):
        plain = {
            "a": torch.tensor([1, 0, 1]).to(dtype),
            "b": torch.tensor(1).to(dtype),
            "c": torch.zeros(0, dtype=dtype),
        }
        others = [
            {**plain, "a": torch.tensor([1, 1, 1]).to(dtype)},
            {**plain, "a": plain["a"].reshape(3, 1)},
            {**plain, "b": plain["b"].to(torch.float16)},
            {"a": plain["a"], "b": plain["b"]},
            {"b": plain["b"], "a": plain["b"], "c": plain["c"]},
        ]
        assert len({bundle._hash(one, {}) for one in (plain, *others)}) == 6
        assert bundle._hash(dict(reversed(plain.items())), {}) == bundle._hash(plain, {})


class TestBuild:
    def test_weights_depend_on_the_seed_alone(self):
        states = []
        for global_seed, seed in ((0, 1), (5, 1), (0, 2)):
            torch.manual_seed(global_seed)
            states.append(bundle.build("ede_gan", OPTIONS, (1, 8, 8), seed).detector.encoder[0].weight)
        assert torch.equal(states[0], states[1])
        assert not torch.equal(states[0], states[2])

    def test_the_global_random_state_is_left(self):
        torch.manual_seed(7)
        wanted = torch.rand(3)
        torch.manual_seed(7)
        bundle.build("ede_gan", OPTIONS, (1, 8, 8), 1)
        assert torch.equal(torch.rand(3), wanted)


class TestDamage:
    def refused(self, path, said):
        with pytest.raises(BundleError, match=said) as caught:
            bundle.load(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
    def test_altered_bytes_are_found_by_the_hash(self, path, share):
        data = bytearray(path.read_bytes())
        start = 8 + int.from_bytes(data[:8], "little")
        data[start + int(share * (len(data) - start))] ^= 1
        path.write_bytes(data)
        self.refused(path, "its tensors or its manifest are not those that were saved: the hash differs")

    def test_altered_tensors_are_found_by_the_hash(self, path):
        tensors = tensors_of(path)
        name = "detector.encoder.0.bias"
        rewrite(path, {**tensors, name: tensors[name] + 1e-6}, sign=False)
        self.refused(path, "the hash differs")

    def test_swapped_tensors_are_found_by_the_hash(self, path):
        tensors = tensors_of(path)
        one, two = "detector.encoder.0.weight", "detector.second_encoder.0.weight"
        assert tensors[one].shape == tensors[two].shape
        rewrite(path, {**tensors, one: tensors[two], two: tensors[one]}, sign=False)

    @pytest.mark.parametrize(
        "change", [{"threshold": -5.0}, {"options": {**OPTIONS, "norm": "instance"}}, {"data": {}}]
    )
    def test_an_altered_manifest_is_found_by_the_hash(self, path, change):
        rewrite(path, sign=False, **change)
        self.refused(path, "the hash differs")
        self.refused(path, "the hash differs")

    @pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 0.5, -1])
    def test_a_truncated_file_is_refused(self, path, keep):
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
        self.refused(path, "not a safetensors file, or a damaged one")

    @pytest.mark.parametrize("content", [b"text" * 100, b"\x00" * 100, b"\xff" * 100, b"PK\x03\x04" + b"\x00" * 50])
    def test_another_file_is_refused(self, tmp_path, content):
        path = tmp_path / "a.safetensors"
        path.write_bytes(content)
        self.refused(path, "not a safetensors file, or a damaged one")

    def test_a_missing_file_and_a_folder_are_named(self, tmp_path):
        self.refused(tmp_path / "no.safetensors", "no such file")
        self.refused(tmp_path, "is a folder")

    def test_tensors_without_a_manifest_are_refused(self, tmp_path):
        path = tmp_path / "a.safetensors"
        for metadata in (None, {}, {"format": "pt"}):
            safetensors.torch.save_file({"a": torch.zeros(2)}, path, metadata)
            self.refused(path, "a safetensors file, but not a kdcompress bundle: it has no manifest")

    @pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"x"', "[" * 5000, "{}", '{"format": 1}'])
    def test_a_manifest_that_is_none_is_refused(self, path, text):
        path.write_bytes(safetensors.torch.save(tensors_of(path), {"kdcompress": text}))
        self.refused(path, "its manifest is damaged")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"options": 3}, "options: input should be a mapping of keys, not 3"),
            ({"options": None}, "options: input should be a mapping of keys, not null"),
            ({"architecture": 3}, "architecture: input should be a valid string, not 3"),
            ({"input_shape": 8}, "input_shape: input should be a list, not 8"),
            ({"input_shape": ["a"]}, "input_shape.0: input should be a valid integer, not 'a'"),
            ({"threshold": "high"}, "threshold: input should be a valid number, not 'high'"),
            ({"threshold": math.nan}, "threshold: input should be a finite number, not nan"),
            ({"data": []}, "data: input should be a mapping of keys, not a list"),
            ({"format": "x"}, "format: input should be a valid integer, not 'x'"),
        ],
    )
    def test_a_manifest_with_other_types_is_refused(self, path, change, said):
        rewrite(path, sign=False, **change)
        self.refused(path, f"its manifest is damaged: {said}")

    def test_a_newer_format_is_refused(self, path):
        rewrite(path, format=FORMAT + 1, something="new", options=3)
        self.refused(path, rf"written by a newer kdcompress \(format {FORMAT + 1}, known here: {FORMAT}\)")

    def test_a_further_key_of_the_same_format_does_not_hinder_reading(self, path):
        before = bundle.load(path).manifest
        rewrite(path, something="new")
        assert replace(bundle.load(path).manifest, sha256=before.sha256) == before

    def test_an_unknown_architecture_is_refused_with_the_nearest(self, path):
        rewrite(path, architecture="ede_gn")
        self.refused(path, r"unknown architecture 'ede_gn'; did you mean 'ede_gan'\? .*; give the plug-in that has it")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"options": {**OPTIONS, "widht": 1}}, "options.widht: unknown key 'widht'; did you mean 'width'"),
            ({"options": {**OPTIONS, "norm": "x"}}, "options.norm: input should be 'instance', "),
            ({"options": {**OPTIONS, "width": -1}}, "options.width: input should be greater than 0, not -1"),
            ({"options": {**OPTIONS, "depth": 7}}, "depth 7 is too much for 8 x 8 images"),
            ({"options": {**OPTIONS, "latent": 5}}, "of its tensors differ, e.g. detector.decoder.1.weight: "),
            ({"options": {**OPTIONS, "norm": "none"}}, "of its tensors differ, e.g. detector.decoder.1.bias: missing"),
            ({"input_shape": [1, 16, 16]}, "of its tensors differ"),
            (
                {"input_shape": [3, 8, 8]},
                r"of its tensors differ, e.g. critic.features.0.weight: \(.*\) in the file, \(",
            ),
            ({"input_shape": [8]}, "ede_gan takes images C x H x W"),
            ({"input_shape": [-1, 8, 8]}, "ede_gan takes images C x H x W"),
            ({"critic": False}, "of its tensors differ, e.g. critic.*: .* in the file, none by the options"),
        ],
    )
    def test_a_manifest_that_lies_is_refused(self, path, change, said):
        rewrite(path, **change)
        self.refused(path, f"does not fit the architecture 'ede_gan': .*{said}")

    def test_a_manifest_that_promises_a_critic_is_refused(self, path, pair):
        bundle.save(path, replace(MANIFEST, critic=False), pair)
        rewrite(path, critic=True)
        self.refused(path, "e.g. critic.features.0.bias: missing in the file")

    def test_a_manifest_cannot_ask_for_terabytes(self, path, monkeypatch):
        made = []
        real = ARCHITECTURES["ede_gan"]

        def watched(*args, **options):
            pair = real(*args, **options)
            made.append(next(pair.detector.parameters()).device.type)
            return pair

        watched.__signature__ = inspect.signature(real)
        watched.__annotations__ = typing.get_type_hints(real, include_extras=True)
        monkeypatch.setitem(ARCHITECTURES._items, "ede_gan", watched)
        rewrite(path, options={"width": 16, "base": 1024, "latent": 4096, "size": 256, "depth": 7})
        self.refused(path, "of its tensors differ")
        assert made == ["meta"]

    @pytest.mark.parametrize("extra", ["detector.more", "other"])
    def test_further_tensors_are_refused(self, path, extra):
        rewrite(path, {**tensors_of(path), extra: torch.zeros(2)}, sign=True)
        self.refused(path, f"1 of its tensors differ, e.g. {extra}: .* in the file, none by the options")

    def test_a_missing_tensor_is_refused(self, path):
        tensors = tensors_of(path)
        del tensors["detector.encoder.0.bias"]
        rewrite(path, tensors, sign=True)
        self.refused(path, "detector.encoder.0.bias: missing in the file")

    def test_an_architecture_that_looks_at_its_values_can_be_loaded(self, path, pair, monkeypatch):
        real = ARCHITECTURES["ede_gan"]

        def curious(input_shape, *, width: float = 1.0, base: int = 1, latent: int = 1, norm: str = "none"):
            torch.zeros(1).item()
            return real(input_shape, width=width, base=base, latent=latent, norm=norm)

        monkeypatch.setitem(ARCHITECTURES._items, "ede_gan", curious)
        pair.detector.eval()
        assert torch.equal(bundle.load(path).detector.score(raw(3)), pair.detector.score(raw(3)))
        rewrite(path, options={**OPTIONS, "latent": 5})
        with pytest.raises(BundleError, match="does not fit the architecture 'ede_gan': Error"):
            bundle.load(path)


class Bomb:
    """Removes a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.rmdir, (str(self.mark),)


@pytest.mark.parametrize("write", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))])
def test_a_pickle_is_refused_and_not_run(tmp_path, write):
    mark, path = tmp_path / "mark", tmp_path / "a.pt"
    mark.mkdir()
    write({"detector": Bomb(mark)}, path)
    with pytest.raises(BundleError, match="not a safetensors file"):
        bundle.load(path)
    assert mark.exists()
    with pytest.raises(BundleError, match="not a safetensors file"):
        bundle.read_manifest(path)
    torch.load(path, weights_only=False) if write is torch.save else pickle.loads(path.read_bytes())
    assert not mark.exists(), "the bomb is a dud"


def test_loading_unpickles_nothing(path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    assert bundle.load(path).manifest.recipe == "r"


def test_a_manifest_is_json_that_anybody_can_read(path):
    header = json.loads(path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")])
    plain = json.loads(header["__metadata__"]["kdcompress"])
    assert plain == {**json.loads(json.dumps(asdict(MANIFEST))), "sha256": plain["sha256"]}
    assert len(plain["sha256"]) == 64


def test_a_threshold_that_is_no_number_is_not_saved(tmp_path, pair):
    with pytest.raises(ValueError, match="not JSON compliant"):
        bundle.save(tmp_path / "a.safetensors", replace(MANIFEST, threshold=math.inf), pair)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_the_users_to_know(tmp_path, pair, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="a.safetensors: cannot write: No space left on device"):
        bundle.save(tmp_path / "a.safetensors", MANIFEST, pair)
    assert list(tmp_path.iterdir()) == []
