import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from kdcompress.reporting.canvas import COLOURS
from kdcompress.reporting.html import html
from kdcompress.results import DataSummary, Named, StageScore
from tests.reporting.fake_runs import make_history, make_record, make_result

SPARSE = ["nothing", "teacher and control", "anomalies", "control", "all files but the result"]
VOID = {"meta", "link", "br", "hr", "img"}
HOSTILE = "<script>alert('$x$')</script>"


class Page(HTMLParser):
    """Reads a page strictly: every element that is opened is closed, in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.links, self.ids, self.references = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data", "srcset"):
                self.links.append(value)
            if name == "id":
                self.ids.append(value)
            self.references += re.findall(r"url\(#([^)]+)\)", value or "")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "pre"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split()).replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture(scope="module")
def pages(records):
    return {name: html(record) for name, record in records.items()}


@pytest.mark.parametrize("missing", SPARSE)
def test_the_page_parses_and_says_no_python_words(pages, missing):
    page = Page(pages[missing])
    assert not re.search(r"\b(None|nan|NaN|True|False(?! alarms)|Undefined)\b", page.text)
    assert "–" in page.text


def test_the_verdict_is_the_headline_and_the_key_figures_follow(pages):
    text = Page(pages["nothing"]).text
    said = [
        text.index(words) for words in ("Distillation helps", "1.20 points above", "Gain over the control", "AUROC, %")
    ]
    assert said == sorted(said)


@pytest.mark.parametrize("missing", SPARSE)
def test_nothing_is_loaded_from_anywhere(pages, missing):
    page = Page(pages[missing])
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    addresses = re.findall(r"https?://[^\"' )]+", pages[missing])
    assert set(addresses) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in pages[missing]


def test_there_are_four_plots_with_titles_and_descriptions(pages):
    page = Page(pages["nothing"])
    plots = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(plots) == 4
    for attrs in plots:
        assert attrs["role"] == "img"
        title, description = attrs["aria-labelledby"].split()
        assert page.ids.count(title) == page.ids.count(description) == 1


def test_ids_are_unique_and_every_reference_meets_one(pages):
    page = Page(pages["nothing"])
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} | set(page.references) <= set(page.ids)
    assert page.references


def test_a_plot_that_cannot_be_drawn_says_why(pages):
    page = Page(pages["anomalies"])
    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    assert "without anomalies in the test set there is no AUROC" in page.text


def test_a_hostile_name_is_text_wherever_it_stands():
    history = tuple({**row, "stage": f"{HOSTILE} {row['stage']}"} for row in make_history())
    record = make_record(
        make_result(
            recipe=HOSTILE,
            data=DataSummary(HOSTILE, 1, 1, 1, 974, 9_026),
            strategy=Named(HOSTILE, {HOSTILE: HOSTILE}),
            student=make_result().student,
            teacher_counters={HOSTILE: {"macs": 1, "operators": {HOSTILE: 1}}},
        ),
        history=history,
        environment={HOSTILE: HOSTILE},
        recipe=f"name: {HOSTILE}",
    )
    text = html(record)
    page = Page(text)
    assert "<script" not in text
    assert HOSTILE in page.text
    assert HOSTILE in " ".join(page.words)


def test_a_name_with_dollar_signs_is_no_formula():
    stages = (StageScore("costs $x_2$", 0.9),)
    history = ({"arm": "student", "stage": "costs $x_2$", "epoch": 0, "epochs": 1, "losses": {"a.$b_1$": 0.1}},)
    student = make_result().student
    record = make_record(make_result(student=type(student)(**{**vars(student), "stages": stages})), history=history)
    assert "$b 1$" in Page(html(record)).text


def test_colours_follow_the_theme_of_the_page(pages):
    page = pages["nothing"]
    assert "prefers-color-scheme: dark" in page
    inside = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert "var(--student, #d55e00)" in inside
    # No colour is left that does not change with the theme.
    assert set(re.findall(r"(?:fill|stroke): (#\w+)", inside)) == set()


def test_the_light_theme_has_the_colours_of_the_plots(pages):
    light = pages["nothing"].split("@media")[0]
    for name, colour in COLOURS.items():
        assert f"--{name.replace('_', '-')}: {colour};" in light


def test_two_renders_are_identical(record, pages):
    assert html(record) == pages["nothing"]


def test_slow_and_needless_packages_are_not_imported():
    code = (
        "import sys, kdcompress.reporting.html, kdcompress.reporting.table, kdcompress.reporting.markdown;"
        "print(sorted({'torch', 'sklearn', 'scipy', 'pandas', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
