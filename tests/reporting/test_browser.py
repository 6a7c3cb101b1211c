"""The pages as a real browser shows them: nothing loaded, nothing complained of, nothing broken, nothing too wide."""

import pytest

from kdcompress.reporting.html import html
from kdcompress.reporting.table import comparison_html
from tests.reporting.browser import NAMES, Browser, installed
from tests.reporting.fake_runs import BARE, make_record, make_result, make_samples

PHONE, DESK = 390, 1280


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    path = installed()
    if path is None:
        pytest.skip(f"no browser is installed (one of {', '.join(NAMES)})")
    with Browser(path, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    long = make_record(make_result(recipe="a-name-without-a-place-to-break-" * 5), samples=make_samples(3))
    contents = {
        "run": html(make_record()),
        "long names": html(long),
        "sparse": html(make_record(make_result(**BARE), scores={}, history=(), environment={}, recipe="", samples={})),
        "comparison": comparison_html([make_record(), long, make_record(make_result(**BARE))]),
    }
    folder = tmp_path_factory.mktemp("pages")
    return {name: written(folder / f"{name.replace(' ', '-')}.html", text) for name, text in contents.items()}


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


def faults(seen, url, width):
    """Say what is wrong with a page, in words; empty where nothing is."""
    outside = [one[:80] for one in seen["requests"] if one != url and not one.startswith("data:")]
    found = [f"message: {one}" for one in seen["messages"]]
    found += [f"request: {one}" for one in outside]
    found += [f"broken image: {one}" for one in seen["broken"]]
    return found + ([f"{seen['width']} pixels wide"] if seen["width"] > width else [])


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("name", ["run", "long names", "sparse", "comparison"])
def test_a_browser_finds_nothing_wrong(browser, pages, name, width):
    seen = browser.look(pages[name], width)
    assert faults(seen, pages[name], width) == []
    assert pages[name] in seen["requests"]


def test_the_reader_sees_verdict_and_images(browser, pages):
    seen = browser.look(pages["run"])
    assert "Distillation helps" in seen["text"]
    assert "Most wrongly scored: anomalies with the lowest scores" in seen["text"]
    assert seen["scaling"] == ["pixelated"]


def test_the_page_is_dark_where_the_reader_wants_it_and_light_on_paper(browser, pages):
    light, dark = (browser.look(pages["run"], scheme=scheme)["page"] for scheme in ("light", "dark"))
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(21, 24, 28)")
    assert browser.paper() == light


BROKEN = "data:image/png;base64,AAAA"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<script>console.error('lost')</script>", "message: lost"),
        ("<script>setTimeout(() => { throw new Error('thrown') })</script>", "message: Uncaught"),
        ("<img src='http://127.0.0.1:9/a.png' alt='far'>", "request: http://127.0.0.1:9/a.png"),
        ("<link rel='stylesheet' href='beside.css'>", "request: file:///"),
        (f"<img src='{BROKEN}' alt='torn'>", "broken image: torn"),
        ("<div style='width: 391px'>wide</div>", "391 pixels wide"),
    ],
)
def test_the_browser_sees_what_is_wrong(browser, tmp_path, body, fault):
    head = "<!doctype html><meta name='viewport' content='width=device-width'><style>body { margin: 0 }</style>"
    url = written(tmp_path / "wrong.html", head + body)
    assert any(one.startswith(fault) for one in faults(browser.look(url, PHONE), url, PHONE))


def test_the_policy_of_the_page_stops_what_is_slipped_into_it(browser, tmp_path):
    text = html(make_record()).replace("<main>", "<main><script>document.title = 'run'</script>")
    seen = browser.look(written(tmp_path / "slipped.html", text))
    assert any("Content Security Policy" in one for one in seen["messages"])
