import math

import pytest
import torch

from kdcompress import bundle
from kdcompress.errors import InputError
from kdcompress.profiling.counters import macs, params
from kdcompress.types import Scorer


def images(count, seed=0, side=12, channels=1):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, side // 3, side // 3, generator=generator) * 255
    return torch.nn.functional.interpolate(coarse, side, mode="bilinear").round().to(torch.uint8)


def ready(name, normals, **options):
    detector = bundle.build(name, options, tuple(normals.shape[1:]), 0).detector.eval()
    with torch.no_grad():
        detector.adapt(normals.split(50))
        detector.calibrate([detector.prepare(chunk) for chunk in normals.split(70)])
    return detector


def by_definition(detector, normals, tested, stride, reach):
    """Distances [N, T] by loops over places and shifts; beyond an image nothing is shown."""
    kept, seen = detector.described(detector.prepare(normals)), detector.described(detector.prepare(tested))
    height, width = seen.shape[2:]
    found = torch.zeros(len(tested), len(normals))
    places = [(row, column) for row in range(0, height, stride) for column in range(0, width, stride)]
    for row, column in places:
        shifts = [
            (row + down, column + right) for down in range(-reach, reach + 1) for right in range(-reach, reach + 1)
        ]
        near = [
            seen[:, :, down, right] if 0 <= down < height and 0 <= right < width else torch.zeros_like(seen[:, :, 0, 0])
            for down, right in shifts
        ]
        apart = torch.stack(near)[:, :, None] - kept[None, None, :, :, row, column]
        found += apart.square().sum(3).amin(0)
    return found / len(places)


@pytest.mark.parametrize(("stride", "reach", "channels"), [(4, 2, 1), (3, 1, 3), (5, 0, 1)])
def test_a_score_is_the_mean_distance_from_the_nearest_normals_by_definition(stride, reach, channels):
    normals, tested = images(9, channels=channels), images(5, seed=1, channels=channels)
    detector = ready("deformable_neighbours", normals, kept=9, neighbours=2, stride=stride, reach=reach)
    with torch.no_grad():
        squares = by_definition(detector, normals, tested, stride, reach)
        expected = squares.topk(2, largest=False).values.sqrt().mean(1)
        torch.testing.assert_close(detector.score(tested), expected, atol=1e-5, rtol=1e-4)


def test_filters_are_components_of_patches_in_units_of_what_they_show():
    normals = images(60)
    detector = ready("deformable_neighbours", normals, components=24)
    weights = detector.filters.weight.flatten(1)
    torch.testing.assert_close(weights.sum(1), torch.zeros(24), atol=1e-4, rtol=0)
    scaled = weights / weights.norm(dim=1, keepdim=True)
    torch.testing.assert_close(scaled @ scaled.T, torch.eye(24), atol=1e-4, rtol=0)
    with torch.no_grad():
        described = detector.described(detector.prepare(normals))
    power = described.square().mean((0, 2, 3))
    assert (power[:-1] >= power[1:] * (1 - 1e-4)).all()
    assert power.sum().item() == pytest.approx(1, rel=1e-3)


def test_brightness_does_not_count_and_a_small_shift_costs_little():
    normals = images(20) // 2
    detector = ready("deformable_neighbours", normals, kept=20, neighbours=1)
    torch.testing.assert_close(detector.score(normals + 100), detector.score(normals), atol=1e-3, rtol=0)
    stiff = ready("deformable_neighbours", normals, kept=20, neighbours=1, reach=0)
    shifted = normals.roll(1, 3)
    assert detector.score(shifted).mean() < 0.7 * stiff.score(shifted).mean()


def test_places_of_the_memory_that_are_not_used_are_never_the_nearest():
    normals, tested = images(9), images(5, seed=1)
    roomy = ready("deformable_neighbours", normals, kept=30, neighbours=9)
    exact = ready("deformable_neighbours", normals, kept=9, neighbours=9)
    torch.testing.assert_close(roomy.score(tested), exact.score(tested))


def test_templates_that_are_chosen_sharply_are_neighbours():
    normals, tested = images(6), images(5, seed=1)
    same = {"components": 4, "kernel": 3}
    one = ready("deformable_neighbours", normals, kept=6, neighbours=1, **same)
    few = ready("deformable_prototypes", normals, points=6, **same)
    with torch.no_grad():
        few.sharpness.fill_(math.log(1e6))
    torch.testing.assert_close(few.score(tested), one.score(tested), atol=1e-3, rtol=1e-3)


def test_what_a_step_moves_are_templates_and_their_weights():
    few = ready("deformable_prototypes", images(6), points=3)
    assert {name for name, _ in few.named_parameters()} == {"points.weight", "stretch", "offset", "sharpness"}
    few(few.prepare(images(4, seed=1)))["distance"].mean().backward()
    assert few.points.weight.grad.abs().sum() > 0
    assert few.stretch.grad.abs().sum() > 0


def test_cost_is_the_filters_and_each_place_of_each_template_at_each_shift():
    normals = images(6)
    memory = ready("deformable_neighbours", normals, kept=6)
    assert macs(Scorer(memory), normals[:1]) == 12 * 12 * 25 * 8 + 6 * 9 * 25 * 8
    assert params(memory) == 0
    few = ready("deformable_prototypes", normals, points=3)
    assert macs(Scorer(few), normals[:1]) == 12 * 12 * 9 * 4 + 3 * 9 * 25 * 4


def test_more_components_than_a_patch_has_are_refused():
    with pytest.raises(InputError, match=r"components: 9 are more than patches of 1 x 3 x 3 have \(allowed: 1 to 8\)"):
        bundle.build("deformable_prototypes", {"components": 9}, (1, 12, 12), 0)


def test_fewer_normals_than_neighbours_are_refused():
    with pytest.raises(InputError, match=r"5 neighbours need as many normals, there are 3 \(allowed: 1 to 3\)"):
        ready("deformable_neighbours", images(3))


def test_rows_are_refused():
    with pytest.raises(InputError, match="deformable_neighbours takes images C x H x W"):
        bundle.build("deformable_neighbours", {}, (7,), 0)
