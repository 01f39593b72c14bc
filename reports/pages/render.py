"""From templates to pages: addresses, identifiers, escaping, and the two forms of the site."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import plotly
from markupsafe import Markup

from reports import formatting
from reports.data.outputs import Picture
from reports.data.sql import command
from reports.links import address, slug, sweep_path, trial_path

ROOT = Path(__file__).parents[1]
"""Where templates and static files lie."""
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
FILTERS = {
    **{
        function.__name__: function
        for function in (
            formatting.count,
            formatting.duration,
            formatting.interval,
            formatting.moment,
            formatting.number,
            formatting.plain,
            formatting.probability,
            formatting.score,
            formatting.setting,
            formatting.short,
            formatting.shown,
            slug,
            address,
            command,
        )
    },
    "difference": formatting.unit_of_difference,
    "in_words": formatting.stand_in,
    "base_verdict": formatting.base_of,
}
"""Filters of the templates."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its address below the site's root, template and content."""

    path: str
    template: str
    title: str
    content: Mapping[str, Any] = field(repr=False)
    trail: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """A word for it that may begin an identifier."""
        return slug(self.path.removesuffix(".html").replace("/index", "").replace("/", "-"))


class Site:
    """Renders pages as a folder of files or as one file; links to other paths than those of the site go nowhere."""

    def __init__(self, pages: Mapping[str, Page], *, single: bool) -> None:
        self.pages = pages
        self.single = single
        loader = jinja2.FileSystemLoader(ROOT / "templates")
        self.environment = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self.environment.filters.update(FILTERS)

    def body(self, page: Page) -> str:
        """The page without its frame."""
        bound = self._bound(page)
        text = self.environment.get_template(page.template).render(**page.content, **bound)
        if (shown := page.content.get("provenance")) is not None:
            parts = self.environment.get_template("_parts.html").make_module(bound)
            text += str(parts.provenance(shown))  # type: ignore[attr-defined]
        return text

    def document(self, page: Page) -> str:
        """A whole page of the folder."""
        frame = self.environment.get_template("base.html")
        body = Markup(self.body(page))
        return frame.render(page=page, body=body, **self._bound(page)) + "\n"

    def one_file(self, first: Page) -> str:
        """Every page in one document, with styles, scripts and data inside."""
        head = {
            "style": Markup(static("style.css")),
            "script": Markup(static("site.js").replace("</", "<\\/")),
            "plotly": Markup(PLOTLY.read_text(encoding="utf-8").replace("</script", "<\\/script")),
        }
        pages = [(page, Markup(self.body(page))) for page in self.pages.values()]
        needs = any('class="plot"' in body for _, body in pages)
        frame = self.environment.get_template("single.html")
        return frame.render(page=first, parts_of_site=pages, needs_plotly=needs, head=head, **self._bound(first)) + "\n"

    def _bound(self, page: Page) -> dict[str, Any]:
        root = "../" * page.path.count("/")

        def ident(name: str) -> str:
            return f"{page.key}--{name}" if self.single else name

        def href(path: str, anchor: str = "") -> str:
            if self.single:
                target = self.pages[path].key if path in self.pages else "top"
                return "#" + (f"{target}--{anchor}" if anchor else target)
            if path == page.path and anchor:
                return f"#{anchor}"
            return root + quote(path) + (f"#{anchor}" if anchor else "")

        def download(name: str, text: str) -> str:
            if self.single:
                return "data:text/csv;base64," + base64.b64encode(text.encode()).decode()
            return root + quote(csv_path(page, name))

        def picture(shown: Picture) -> str:
            if self.single:
                return f"data:image/{shown.kind};base64," + base64.b64encode(shown.file.read_bytes()).decode()
            return f"{root}pictures/{shown.name}"

        return {
            "picture": picture,
            "ident": ident,
            "href": href,
            "download": download,
            "root": root,
            "has": self.pages.__contains__,
            "inline": self.single,
            "page_path": page.path,
            "trial_path": trial_path,
            "sweep_path": sweep_path,
        }


def csv_path(page: Page, name: str) -> str:
    """Path of a figure's numbers."""
    return f"csv/{page.key}/{slug(name)}.csv"


@cache
def static(name: str) -> str:
    """A file of ``static/``."""
    return (ROOT / "static" / name).read_text(encoding="utf-8")
