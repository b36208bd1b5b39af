"""The page of a survey in a real headless Chromium: sorted, filtered, and stacked on a phone."""

from __future__ import annotations

import pytest
from chromium import BROWSER, DRIVER, chromium

from audits.report.survey.files import survey_texts
from audits.survey.reviews import Review, Status
from audits.survey.rows import Found, Row, Survey

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)"
)
PLACE = ("a_library/with_a_long_path/modeling_something_that_is_long.py", 12)
NAMES = """return [...document.querySelectorAll("tbody tr")].filter((row) => row.offsetParent)
    .map((row) => row.cells[1].querySelector("b").textContent)"""
SORT_MARK = """return getComputedStyle(document.querySelector("th button"), "::after").content"""
TOO_WIDE = """return [...document.body.querySelectorAll("*")]
    .filter((e) => !e.closest(".unseen") && e.getBoundingClientRect().right > innerWidth + 1)
    .map((e) => e.outerHTML.slice(0, 90))"""


def row(name: str, verdict: str, status: Status | None = None) -> Row:
    review = Review("toy", (name,), verdict, status, f"why {name}: docs/findings/x.md") if status else None
    found = (Found("gradient", "dense", *PLACE),) if verdict == "LEAK" else ()
    return Row(name=name, model="AVeryLongNameForCausalLM", seq_len=8, verdict=verdict, findings=found, review=review)


SURVEY = Survey(
    "toy", "1.0", (row("zebra", "LEAK", Status.DEFECT), row("ant", "LEAK", Status.BY_DESIGN), row("mole", "PASS"))
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(browser, tmp_path):
    (tmp_path / "survey.html").write_text(survey_texts(SURVEY)["html"], encoding="utf-8")
    browser.resize(1280, 900)
    browser.open(tmp_path / "survey.html")
    return browser


def test_a_mark_says_before_the_first_click_that_headings_sort_and_clicks_do(page):
    assert "⇅" in page.run(SORT_MARK)
    page.click("th:nth-child(2) button")
    assert page.run(NAMES) == ["ant", "mole", "zebra"]
    page.click("th:nth-child(2) button")
    assert page.run(NAMES) == ["zebra", "mole", "ant"]
    assert page.log("browser") == []


def test_kinds_and_words_filter(page):
    page.click('[value="LEAK: defect"]')
    assert page.run(NAMES) == ["zebra"]
    page.click('[value="LEAK: by design"]')
    assert page.run(NAMES) == ["ant", "zebra"]
    page.type("[type=search]", "WHY zeb")
    assert page.run(NAMES) == ["zebra"]
    assert page.run("return document.querySelector('output').textContent") == "1 of 3 shown"


def test_without_a_script_every_row_is_there_and_nothing_that_would_not_work(page):
    page.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.ask("/refresh", {})
        assert page.run(NAMES) == ["ant", "zebra", "mole"]
        assert page.run("return document.getElementById('filters').offsetParent === null")
        assert page.run(SORT_MARK) == "none"
    finally:
        page.send("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("width", [390, 320])
def test_on_a_phone_rows_are_cards_in_which_the_review_is_seen(page, width):
    page.resize(width, 844)
    page.run("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert page.run(TOO_WIDE) == []
    assert page.run("return document.querySelector('td[data-label=review]').getBoundingClientRect().width") > 200
