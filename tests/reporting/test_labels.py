"""Names of points that coincide stand apart, and as near to them as that allows."""

import itertools

import pytest
from matplotlib.figure import Figure

from kdcompress.reporting.labels import apart, name_points


@pytest.mark.parametrize(
    ("heights", "found"),
    [
        ([], []),
        ([5], [5]),
        ([0, 10], [0, 10]),  # far enough: where they are
        ([3, 3, 3], [1, 3, 5]),  # at one place: evenly about it
        ([0, 1], [-0.5, 1.5]),
        ([0, 0, 9], [-1, 1, 9]),  # only those that would touch move
    ],
)
def test_heights_are_moved_as_little_as_it_takes(heights, found):
    assert apart(heights, 2) == pytest.approx(found)


def test_names_of_one_place_do_not_touch_and_those_of_places_far_apart_stay():
    figure = Figure((5, 3), dpi=100)
    panel = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    panel.set(xlim=(0, 10), ylim=(0, 1))
    name_points(panel, [(1, 0.5, "a"), (1, 0.5, "b"), (1.1, 0.51, "c"), (8, 0.5, "d")])
    heights = {one.get_text(): 0.72 * panel.transData.transform(one.xy)[1] + one.xyann[1] for one in panel.texts}
    column = sorted(heights[name] for name in "abc")
    size = max(one.get_fontsize() for one in panel.texts)
    assert min(above - below for below, above in itertools.pairwise(column)) > size
    assert heights["d"] == pytest.approx(0.72 * panel.transData.transform((8, 0.5))[1])
