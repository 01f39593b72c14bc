"""Pages of the five suites in a browser, and questions of users.

By default over results whose truth is known. Of a real database, every page:

    HARNESS_PAGES=results/report pytest tests/reports/test_shipped_pages.py -k every_page -m slow -n 2
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_support import MARKS, Visit
from shipped_support import SUITES, write_shipped

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = MARKS
REAL = os.environ.get("HARNESS_PAGES")
"""The folder of a site that `harness report` wrote."""
PARTS = 8
"""Into which its pages are dealt, for several processes."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of all five suites."""
    return write_shipped(tmp_path_factory.mktemp("shipped"))


def pages_of(folder: Path) -> list[Path]:
    """Every page but those of single trials, and one of these."""
    trials = sorted((folder / "trials").glob("*.html"))
    return [page for page in sorted(folder.rglob("*.html")) if page.parent.name != "trials"] + trials[:1]


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_pages_of_the_five_suites_open_clean(site: Path, browser: Browser, every: int) -> None:
    """One suite's pages, every first page, and a sample of the others."""
    shown = [
        page
        for place, page in enumerate(pages_of(site))
        if place % every == 0 or page.name == "index.html" or "region_norm" in page.parts
    ]
    assert len([page for page in shown if page.name == "index.html"]) == 2 + len(SUITES)
    for place, path in enumerate(shown):
        width, scheme = ((390, "dark"), (1280, "light"))[place % 2 if path.parent.name != "trials" else 0]
        visit = Visit(browser, path, width, scheme)
        suites = [suite for suite in SUITES if suite in path.parts]
        # axe takes seconds a page and finds what templates do: one suite's pages, and every kind of page once
        assert visit.faults(site, axe=suites in ([], ["region_norm"])) == [], f"{path} at {width}"
        visit.page.close()


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(REAL is None, reason="HARNESS_PAGES names no site")
@pytest.mark.parametrize("part", range(PARTS))
def test_every_page_of_a_real_site_opens_clean(browser: Browser, part: int) -> None:
    folder = Path(str(REAL)).resolve()
    result: dict[str, list[str]] = {}
    pages = sorted(folder.rglob("*.html"))[part::PARTS]
    for path in pages:
        visit = Visit(browser, path, 390, "dark")
        faults = visit.faults(folder)
        visit.turn(1280, "light")
        # axe reads the same content at both widths; that of trials' pages differs in numbers alone
        faults += visit.faults(folder, axe=path.parent.name != "trials")
        if faults:
            result[str(path.relative_to(folder))] = faults
        visit.page.close()
    print(f"{len(pages)} pages at two widths")
    assert result == {}


class Reader:
    """A new user on the first page, whose clicks are counted."""

    def __init__(self, browser: Browser, site: Path) -> None:
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.page.set_default_timeout(120_000)
        self.page.goto((site / "index.html").as_uri())
        self.clicks = 0

    def click(self, where: str, text: str | re.Pattern[str]) -> None:
        """Click the first visible element of a selector with a text."""
        self.page.locator(where).filter(has_text=text).locator("visible=true").first.click()
        self.clicks += 1

    def sees(self, selector: str) -> str:
        """The text of the first of these, which must be visible."""
        result = self.page.locator(selector).first
        result.wait_for()  # a click may still be opening another page
        return " ".join(result.inner_text().split())


@pytest.fixture
def reader(browser: Browser, site: Path) -> Iterator[Reader]:
    item = Reader(browser, site)
    yield item
    item.page.close()


def test_does_adamp_beat_adamw_on_retrieval_at_small_scale_and_how_sure_is_that(reader: Reader) -> None:
    reader.page.fill("[data-filter-text]", "retrieval adamp adamw small")  # words, not a click
    reader.click("#entries a", "CUB")
    line = reader.sees(".claim:target summary")
    assert re.search(r"direction confirmed|inconclusive|reversed|no effect", line)
    assert "adamp against adamw" in line
    assert re.search(r"[+−][\d.]+ points \[[+−][\d.]+, [+−][\d.]+\] n 5 adj\. p [<\d. ]+", line)
    opened = reader.sees(".claim:target .opened")
    assert "Stand-in" in opened
    assert "To change this verdict" in opened
    assert reader.clicks <= 3


def test_the_same_by_clicks_alone(reader: Reader) -> None:
    entry = reader.page.locator(".suites > li").filter(has_text="adamp · scale small")
    if not entry.locator("details").first.get_attribute("open"):
        entry.locator("details > summary").filter(has_text="by task").click()
        reader.clicks += 1
    row = entry.locator(".tasks div").filter(has_text="retrieval")
    row.locator("a").first.click()
    reader.clicks += 1
    message = reader.sees(".answer")
    assert "adamp against adamw" in message
    assert re.search(r"[+−][\d.]+ points \[", message)
    assert reader.clicks <= 3


def test_which_ablation_of_nkd_matters_most(reader: Reader) -> None:
    entry = reader.page.locator(".suites > li").filter(has_text="nkd · scale mini")
    entry.locator(".jump a").filter(has_text="Ablations").click()
    reader.clicks += 1
    section = reader.page.locator("section", has=reader.page.locator("#ablations"))
    message = section.locator(".leading li").filter(has_text=re.compile(r"^of nkd\b")).first
    message.wait_for()
    text = " ".join(message.inner_text().split())
    assert "nkd-unnormalised" in text
    assert "matters most" in text
    assert re.search(r"95 % interval \[−[\d.]+, −[\d.]+\]", text)
    assert reader.clicks <= 3


def test_what_did_the_label_leak_of_knn_mmd_contribute(reader: Reader) -> None:
    reader.page.fill("[data-filter-text]", "leak")
    row = reader.page.locator("#entries tbody tr:visible").filter(has_text="released-leak").first
    assert "released-leak against knn-mmd" in " ".join(row.inner_text().split())
    row.locator("a").first.click()
    reader.clicks += 1
    message = reader.page.locator("[aria-label=Ablations] tbody tr").filter(has_text="released-leak").first
    text = " ".join(message.inner_text().split())
    assert re.search(r"\[\+[\d.]+, \+[\d.]+\]", text)
    assert "true labels of test windows in the help set" in text
    assert reader.clicks <= 3
