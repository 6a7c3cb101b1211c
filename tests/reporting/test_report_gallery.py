import base64
import io
import re

import numpy as np
import pytest
from matplotlib.image import imread

from kdcompress.reporting import png
from kdcompress.reporting.gallery import TITLES, gallery
from kdcompress.reporting.html import html
from tests.reporting.fake_runs import BARE, make_record, make_result, make_samples


def pixels(uri):
    """Decode a data address with another library, as uint8."""
    found = imread(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))), format="png")
    return np.round(255 * found).astype(np.uint8)


def panel_of(samples, title, **result):
    record = make_record(make_result(**result), samples=samples)
    return next(panel for panel in gallery(record) if panel.title == TITLES[title])


@pytest.mark.parametrize("shape", [(1, 9, 7), (3, 9, 7), (1, 1, 1), (3, 64, 33)])
def test_another_library_reads_the_same_pixels(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected = image[0] if shape[0] == 1 else image.transpose(1, 2, 0)
    np.testing.assert_array_equal(pixels(png.data_uri(image)), expected)


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(KeyError, match="2"):
        png.png(np.zeros((2, 4, 4), np.uint8))


@pytest.mark.parametrize("colours", [1, 3])
def test_every_picture_stands_in_its_row_and_column(colours):
    samples = make_samples(colours)
    panel = panel_of(samples, "false alarms")
    places = np.flatnonzero(samples["group"] == "false alarms")
    assert panel.samples == tuple(f"#{index}" for index in samples["index"][places])
    rows = {strip.name: strip for strip in panel.strips}
    assert list(rows) == ["input", "teacher", "control", "student", "teacher's error", "student's error"]
    for column, place in enumerate(places):
        for name in ("teacher", "control", "student"):
            image = samples[f"reconstruction_{name}"][place]
            shown = pixels(rows[name].pictures[column].source)
            np.testing.assert_array_equal(shown, image[0] if colours == 1 else image.transpose(1, 2, 0))
        apart = np.abs(samples["input"][place].astype(int) - samples["reconstruction_student"][place].astype(int))
        shown = pixels(rows["student's error"].pictures[column].source)
        np.testing.assert_array_equal(shown, np.round(apart.mean(0)))


def test_pictures_say_what_they_show_and_percentiles_stand_below():
    samples = make_samples()
    panel = panel_of(samples, "missed")
    number = samples["index"][0]
    assert panel.strips[0].pictures[0].text == f"Input: sample #{number}, anomaly"
    assert panel.strips[3].pictures[0].text == f"Reconstruction by the student: sample #{number}, anomaly"
    assert [row[0] for row in panel.words] == ["teacher's percentile", "control's percentile", "student's percentile"]
    assert panel.words[2][1:] == tuple(f"{value:.1f}" for value in samples["percentile_student"][:6])


def test_labels_are_told_where_the_title_does_not():
    first, *_ = panel_of(make_samples(), "typical").words
    assert first == ("label", "normal", "normal", "normal", "anomaly", "anomaly", "anomaly")
    samples = make_samples() | {"label": np.zeros(24, np.uint8)}
    assert panel_of(samples, "disagreement").words[0] == ("label", *["normal"] * 6)
    assert panel_of(samples, "false alarms").words[0][0] != "label"


def test_a_lone_detector_is_nobodys_student():
    names = [strip.name for strip in panel_of(make_samples(arms=("student",)), "missed", **BARE).strips]
    assert names == ["input", "detector", "detector's error"]


def test_the_most_wrongly_scored_come_first_on_the_page():
    page = html(make_record())
    places = [page.index(f"<h3>{title}</h3>") for title in TITLES.values()]
    assert places == sorted(places)
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) == 24 * 6
    assert all(re.search(r'alt="[^"]+ sample #\d+, (normal|anomaly)"', one) for one in pictures)


def test_without_samples_the_section_is_left_out():
    record = make_record(samples={})
    assert gallery(record) == ()
    page = html(record)
    assert "What they see" not in page
    assert "<img" not in page
