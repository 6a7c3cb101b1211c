import itertools
import random

import pytest
import torch

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.blocks import ladder
from kdcompress.errors import InputError
from kdcompress.profiling.counters import macs
from kdcompress.students.width import solve
from kdcompress.types import Scorer

GRID = [index / 1000 for index in range(1, 16_001)]


def staircase(seed):
    """Return a cost that grows in steps of random height at random widths, and the widths where it does."""
    draw = random.Random(seed)
    edges = sorted(draw.randint(1, 15_999) / 1000 for _ in range(draw.randint(1, 60)))
    heights = [draw.randint(1, 10_000) for _ in edges]
    floor = draw.randint(1, 500)

    def cost(width):
        return floor + sum(height for edge, height in zip(edges, heights, strict=True) if width >= edge)

    return cost, edges


@pytest.mark.parametrize("seed", range(25))
def test_no_wider_student_meets_the_budget(seed):
    cost, edges = staircase(seed)
    steps = sorted({cost(edge) for edge in edges})
    for asked in {cost(1e-6), *steps[:3], *steps[-2:], steps[0] + 1, steps[-1] - 1, steps[-1] * 10}:
        if asked < cost(1e-6):
            continue
        found = solve(cost, "macs", asked)
        affordable = [width for width in (1e-6, *edges, 16.0) if cost(width) <= asked]
        assert cost(found.width) == cost(max(affordable))
        assert found.reached == cost(found.width) <= asked
        assert (found.metric, found.asked) == ("macs", asked)


@pytest.mark.parametrize("seed", range(25))
def test_no_wider_student_meets_the_ratio(seed):
    cost, edges = staircase(seed)
    reference = cost(1.0) * 7 + 3
    for asked in (reference / cost(1e-6), *(reference / cost(edge) for edge in edges[::7]), 1.0, 3.7):
        if asked > reference / cost(1e-6):
            continue
        found = solve(cost, "macs_ratio", asked, reference)
        affordable = [width for width in (1e-6, *edges, 16.0) if reference / cost(width) >= asked]
        assert cost(found.width) == cost(max(affordable))
        assert found.reached == reference / cost(found.width) >= asked


def test_a_ratio_that_was_reached_can_be_asked_for():
    def cost(width):
        return max(1, int(width * 1000))

    # Division rounds: for a third of these, reference / (reference / spent) is not spent.
    for spent, reference in itertools.product(range(1, 1000, 13), (52_800_000, 7777, 12_345)):
        first = solve(cost, "macs_ratio", reference / spent, reference)
        assert cost(first.width) == spent
        assert solve(cost, "macs_ratio", first.reached, reference) == first


@pytest.mark.parametrize("seed", range(10))
def test_the_width_is_the_shortest_decimal_of_its_cost(seed):
    cost, edges = staircase(seed)
    found = solve(cost, "macs", cost(edges[len(edges) // 2]))
    digits = len(str(found.width).partition(".")[2])
    assert digits <= 3  # the step's own edge costs the same and has three
    if digits > 1:
        coarser = [index / 10 ** (digits - 1) for index in range(1, 16 * 10 ** (digits - 1))]
        assert all(cost(width) != cost(found.width) for width in coarser if width <= found.width)


@pytest.mark.parametrize("full", [1, 10, 52_800_000])
def test_the_full_cost_gives_the_full_width(full):
    def cost(width):
        return max(1, int(full * width * width))

    assert solve(cost, "macs", cost(1.0)).width == pytest.approx(1.0, abs=0.5 if full == 1 else 0.1)
    assert cost(solve(cost, "macs", cost(1.0)).width) == cost(1.0)
    assert solve(cost, "macs_ratio", 1.0, cost(1.0)).reached == 1.0


def test_no_student_is_wider_than_sixteen():
    assert solve(lambda width: 5, "params", 5).width == 16.0
    assert solve(lambda width: int(width * 100) + 1, "params", 10**9).width == 16.0


def test_more_budget_never_gives_a_narrower_student():
    cost, _ = staircase(3)
    widths = [solve(cost, "macs", asked).width for asked in range(cost(1e-6), cost(16.0) + 100, cost(16.0) // 60)]
    assert [cost(width) for width in widths] == sorted(cost(width) for width in widths)


@pytest.mark.parametrize(
    ("narrowest", "metric", "asked", "reference", "said"),
    [
        (
            100,
            "macs",
            99,
            None,
            r"^macs: 99 cannot be reached .* \(allowed: at least 100, the narrowest student\)",
        ),
        (1_234_567_891, "params", 5, None, r"^params: 5 .* \(allowed: at least 1234567891,"),
        (100, "macs_ratio", 10.5, 1000, r"^macs_ratio: 10.5 .* \(allowed: at most 10, the narrowest"),
        (3, "macs_ratio", 500, 1000, r"\(allowed: at most 333.33,"),
        (1, "macs_ratio", 5e7, 12_345_678, r"^macs_ratio: 50000000 .* \(allowed: at most 12345678,"),
        (7, "macs_ratio", 1e9, 8_641_976, r"\(allowed: at most 1234568,"),
        (70, "macs_ratio", 1e9, 86_419_754, r"\(allowed: at most 1234567.91,"),
    ],
)
def test_what_cannot_be_reached_is_named_with_what_can(narrowest, metric, asked, reference, said):
    with pytest.raises(InputError, match=said):
        solve(lambda width: narrowest + int(width * 5), metric, asked, reference)


@pytest.mark.parametrize(("narrowest", "reference"), [(7, 86_419_753), (3, 1000), (1, 12_345_679), (977, 52_846_848)])
def test_the_limit_that_is_named_can_be_reached(narrowest, reference):
    def cost(width):
        return narrowest + int(width * 5)

    with pytest.raises(InputError, match="at most") as caught:
        solve(cost, "macs_ratio", 1e12, reference)
    limit = float(str(caught.value).partition("at most ")[2].partition(",")[0])
    assert solve(cost, "macs_ratio", limit, reference).reached >= limit


class TestEdeGan:
    SHAPE = (1, 16, 16)
    OPTIONS = {"base": 8, "latent": 6}

    def cost(self, width):
        with torch.device("meta"):
            detector = ARCHITECTURES["ede_gan"](self.SHAPE, width=width, **self.OPTIONS).detector
        return macs(Scorer(detector), torch.zeros(1, *self.SHAPE, dtype=torch.uint8, device="meta"))

    def channels(self, width):
        return ladder(self.OPTIONS["base"], 2, width)

    @pytest.mark.parametrize("ratio", [1.0, 3.0, 12.5, 30.0])
    def test_the_next_wider_student_costs_too_much(self, ratio):
        full = self.cost(1.0)
        found = solve(self.cost, "macs_ratio", ratio, full)
        assert found.reached == full / self.cost(found.width) >= ratio
        wider = next(
            width for width in GRID if width > found.width and self.channels(width) != self.channels(found.width)
        )
        assert full / self.cost(wider) < ratio

    def test_a_ratio_of_one_is_the_teacher_itself(self):
        found = solve(self.cost, "macs_ratio", 1.0, self.cost(1.0))
        assert self.channels(found.width) == self.channels(1.0)
        assert found.reached == 1.0

    def test_the_narrowest_student_has_one_channel_a_level(self):
        limit = self.cost(1e-6)
        assert self.channels(solve(self.cost, "macs", limit).width) == [1, 1]
        with pytest.raises(InputError, match=f"^macs: {limit - 1} cannot be reached .* at least {limit}"):
            solve(self.cost, "macs", limit - 1)
