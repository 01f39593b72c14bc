"""The pages in a browser: no error, no request beyond the site, accessible, no wider than the window."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_support import MARKS, Visit
from report_support import Written

from harness.results.serve import HOST, AddedSeed, FailedTrial, RunningTrial, RunProgress, ServedReport, make_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = MARKS


def shown(written: Written) -> list[Path]:
    """Every kind of page."""
    mini = written.folder / "suites" / "demo" / "mini"
    trial = sorted((written.folder / "trials").glob("*.html"))[0]
    paper = written.folder / "suites" / "demo" / "paper" / "index.html"
    sweep = written.folder / "sweeps" / "sweep-1.html"
    first, methods = written.folder / "index.html", written.folder / "methods.html"
    return [sweep, first, *sorted(mini.glob("*.html")), paper, methods, trial]


@pytest.mark.default
def test_pages_open_without_error_request_violation_or_overflow(written: Written, browser: Browser) -> None:
    """Narrow and dark, then the same visit wide and light."""
    drawn = 0
    for path in shown(written):
        visit = Visit(browser, path, 390, "dark")
        assert visit.faults(written.folder) == [], path
        drawn += len(visit.page.query_selector_all(".plot"))
        visit.turn(1280, "light")
        assert visit.faults(written.folder, axe=path.parent.name == "mini") == [], path
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
    page.fill("[data-filter=claim-list] [data-filter-text]", "other above")  # every word, in any order
    assert page.locator("#claim-list .claim:visible").count() == 1
    assert page.locator("[data-filter=claim-list] output").inner_text() == "1 of 3"
    page.fill("[data-filter=claim-list] [data-filter-text]", "")
    page.select_option("[data-filter-word]", "inconclusive")
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
    page.locator(".plot").first.scroll_into_view_if_needed()
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
    assert page.locator("#forest-stand-in a.f-line .bar").first.is_visible()
    assert "with 95 % intervals" in page.locator(".waiting").first.inner_text()
    assert page.locator(".claim").count() == 4
    assert not page.locator(".filter").first.is_visible()
    context.close()


def test_a_run_that_goes_on_is_shown_and_a_page_renews_itself(written: Written, browser: Browser) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    run = RunProgress(
        run_id="r",
        suite=hostile,
        scale="mini",
        elapsed_seconds=30.0,
        total=6,
        reused=1,
        done=2,
        failed=1,
        per_minute=4.0,
        left_seconds=45.0,
        silent=False,
        quiet_seconds=1.0,
        running=(RunningTrial(f"{hostile}/a/3", 7, 20, 0.5),),
        failures=(FailedTrial("b/a/2", "failed", hostile),),
        bought=(AddedSeed("2026-03-04T05:00:00", "c", "b", ("a",), 5, "because"),),
        bought_count=1,
    )
    site = ServedReport(written.database, lambda: written.folder / "index.html", lambda: run)
    server = make_server(site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    complaints: list[str] = []
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("dialog", lambda dialog: (complaints.append("dialog"), dialog.dismiss()))
    try:
        page.goto(f"http://{HOST}:{server.server_address[1]}/suites/demo/mini/index.html")
        panel = page.locator("#live")
        panel.wait_for(state="visible")
        message = panel.inner_text()
        assert f"{hostile}, mini" in message
        assert "3 of 6 trials (1 were stored) · 45 s left · 4 a minute" in message
        assert "1 failed" in message
        panel.locator("summary").filter(has_text="1 added seed").click()
        assert "seed 5 of a on b: because" in panel.inner_text()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        with page.expect_navigation(timeout=20_000):
            site.generation += 1
        page.locator(".claim summary").first.click()
        page.wait_for_timeout(2500)
        site.generation += 1
        page.locator("#live button").filter(has_text="load the page again").wait_for(timeout=20_000)
        assert complaints == []
    finally:
        page.close()
        server.shutdown()
        server.server_close()
