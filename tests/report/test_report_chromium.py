"""The pages of the claims in a real headless Chromium: filters, keyboard, phone, paper, and nothing foreign fetched."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import BROWSER, DRIVER, chromium
from report_samples import every_kind

from audits.claims.judged import Report
from audits.report.claims.index import index_html
from audits.report.files import write_reports

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)"
)
ROOT = Path(__file__).resolve().parents[2]
SHOWN = (
    'return [...document.querySelectorAll("tr[data-outcome]")].filter((e) => e.offsetParent).map((e) => e.id).sort()'
)
EVERY = ["gain", "old", "open", "unrun", "untestable"]
# What is wider than the screen, but for content that scrolls within its own box.
TOO_WIDE = """
const within = (e) => e.closest(".wide, .unseen, fieldset, svg");
return [document.documentElement.scrollWidth - innerWidth, [...document.body.querySelectorAll("*")]
  .filter((e) => !within(e) && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 90))]
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("reports")
    write_reports(every_kind(), path)
    return path


@pytest.fixture(scope="module")
def file(folder):
    return folder / "claims.html"


@pytest.fixture
def page(browser, file):
    browser.send("Emulation.clearDeviceMetricsOverride")
    browser.open(file)
    return browser


def rows(page):
    return page.run(SHOWN)


def test_the_page_logs_nothing_and_asks_for_nothing_but_itself(page, file):
    page.log("performance")
    page.log("browser")
    page.open(file)
    page.click('[name="outcome"][value="reproduced"]')
    assert page.log("browser") == []
    assert page.requested() == [file.resolve().as_uri()]


def test_a_claims_page_shows_its_drawings_and_asks_for_nothing_else(page, folder):
    page.log("performance")
    page.log("browser")
    page.open(folder / "claims" / "gain.html")
    assert page.log("browser") == []
    assert {address.rpartition("/")[2] for address in page.requested()} == {
        "gain.html", "gain-1.svg", "gain-2.svg", "gain-quick-1.svg",
    }  # fmt: skip
    assert all(page.run("return [...document.images].map((image) => image.naturalWidth > 100)"))


def test_a_script_that_is_not_the_pages_own_is_refused_and_the_log_would_show_it(browser, file, tmp_path):
    foreign = tmp_path / "foreign.html"
    text = file.read_text(encoding="utf-8").replace("</body>", "<script>throw 1</script></body>")
    foreign.write_text(text, encoding="utf-8")
    browser.log("browser")
    browser.open(foreign)
    assert any("Content Security Policy" in entry["message"] for entry in browser.log("browser"))


def test_at_first_every_claim_is_shown(page):
    assert rows(page) == EVERY
    assert page.run("return document.querySelector('output').textContent") == "5 of 5 claims shown"


@pytest.mark.parametrize(
    ("ticked", "left"),
    [
        (["outcome=reproduced"], ["gain"]),
        (["outcome=reproduced", "outcome=not reproduced"], ["gain", "old"]),
        (["scope=printed numbers"], ["open", "untestable"]),
        (["outcome=open", "scope=paper scale"], ["unrun"]),
        (["outcome=reproduced", "scope=paper scale"], []),
    ],
)
def test_ticking_chips_filters_rows(page, ticked, left):
    for name, value in (chip.split("=") for chip in ticked):
        page.click(f'[name="{name}"][value="{value}"]')
    assert rows(page) == left
    assert page.run("return document.querySelector('output').textContent") == f"{len(left)} of 5 claims shown"
    assert page.run("return document.getElementById('hubrouter').offsetParent === null") is (not left)


def test_words_are_searched_in_all_of_a_row_and_the_button_shows_all_again(page):
    page.type("#filter-words", "REASON of untest")
    assert rows(page) == ["untestable"]
    page.click('[type="reset"]')
    assert rows(page) == EVERY


def test_the_filters_work_from_the_keyboard_and_enter_does_not_leave_the_page(page, file):
    page.run("document.querySelector('[name=outcome]').focus()")
    page.ask("/actions", {"actions": [{"type": "key", "id": "k", "actions": [
        {"type": "keyDown", "value": " "}, {"type": "keyUp", "value": " "}]}]})  # fmt: skip
    assert rows(page) == ["old"]
    page.type("#filter-words", "x\ue007")
    assert page.ask("/url") == file.resolve().as_uri()


def test_a_link_of_the_table_leads_to_the_page_of_its_claim(page, folder):
    page.click('a[href="claims/old.html"]')
    assert page.ask("/url") == (folder / "claims" / "old.html").resolve().as_uri()


def test_without_a_script_everything_is_there_and_no_filter_that_would_not_work(page, file, tmp_path):
    page.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(file)
        assert page.run("return document.getElementById('filters').offsetParent === null")
        assert rows(page) == EVERY
    finally:
        page.send("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("width", [390, 320])
@pytest.mark.parametrize("name", ["claims.html", "claims/gain.html", "claims/old.html", "kill-matrix.html"])
def test_on_a_phone_nothing_is_wider_than_the_screen(page, folder, name, width):
    page.open(folder / name)
    page.resize(width, 844)
    page.run("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert page.run(TOO_WIDE) == [0, []]
    page.run("const w = document.createElement('p'); w.style.width = '900px'; document.body.append(w)")
    assert page.run(TOO_WIDE)[1] != []


def test_the_committed_report_fits_a_phone_too_and_logs_nothing(page):
    page.open(ROOT / "reports" / "claims.html")
    page.resize(390, 844)
    page.run("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert page.run(TOO_WIDE) == [0, []]
    assert page.log("browser") == []


def test_on_paper_everything_is_unfolded_and_the_filters_are_gone(page, folder):
    page.click('[name="outcome"][value="reproduced"]')
    assert re.findall(rb"/Type\s*/Page\b", page.printed())
    page.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert rows(page) == EVERY
        assert page.run("return document.getElementById('filters').offsetParent === null")
        page.open(folder / "claims" / "gain.html")
        hidden = (
            "return [...document.querySelectorAll('details table')].filter((e) => !e.getClientRects().length).length"
        )
        assert page.run(hidden) == 0
    finally:
        page.send("Emulation.setEmulatedMedia", media="")


def test_a_longer_report_takes_more_pages(browser, tmp_path):
    sizes = []
    for repeat in (1, 3):
        report = every_kind()
        judged = tuple(
            replace(item, claim=replace(item.claim, id=f"{item.claim.id}{n}"))
            for n in range(repeat)
            for item in report.judged
        )
        path = tmp_path / f"{repeat}.html"
        path.write_text(index_html(Report(judged, report.evidence)), encoding="utf-8")
        browser.open(path)
        sizes.append(len(re.findall(rb"/Type\s*/Page\b", browser.printed())))
    assert 1 <= sizes[0] < sizes[1]


@pytest.mark.parametrize("name", ["claims.html", "claims/gain.html", "claims/gain-1.svg", "claims/gain-2.svg"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_both_schemes(page, folder, scheme, name):
    page.open(folder / name)
    page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    found = page.run("""
      const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      const light = (css) => { const [r, g, b] = css.match(/[\\d.]+/g).map(Number);
        return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
      const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
        if (!/, 0\\)$/.test(c)) return c; } return "rgb(255, 255, 255)"; };
      const fill = (e) => getComputedStyle(e).fill, svg = document.querySelector("svg > g > g > path");
      return [...document.querySelectorAll("p, td, th, dt, dd, span, a, summary, label, output, text")].map((e) => {
        const [a, b] = [light(svg ? fill(e) : getComputedStyle(e).color), light(svg ? fill(svg) : ground(e))].sort();
        return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.outerHTML.slice(0, 80)]; })
        .filter(([ratio]) => ratio < 4.5)""")
    page.send("Emulation.setEmulatedMedia", features=[])
    assert found == []
