import pytest
import torch

from kdcompress import queries
from kdcompress.queries import IMAGES_ONLY, MAKERS

IMAGES = torch.randint(0, 256, (60, 3, 12, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
SQUARE = IMAGES[..., :8, :]
ROWS = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10.0, 0.1, 0.0]) + 5


@pytest.mark.parametrize("kind", MAKERS)
def test_queries_of_images_are_images_like_them(kind):
    made = queries.made([kind], SQUARE, 37, 1)
    assert made.shape == (37, *SQUARE.shape[1:])
    assert made.dtype == torch.uint8
    assert torch.equal(made, queries.made([kind], SQUARE, 37, 1))
    assert not torch.equal(made, queries.made([kind], SQUARE, 37, 2))
    normals = {bytes(one.numpy()) for one in SQUARE}
    assert sum(bytes(one.numpy()) in normals for one in made) < 5


@pytest.mark.parametrize("kind", sorted(set(MAKERS) - IMAGES_ONLY))
def test_queries_of_rows_are_rows_whose_constants_stay(kind):
    made = queries.made([kind], ROWS, 50, 1)
    assert made.shape == (50, 4)
    torch.testing.assert_close(made[:, 3], torch.full((50,), 5.0))
    assert made[:, 0].std() > 0.1


def test_kinds_take_equal_parts_and_the_count_is_exact():
    assert len(queries.made(["noise", "mixes", "uniform"], ROWS, 10, 1)) == 10
    assert len(queries.made(["noise", "mixes", "uniform"], ROWS, 1, 1)) == 1


def test_mixes_lie_on_the_line_through_two_samples():
    two = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    made = queries.made(["mixes"], two.repeat(50, 1), 100, 1)
    torch.testing.assert_close(made[:, 1], 2 * made[:, 0])
    assert -0.5 <= made[:, 0].min() < -0.2
    assert 1.2 < made[:, 0].max() <= 1.5


def test_uniform_ones_fill_the_range_and_a_half_beyond():
    made = queries.made(["uniform"], torch.tensor([[0.0], [1.0]]).repeat(500, 1), 1000, 1)
    assert made.min() == pytest.approx(-0.5, abs=0.02)
    assert made.max() == pytest.approx(1.5, abs=0.02)
    assert made.mean() == pytest.approx(0.5, abs=0.05)


def test_shuffled_features_come_from_the_normals_and_go_together_no_more():
    both = torch.randn(2000, 1, generator=torch.Generator().manual_seed(3)).expand(-1, 2).contiguous()
    made = queries.made(["shuffles"], both, 2000, 1)
    known = set(both.flatten().tolist())
    assert all(value in known for value in made.flatten().tolist())
    agreement = (made[:, 0] == made[:, 1]).double().mean()
    assert agreement == pytest.approx(1 / 3, abs=0.05)  # of all shares p of features taken, the mean of (1 - p)^2


def test_shuffled_images_keep_their_pixels_in_place():
    level = torch.arange(12, dtype=torch.uint8)[:, None, None, None] * 20
    place = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
    made = queries.made(["shuffles"], (level + place).contiguous(), 40, 1)
    assert ((made - place) % 20 == 0).all()
    assert ((made - place).flatten(1).amin(1) != (made - place).flatten(1).amax(1)).any()


def test_a_pasted_image_is_another_one_in_a_rectangle():
    flat = (torch.arange(30, dtype=torch.uint8) * 8)[:, None, None, None].expand(-1, 1, 16, 16).contiguous()
    for one in queries.made(["pasted"], flat, 30, 1):
        values, counts = one.unique(return_counts=True)
        assert len(values) <= 2
        patch = one[0] == values[counts.argmin()]
        rows, columns = patch.any(1), patch.any(0)
        assert patch.sum() == rows.sum() * columns.sum()


def test_turns_are_never_by_nothing():
    one = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
    turned = queries.made(["turns"], one, 60, 1)
    found = {bytes(each.numpy()) for each in turned}
    assert found == {bytes(one.rot90(count, (2, 3)).contiguous().numpy()) for count in (1, 2, 3)}


@pytest.mark.parametrize(
    ("kinds", "shape", "said"),
    [
        (("noise", "pasted"), (5,), "'pasted' is for images, not for samples of shape (5,) (allowed: noise, mixes,"),
        (("turns",), (1, 8, 9), "'turns' is for square images, not for 8 x 9"),
        (("turns", "pasted"), (1, 8, 8), ""),
        (("noise", "uniform"), (5,), ""),
    ],
)
def test_kinds_that_do_not_fit_are_named(kinds, shape, said):
    assert queries.unfit(kinds, shape).startswith(said)
    assert bool(queries.unfit(kinds, shape)) == bool(said)
