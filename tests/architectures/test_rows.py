import numpy as np
import pytest
import torch
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

from kdcompress import bundle
from kdcompress.architectures.isolation_forest import path_length
from kdcompress.errors import InputError
from kdcompress.profiling.counters import macs, params
from kdcompress.types import Scorer


def rows(count, seed=0, columns=5):
    drawn = torch.randn(count, columns, generator=torch.Generator().manual_seed(seed))
    return drawn * torch.tensor([1.0, 100.0, 0.01, 3.0, 1.0])[:columns] + 7


def ready(name, normals, **options):
    detector = bundle.build(name, options, tuple(normals.shape[1:]), 0).detector.eval()
    with torch.no_grad():
        detector.adapt(normals.split(50))
        detector.calibrate([detector.prepare(chunk) for chunk in normals.split(70)])
    return detector


def scaled(normals, other):
    return ((other - normals.mean(0)) / normals.std(0, correction=0)).double().numpy()


def test_rows_are_scaled_by_the_normals_and_constants_keep_their_unit():
    normals = torch.cat([rows(300), torch.full((300, 1), 4.0)], 1)
    x = ready("mlp_ae", normals).prepare(normals)
    torch.testing.assert_close(x.mean(0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.tensor([1.0] * 5 + [0.0]), atol=1e-4, rtol=0)
    assert ready("mlp_ae", normals).prepare(normals[:1] + 2)[0, 5] == 2


def test_images_are_rows_too():
    images = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8)
    assert ready("mlp_ae", images).prepare(images).shape == (20, 64)


def test_nearest_neighbours_are_those_of_scikit_learn():
    normals, tested = rows(300), rows(50, 1)
    detector = ready("nearest_neighbours", normals, neighbours=4)
    reference = NearestNeighbors(n_neighbors=4).fit(scaled(normals, normals))
    expected = reference.kneighbors(scaled(normals, tested))[0].mean(1)
    assert detector.score(tested).tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_a_memory_that_is_too_small_keeps_normals_from_everywhere():
    detector = ready("nearest_neighbours", rows(300), kept=30)
    kept = detector.memory.weight
    x = detector.prepare(rows(300))
    places = [int((x == one).all(1).nonzero()) for one in kept]
    assert places == sorted(places)
    assert places[0] == 0
    assert places[-1] == 299
    assert max(np.diff(places)) <= 11


def test_fewer_normals_than_neighbours_are_refused():
    with pytest.raises(InputError, match=r"5 neighbours need as many normals, there are 3 \(allowed: 1 to 3\)"):
        ready("nearest_neighbours", rows(3))


@pytest.mark.parametrize(("samples", "count"), [(256, 400), (64, 400), (256, 90)])
def test_the_forest_is_that_of_scikit_learn(samples, count):
    normals, tested = rows(count), torch.cat([rows(60, 1), rows(20, 2) * 3])
    detector = ready("isolation_forest", normals, samples=samples, seed=3)
    x = detector.prepare(normals).numpy()
    reference = IsolationForest(n_estimators=100, max_samples=min(samples, count), random_state=3).fit(x)
    expected = -reference.score_samples(detector.prepare(tested).numpy())
    assert detector.score(tested).tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_forest_of_duplicates_scores_them():
    detector = ready("isolation_forest", torch.ones(40, 2))
    assert torch.isfinite(detector.score(torch.tensor([[1.0, 1.0], [5.0, -3.0]]))).all()


def test_path_lengths_are_those_of_the_paper():
    assert [path_length(n) for n in (0, 1, 2)] == [0, 0, 1]
    assert path_length(256) == pytest.approx(10.2448, abs=1e-4)


def test_the_cost_of_a_memory_is_its_product_and_a_forest_has_none():
    memory = ready("nearest_neighbours", rows(50), kept=50)
    assert macs(Scorer(memory), rows(1)) == 50 * 5
    assert params(memory) == 0
    assert macs(Scorer(ready("isolation_forest", rows(50))), rows(1)) == 0


def test_all_passes_of_an_affine_net_are_counted():
    detector = ready("affine_net", rows(50), base=8, depth=2, maps=6, projected=4)
    assert macs(Scorer(detector), rows(1)) == 6 * (5 * 4 + 4 * 8 + 8 * 8 + 8 * 6)


def test_affine_nets_of_any_width_and_seed_tell_the_same_maps_apart():
    one = bundle.build("affine_net", {}, (5,), 0).detector
    other = bundle.build("affine_net", {"width": 0.2}, (5,), 1).detector
    assert torch.equal(one.maps.weight, other.maps.weight)
    assert "maps.weight" not in dict(one.named_parameters())


def test_the_centre_is_where_normals_are_and_away_from_zero():
    normals = rows(100)
    detector = ready("deep_svdd", normals)
    with torch.no_grad():
        mean = detector(detector.prepare(normals))["latent"].mean(0)
    centre = detector.sphere.centre
    assert (centre.abs() >= 0.1 - 1e-6).all()
    far = mean.abs() >= 0.1
    torch.testing.assert_close(centre[far], mean[far], atol=1e-4, rtol=1e-4)
    assert torch.equal(centre.sign()[~far], torch.where(mean[~far] < 0, -1.0, 1.0))


@pytest.mark.parametrize("name", ["mlp_ae", "nearest_neighbours", "isolation_forest", "affine_net", "score_net"])
def test_too_large_samples_are_refused(name):
    with pytest.raises(InputError, match=f"{name} takes samples of 1 to 65,536 numbers, not input of shape"):
        bundle.build(name, {}, (70_000,), 0)
