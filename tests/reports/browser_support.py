"""A browser's visit to a page: complaints, requests, findings of axe."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
OUTSIDE_DRAWINGS = "{exclude: [['.plot .main-svg']]}"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("axe_core_python") is None, reason="axe-core-python is not installed"),
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


class Visit:
    """A page with its complaints and requests."""

    def __init__(self, browser: Browser, path: Path, width: int, scheme: Any = "light") -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.set_default_timeout(120_000)
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def turn(self, width: int, scheme: Any) -> None:
        """The same page in another window: everything that was opened closes first."""
        self.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = false; })")
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme=scheme)

    def draw_all(self) -> int:
        """Open everything, scroll to every figure and wait until it is drawn."""
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
        """Serious and critical findings of axe outside Plotly's drawings."""
        import axe_core_python

        script = Path(axe_core_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
        self.page.evaluate(script)
        result = self.page.evaluate(f"axe.run({OUTSIDE_DRAWINGS}, {{resultTypes: ['violations']}})")["violations"]
        return [
            f"{item['id']}: {json.dumps([node['html'][:120] for node in item['nodes'][:3]])}"
            for item in result
            if item["impact"] in ("serious", "critical")
        ]

    def faults(self, root: Path, axe: bool = True) -> list[str]:
        """Everything wrong with the page of a site whose folder is ``root``; figures are drawn first."""
        result = [f"{self.overflow()} pixels too wide as it opens"] if self.overflow() > 0 else []
        self.draw_all()
        result += [f"{self.overflow()} pixels too wide with everything open"] if self.overflow() > 0 else []
        result += self.violations() if axe else []
        result += self.complaints
        allowed = (root.as_uri(), "data:", "blob:")
        return result + [f"asks for {url}" for url in self.requests if not url.startswith(allowed)]
