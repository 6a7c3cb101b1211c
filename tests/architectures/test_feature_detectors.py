import json

import pytest
import safetensors.torch
import torch
import yaml
from scipy.spatial.distance import cdist
from torch.nn import functional as F
from torchvision import models

from kdcompress import bundle, signature
from kdcompress import recipe as recipes
from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.patch_memory import _drawn, farthest
from kdcompress.bundle import Manifest
from kdcompress.engine.plan import Plan
from kdcompress.evaluation import score
from kdcompress.pipeline import run as run_recipe
from kdcompress.profiling.counters import macs
from kdcompress.resolve import resolve
from kdcompress.stage import fed
from kdcompress.strategies.fitted import fitted
from kdcompress.strategies.response import response
from kdcompress.types import Scorer, interface
from tests.engine.nets import run, same, weights

NAMES = ("patch_memory", "stfpm", "reverse_distillation")
SMALL = {"backbone": "mobilenet_v3_small"}


def images(count, seed=0, side=32):
    """Return smooth grey images: low frequencies of random phase."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 4, 4, generator=generator)
    return (255 * F.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)).round().to(torch.uint8)


def pair(name, side=32, **options):
    found = bundle.build(name, {**SMALL, **options}, (1, side, side), 0)
    found.detector.eval()
    return found


def memory(normals, **options):
    found = pair("patch_memory", normals.shape[-1], **options)
    sides = interface(found, normals[:2]), None
    assert run(fed(fitted(*sides), *sides)[0], found, raw=normals) == []
    return found.detector


def features(detector, raw):
    """Return all patches [M, C] as the paper describes them, by hand."""
    with torch.no_grad():
        fine, coarse = detector.backbone(detector.backbone.standard(detector.prepare(raw)))[1:]
        ones = torch.ones(1, 1, *fine.shape[2:])
        averaged = F.avg_pool2d(fine, 3, 1, 1) / F.avg_pool2d(ones, 3, 1, 1)
        ones = torch.ones(1, 1, *coarse.shape[2:])
        other = F.avg_pool2d(coarse, 3, 1, 1) / F.avg_pool2d(ones, 3, 1, 1)
        other = F.interpolate(other, fine.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat([averaged, other], 1).permute(0, 2, 3, 1).flatten(0, 2)


def test_a_memory_of_all_patches_knows_its_own_images():
    normals = images(12)
    detector = memory(normals, patches=12 * 16)
    typical = detector.score(images(20, 1)).mean()
    assert detector.score(normals).max() < 1e-4 * typical


def test_scores_are_the_largest_distance_from_the_nearest_patch():
    """Against SciPy's distances of all pairs, in float64."""
    normals, tested = images(12), images(9, 1)
    detector = memory(normals, patches=12 * 16)
    apart = cdist(features(detector, tested).double(), features(detector, normals).double()).min(1)
    expected = apart.reshape(9, -1).max(1)
    assert detector.score(tested).tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_more_places_than_patches_change_nothing():
    normals, tested = images(5), images(9, 1)
    exact, roomy = memory(normals, patches=5 * 16), memory(normals, patches=5 * 16 + 30)
    torch.testing.assert_close(exact.score(tested), roomy.score(tested))


def test_one_level_is_compared_without_the_others():
    detector = memory(images(5), levels=[1], patches=7)
    assert detector.memory.weight.shape == (7, 16)
    assert not hasattr(detector.backbone.network.features, "2")
    assert detector.score(images(3, 1)).shape == (3,)


def test_a_choice_of_all_rows_is_all_of_them():
    rows = torch.randn(40, 200, generator=torch.Generator().manual_seed(0))
    assert sorted(farthest(rows, 40).tolist()) == list(range(40))
    assert sorted(farthest(torch.ones(5, 3), 5).tolist()) == [0, 1, 2, 3, 4]


def test_each_choice_is_the_farthest_from_those_before():
    rows = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    chosen = farthest(rows, 10).tolist()
    between = torch.cdist(rows, rows)
    for count in range(1, 10):
        gaps = between[:, chosen[:count]].amin(1)
        assert gaps[chosen[count]] == pytest.approx(gaps.max().item())


def test_of_too_many_rows_some_of_every_chunk_are_drawn():
    rows = torch.arange(3000.0)[:, None]
    drawn = _drawn(rows.split(700), 500)[:, 0]
    assert torch.equal(drawn, drawn.sort().values.unique())
    assert len(drawn) == 500
    # A share of 1/6 of 500 is 83 +- 8.
    assert all(55 < int(((drawn >= low) & (drawn < low + 500)).sum()) < 115 for low in range(0, 3000, 500))
    assert torch.equal(_drawn(rows.split(700), 3000), rows)


def test_the_cost_of_a_memory_is_its_product():
    one = images(1)
    costs = [macs(Scorer(pair("patch_memory", patches=patches).detector), one) for patches in (100, 300)]
    assert costs[1] - costs[0] == 200 * 16 * (24 + 48)


def trained(name, normals, **options):
    """Return a pair trained alone, and the losses of its epochs."""
    found = pair(name, normals.shape[-1], **options)
    sides = interface(found, normals[:2]), None
    stages = fed(response(*sides, epochs=12, batch_size=8, learning_rate=5e-3), *sides)[0]
    return found, [row["losses"]["student.feature_distance"] for row in run(stages, found, raw=normals)]


@pytest.mark.parametrize("name", ["stfpm", "reverse_distillation"])
def test_training_moves_what_imitates_and_nothing_frozen(name):
    normals = images(32)
    before = weights(pair(name).detector.backbone)
    found, losses = trained(name, normals, width=0.5)
    assert losses[-1] < 0.5 * losses[0]
    assert same(before, weights(found.detector.backbone))
    fresh = pair(name, width=0.5).detector
    with torch.no_grad():
        means = [
            each.eval()(each.prepare(images(16, 1)))["feature_distance"].mean() for each in (fresh, found.detector)
        ]
    assert means[1] < 0.7 * means[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_map_lights_up_where_something_was_pasted(name):
    normals, size = images(48, side=64), 16
    detector = memory(normals) if name == "patch_memory" else trained(name, normals)[0].detector.eval()
    plain = images(6, 1, side=64)
    spoilt = plain.clone()
    noise = torch.randint(0, 2, (6, 1, size, size), generator=torch.Generator().manual_seed(2)) * 255
    spoilt[:, :, 40 : 40 + size, 8 : 8 + size] = noise.to(torch.uint8)
    assert (detector.score(spoilt) > detector.score(plain)).all()
    with torch.no_grad():
        maps = detector(detector.prepare(spoilt))["anomaly_map"]
    assert maps.shape == (6, 1, 64, 64)
    for peak in maps.flatten(1).argmax(1).tolist():
        row, column = divmod(peak, 64)
        # A level's pixel is 16 of the image's at the most.
        assert 40 - 16 <= row < 40 + size + 16
        assert 0 <= column < 8 + size + 16


@pytest.mark.parametrize("name", ["stfpm", "reverse_distillation"])
@pytest.mark.parametrize("plan", [Plan(channels_last=True), Plan("bf16"), Plan(folded=True)], ids=str)
def test_it_trains_by_every_plan(name, plan):
    found = pair(name, width=0.1)
    sides = interface(found, images(2)), None
    stages = fed(response(*sides, epochs=4, batch_size=8), *sides)[0]
    losses = [row["losses"]["student.feature_distance"] for row in run(stages, found, raw=images(16), plan=plan)]
    assert losses[-1] < losses[0]


def test_the_nearest_patch_is_not_looked_for_in_bfloat16():
    detector, raw = memory(images(12), patches=12 * 16), images(9, 1)
    x = detector.prepare(raw)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = detector(x)["patch_distance"].flatten()
        rows = detector._patches(x).flatten(0, 2)
    expected = cdist(rows.double(), detector.memory.weight.double()).min(1)
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def levels_of(detector, raw):
    """Return each level's distances [N, 1, h, w] as the papers write them: half the square of a difference."""
    seen = detector.backbone.standard(detector.prepare(raw))
    maps = detector.backbone(seen)
    if hasattr(detector, "pyramid"):
        others = [head(one) for head, one in zip(detector.heads, detector.pyramid(seen), strict=True)]
    else:
        others = detector.decoder(detector.bottleneck(maps))
    return [1 - F.cosine_similarity(one, other)[:, None] for one, other in zip(maps, others, strict=True)]


@pytest.mark.parametrize(("name", "joined"), [("stfpm", torch.prod), ("reverse_distillation", torch.sum)])
def test_levels_are_joined_as_in_the_paper(name, joined):
    detector, raw = pair(name, side=48, size=40).detector, images(3, side=48)
    with torch.no_grad():
        outputs = detector(detector.prepare(raw))
        levels = levels_of(detector, raw)
    large = [F.interpolate(one, (48, 48), mode="bilinear", align_corners=False) for one in levels]
    torch.testing.assert_close(outputs["anomaly_map"], joined(torch.stack(large), 0), rtol=1e-4, atol=1e-6)
    means = torch.stack([one.mean((1, 2, 3)) for one in levels], 1)
    torch.testing.assert_close(outputs["feature_distance"], means, rtol=1e-4, atol=1e-6)
    assert torch.equal(detector.score(raw), outputs["anomaly_map"].flatten(1).amax(1))


@pytest.mark.parametrize("name", ["stfpm", "reverse_distillation"])
@pytest.mark.parametrize("backbone", ["resnet18", "wide_resnet50_2", "mobilenet_v3_small", "efficientnet_b0"])
def test_every_width_of_every_backbone_costs_no_less_than_a_narrower_one(name, backbone):
    def cost(width):
        with torch.device("meta"):
            detector = ARCHITECTURES[name]((3, 32, 32), backbone=backbone, width=width).detector
        return macs(Scorer(detector), torch.empty(1, 3, 32, 32, dtype=torch.uint8, device="meta"))

    costs = [cost(width) for width in (0.01, 0.3, 0.9, 0.98, 0.999, 1.0, 1.02)]
    assert costs == sorted(costs)


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(5)
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(models.get_model("mobilenet_v3_small", weights=None).state_dict(), path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_needs_the_weights_file_no_more_and_does_not_name_it(name, file, tmp_path):
    options = signature.resolved(ARCHITECTURES[name], {**SMALL, "weights": str(file), "width": 0.5})
    found = bundle.build(name, options, (1, 32, 32), 0)
    before = score(found.detector, images(5)).tolist()
    found.detector.adapt([images(5)])
    expected = score(found.detector, images(5)).tolist()
    assert expected != before
    bundle.save(tmp_path / "b.safetensors", Manifest(name, options, (1, 32, 32)), found)
    file.unlink()
    again = bundle.load(tmp_path / "b.safetensors")
    assert score(again.detector, images(5)).tolist() == expected
    assert again.manifest.options["weights"] == {"sha256": options["weights"]["sha256"]}


def recipe(file):
    architecture = {"name": "patch_memory", **SMALL, "weights": str(file), "patches": 8}
    plain = {
        "name": "r",
        "data": {"name": "synthetic", "train": 40, "test": 40, "height": 16, "width": 16},
        "teacher": {"architecture": architecture, "strategy": {"name": "fitted"}},
        "student": {"name": "score_net", "base": 4},
        "strategy": {"name": "response", "epochs": 1, "batch_size": 16, "queries": ["pasted"]},
        "engine": {"precision": "fp32", "channels_last": False, "folded": False, "threads": 1},
    }
    return recipes.parse(plain)


def test_a_digest_changes_with_the_weights_and_not_with_their_place(file, tmp_path):
    def digest(path):
        return recipes.digest(resolve(recipe(path), "r"))

    before = digest(file)
    moved = file.rename(tmp_path / "moved.safetensors")
    assert digest(moved) == before
    moved.write_bytes(moved.read_bytes() + b" ")
    assert digest(moved) != before


def test_a_file_that_is_not_there_is_a_problem_of_the_recipe(tmp_path):
    with pytest.raises(recipes.RecipeError, match=r"teacher\.architecture\.weights: .*nothing\.pth: no such file"):
        resolve(recipe(tmp_path / "nothing.pth"), "r")


def test_a_run_from_the_file_to_the_result_names_the_file_in_its_recipe_alone(file, tmp_path):
    done = run_recipe(recipe(file), tmp_path / "runs")
    assert done.result.teacher_architecture.name == "patch_memory"
    found = bundle.load(done.rundir.bundle("teacher")).detector
    weight = safetensors.torch.load_file(file)["features.0.0.weight"]
    assert torch.equal(found.backbone.network.get_submodule("features.0.0").weight, weight)
    assert str(tmp_path) not in json.dumps(done.result.teacher_architecture.options)


def test_a_run_that_has_its_detectors_goes_on_without_the_file(file, tmp_path):
    written = recipe(file)
    done = run_recipe(written, tmp_path / "runs")
    (sha256,) = done.result.teacher_architecture.options["weights"].values()
    file.unlink()
    for result in (tmp_path / "runs").rglob("result.json"):
        result.unlink()
    plain = yaml.safe_load(written.to_yaml())
    plain["teacher"]["architecture"]["weights"] = {"file": str(file), "sha256": sha256}
    again = run_recipe(recipes.parse(plain), tmp_path / "runs")
    assert again.rundir.path == done.rundir.path
    assert again.result.student.auroc == done.result.student.auroc


def test_planning_reads_no_file_where_the_hash_is_known():
    weights = {"file": "nowhere.pth", "sha256": "0" * 64}
    for name in NAMES:
        with torch.device("meta"):
            detector = ARCHITECTURES[name](
                (1, 32, 32), **signature.arguments(ARCHITECTURES[name], {"weights": weights})
            )
        assert macs(Scorer(detector.detector), torch.empty(1, 1, 32, 32, dtype=torch.uint8, device="meta")) > 0
