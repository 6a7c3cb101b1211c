"""Names of points that coincide stand apart, and as near to them as that allows."""

import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kdcompress.reporting.canvas import WIDTH, axes
from kdcompress.reporting.labels import apart, name_points, width, wrapped


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
    assert apart(heights, [2] * len(heights)) == pytest.approx(found)


def test_what_is_higher_has_more_room():
    assert apart([3, 3, 3], [2, 6, 2]) == pytest.approx([-1, 3, 7])


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


@pytest.mark.parametrize(
    ("place", "words", "side", "lines"),
    [
        (0.1, 3, "left", 1),
        (0.85, 1, "left", 1),  # short enough for what room there is
        (0.9, 6, "right", 1),  # on the other side
        (0.1, 30, "left", 3),
        (0.9, 30, "right", 3),
    ],
)
def test_a_name_stays_in_the_plot(place, words, side, lines):
    """On the side that has room, in as many lines as it takes."""
    figure = Figure((WIDTH / 72, 3), dpi=720)  # fine enough that letters have their own widths
    panel = axes(figure, 20, 160)
    panel.set(xlim=(0, 1), ylim=(0, 1))
    name_points(panel, [(place, 0.5, " ".join(["name"] * words))])
    (text,) = panel.texts
    assert (text.get_ha(), text.get_text().count("\n") + 1) == (side, lines)
    box = text.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert box.x0 / 10 > 30
    assert box.x1 / 10 < WIDTH + 0.5


def test_lines_break_between_words_where_the_next_one_does_not_fit():
    assert wrapped("a bb ccc", width("a bb")) == "a bb\nccc"
    assert wrapped("a bb ccc", width("a bb ccc")) == "a bb ccc"
    assert wrapped("unbreakable word", 1) == "unbreakable\nword"
