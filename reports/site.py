"""The site: which pages there are, and how they come to the disk."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import HarnessError
from harness.results.reporting import Reported
from harness.store import Reader, open_reader
from reports.data.ablations import ablations
from reports.data.outputs import Picture
from reports.data.suite_results import SuiteResults, gather
from reports.figures.figure import Figure, Plot
from reports.links import slug
from reports.pages.benchmark import benchmark_pages, trial_pages
from reports.pages.index import index_page, methods_page
from reports.pages.render import PLOTLY, Page, Site, csv_path, static
from reports.pages.suite import suite_page, sweep_pages

TRIAL_PAGES = 2000
"""Above this number of trials none has a page of its own: the table on its benchmark's page has them all."""
MANIFEST = "site.json"
Shown = TypeVar("Shown", Figure, Plot, Picture)


def write_site(database: Path, suites: Sequence[Reported], out: Path, *, single_file: bool = False) -> Path:
    """Write the HTML site of suites from the database and return the path of its ``index.html``.

    The same database and plans give the same bytes. Pages that an earlier call wrote into ``out`` and that are no
    longer part of the site are removed; no other file is touched.

    Args:
        database: the store's file.
        suites: what to report, in this order.
        out: the folder; made if it is missing.
        single_file: one ``index.html`` with everything inside, without pages of single trials.

    Raises:
        StoreError: the database cannot be read.
        HarnessError: the folder cannot be written.
    """
    with open_reader(database, consistent=True) as reader:
        gathered = [gather(reader, reported.suite, reported.plan) for reported in suites]
        pages = {page.path: page for page in _pages(reader, gathered, trials=not single_file)}
    site = Site(pages, single=single_file)
    _write(out, {"index.html": site.one_file(pages["index.html"])} if single_file else _folder(site, pages))
    return out / "index.html"


def _pages(reader: Reader, suites: Sequence[SuiteResults], *, trials: bool) -> Iterator[Page]:
    removed = {(results.name, results.scale): ablations(reader, results) for results in suites}
    yield index_page(suites, removed)
    few = sum(len(results.rows()) for results in suites) <= TRIAL_PAGES
    for results in suites:
        swept = list(sweep_pages(reader, results))
        tuned = [plot for page in swept for plot in _rates(page)]
        yield suite_page(reader, results, removed[results.name, results.scale], tuned)
        yield from benchmark_pages(reader, results)
        yield from swept
        if trials and few:
            for bench in results.benches.values():
                yield from trial_pages(reader, results, bench)
    yield methods_page(suites)


def _rates(page: Page) -> Iterator[Plot]:
    """Figures of a sweep that show what the learning rate does, named apart for a page of several sweeps."""
    for plot in _within(page.content, Plot):
        if plot.name.startswith("setting-") and re.search(r"(^|[.-])lr($|[-.])", plot.name):
            yield replace(plot, name=f"{slug(page.path)}-{plot.name}", title=f"{plot.title}: {page.title}")


def _folder(site: Site, pages: Mapping[str, Page]) -> dict[str, str | Path]:
    files: dict[str, str | Path] = {
        "assets/style.css": static("style.css"),
        "assets/site.js": static("site.js"),
        "assets/plotly.min.js": PLOTLY,
    }
    for path, page in pages.items():
        files[path] = site.document(page)
        for figure in _within(page.content, Figure):
            files[csv_path(page, figure.name)] = figure.table.csv
        for picture in _within(page.content, Picture):
            files[f"pictures/{picture.name}"] = picture.file
    return files


def _within(content: Any, kind: type[Shown]) -> Iterator[Shown]:
    """Every figure or picture in a page's content."""
    if isinstance(content, kind):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _within(value, kind)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from _within(value, kind)


def _write(out: Path, files: Mapping[str, str | Path]) -> None:
    """Write every file, then the list of them, and remove those of an earlier list that are gone.

    Raises:
        HarnessError: the folder or a file in it cannot be written.
    """
    try:
        _write_all(out, files)
    except OSError as error:
        told = f"the pages cannot be written into {out}: {error.strerror or error}"
        raise HarnessError(f"{told}; --out names another folder") from error


def _write_all(out: Path, files: Mapping[str, str | Path]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / MANIFEST
    before = _listed(manifest)
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_text(content, encoding="utf-8")
    for name in sorted(before - set(files)):
        path = out / name
        if path.resolve().is_relative_to(out.resolve()):
            path.unlink(missing_ok=True)
    manifest.write_text(json.dumps(sorted(files), indent=0) + "\n", encoding="utf-8")


def _listed(manifest: Path) -> set[str]:
    try:
        names = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
