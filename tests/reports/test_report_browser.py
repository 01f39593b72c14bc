"""The pages in a browser: no error, no request beyond the site, accessible, no wider than the window."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Written  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("axe_core_python") is None, reason="axe-core-python is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


class Visit:
    """A page with what it complained of and asked for."""

    def __init__(self, browser: Browser, path: Path, width: int, scheme: Any = "light") -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def draw_all(self) -> int:
        """Scroll to every figure and wait until it is drawn."""
        self.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        plots = self.page.query_selector_all(".plot")
        for plot in plots:
            plot.scroll_into_view_if_needed()
        self.page.wait_for_function(
            "Array.from(document.querySelectorAll('.plot')).every(one => one.dataset.state === 'drawn')"
        )
        return len(plots)

    def overflow(self) -> int:
        """Pixels by which the document is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def violations(self) -> list[str]:
        """What axe finds serious or critical."""
        import axe_core_python

        script = Path(axe_core_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
        self.page.evaluate(script)
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        return [
            f"{one['id']}: {json.dumps([node['html'][:120] for node in one['nodes'][:3]])}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]


def shown(written: Written) -> list[Path]:
    """Every kind of page."""
    mini = written.folder / "suites" / "demo" / "mini"
    trial = sorted((written.folder / "trials").glob("*.html"))[0]
    paper = written.folder / "suites" / "demo" / "paper" / "index.html"
    sweep = written.folder / "sweeps" / "sweep-1.html"
    return [
        sweep,
        written.folder / "index.html",
        *sorted(mini.glob("*.html")),
        paper,
        written.folder / "methods.html",
        trial,
    ]


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_pages_open_without_error_request_violation_or_overflow(
    written: Written, browser: Browser, width: int, scheme: str
) -> None:
    drawn = 0
    for path in shown(written):
        visit = Visit(browser, path, width, scheme)
        assert visit.overflow() <= 0, path
        drawn += visit.draw_all()
        assert visit.overflow() <= 0, f"{path} with everything open"
        assert visit.violations() == [], path
        assert visit.complaints == [], path
        assert all(url.startswith((written.folder.as_uri(), "data:", "blob:")) for url in visit.requests)
        visit.page.close()
    assert drawn >= 15


def test_the_single_file_asks_for_nothing(written: Written, browser: Browser) -> None:
    visit = Visit(browser, written.single, 390)
    assert visit.draw_all() >= 15
    assert visit.violations() == []
    assert visit.complaints == []
    assert visit.overflow() <= 0
    assert [url for url in visit.requests if not url.startswith(("data:", "blob:"))] == [written.single.as_uri()]
    visit.page.close()


def test_figures_below_the_fold_wait_until_they_are_seen(written: Written, browser: Browser) -> None:
    visit = Visit(browser, written.folder / "suites" / "demo" / "mini" / "on-digits-known.html", 390)
    visit.page.wait_for_timeout(300)
    states = visit.page.evaluate("Array.from(document.querySelectorAll('.plot')).map(one => one.dataset.state || '')")
    assert states[-1] == ""
    visit.draw_all()
    visit.page.close()


def test_a_deep_link_opens_its_claim(written: Written, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((written.folder / "suites/demo/mini/index.html").as_uri() + "#claim-demo-tie")
    assert page.evaluate("document.getElementById('claim-demo-tie').open")
    assert not page.evaluate("document.getElementById('claim-demo-gain').open")
    page.goto((written.folder / "suites/demo/mini/index.html").as_uri() + "#claim-demo-unbound")
    assert page.locator("#claim-demo-unbound").is_visible()
    page.close()


def test_claims_filter_and_tables_sort_by_keyboard(written: Written, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((written.folder / "suites/demo/mini/index.html").as_uri())
    page.fill("[data-filter-text]", "above other")
    assert page.locator("#claim-list .claim:visible").count() == 1
    assert page.locator("output").first.inner_text() == "1 of 3"
    page.fill("[data-filter-text]", "")
    page.select_option("[data-filter-word]", "undecided")
    assert page.locator("#claim-list .claim:visible").count() == 1
    head = page.locator("[aria-label=Ablations] th").filter(has_text="Difference")
    head.locator("button").focus()
    page.keyboard.press("Enter")
    cells = page.locator("[aria-label=Ablations] tbody td[data-sort]")
    values = [float(cell.get_attribute("data-sort") or "nan") for cell in cells.all()]
    assert values == sorted(values)
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    values = [float(cell.get_attribute("data-sort") or "nan") for cell in cells.all()]
    assert values == sorted(values, reverse=True)
    page.close()


def test_the_theme_button_changes_the_page_and_its_figures(written: Written, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.goto((written.folder / "suites/demo/mini/index.html").as_uri())
    page.wait_for_selector(".plot.drawn")
    ink = "document.querySelector('.plot.drawn').layout.font.color"
    before = page.evaluate(f"[getComputedStyle(document.body).backgroundColor, {ink}]")
    for _ in range(2):
        page.click("[data-theme-button]")
    assert page.locator("[data-theme-button]").inner_text() == "Theme: dark"
    page.wait_for_function(f"{ink} !== '{before[1]}'")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before[0]
    page.close()


def test_without_scripts_everything_but_the_drawings_is_there(written: Written, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 900})
    page = context.new_page()
    page.goto((written.folder / "suites/demo/mini/index.html").as_uri())
    assert "claims measured on a stand-in" in page.locator(".waiting").first.inner_text()
    assert page.locator(".claim").count() == 4
    assert not page.locator(".filter").first.is_visible()
    context.close()
