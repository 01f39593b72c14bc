"""The site: which pages there are, and how they come to the disk."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import HarnessError
from harness.results.current import Reported
from harness.store import Reader, open_reader
from reports.data.ablations import ablations
from reports.data.outputs import Picture
from reports.data.suite_results import SuiteResults, gather
from reports.figures.figure import Figure, Plot
from reports.links import slug
from reports.pages.benchmark import benchmark_pages, trial_pages_of
from reports.pages.index import index_page, methods_page
from reports.pages.render import PLOTLY, Page, Site, csv_path, static
from reports.pages.suite import suite_page, sweep_pages

MANIFEST = "site.json"
"""Names of the files of the site, so that a later call removes those that are no longer part of it."""
Shown = TypeVar("Shown", Figure, Plot, Picture)


def write_site(
    database: Path, suites: Sequence[Reported], out: Path, *, single_file: bool = False, trial_pages: bool = False
) -> Path:
    """Write the HTML site of suites and return the path of ``index.html``.

    The same database and plans give the same bytes; a file whose bytes are the same is not written. Files that an
    earlier call wrote and that are no longer part of the site are removed; no other file is touched.

    Args:
        database: the store's file.
        suites: what to report, in this order.
        out: the folder; made if it is missing.
        single_file: one ``index.html`` with everything inside, without pages of single trials.
        trial_pages: a page for every trial.

    Raises:
        StoreError: the database cannot be read.
        HarnessError: the folder cannot be written.
    """
    with open_reader(database, consistent=True) as reader:
        gathered = [gather(reader, reported.suite, reported.plan) for reported in suites]
        pages = {page.path: page for page in _pages(reader, gathered, trials=trial_pages and not single_file)}
    site = Site(pages, single=single_file)
    files: dict[str, str | Path] = {}
    if single_file:
        files["index.html"] = site.one_file(pages["index.html"])
    else:
        for page in pages.values():
            files |= _files(site, page)
        files |= {f"assets/{name}": static(name) for name in ("style.css", "site.js")}
        files["assets/plotly.min.js"] = PLOTLY
    try:
        _write_files(out, files)
    except OSError as error:
        reason = error.strerror or error
        raise HarnessError(f"{out}: the pages cannot be written: {reason}; --out names another folder") from error
    return out / "index.html"


def _write_files(out: Path, files: Mapping[str, str | Path]) -> None:
    """Write the files that differ, then the manifest; remove those of an earlier call that are gone."""
    out.mkdir(parents=True, exist_ok=True)
    before = _manifest(out)
    for name, content in files.items():
        data = content.read_bytes() if isinstance(content, Path) else content.encode("utf-8")
        path = out / name
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    for name in sorted(before - files.keys()):
        path = out / name
        if path.resolve().is_relative_to(out.resolve()):
            path.unlink(missing_ok=True)
    (out / MANIFEST).write_text(json.dumps(sorted(files), indent=0) + "\n", encoding="utf-8")


def _manifest(out: Path) -> set[str]:
    """The names in a folder's manifest; none where it cannot be read."""
    try:
        stored = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    names = stored.get("files", ()) if isinstance(stored, dict) else stored  # 0.1.0 wrote checksums by name
    return {name for name in names if isinstance(name, str)} if isinstance(names, dict | list) else set()


def _pages(reader: Reader, suites: Sequence[SuiteResults], *, trials: bool) -> Iterator[Page]:
    removed = {(results.name, results.scale): ablations(reader, results) for results in suites}
    yield index_page(suites, removed)
    for results in suites:
        swept = list(sweep_pages(reader, results))
        tuned = [plot for page in swept for plot in _rates(page)]
        yield suite_page(reader, results, removed[results.name, results.scale], tuned)
        yield from swept
        yield from benchmark_pages(reader, results)
        for bench in results.benches.values() if trials else ():
            yield from trial_pages_of(reader, results, bench)
    yield methods_page(suites)


def _rates(page: Page) -> Iterator[Plot]:
    """Learning-rate figures of a sweep, with names unique among sweeps."""
    for plot in _within(page.content, Plot):
        if plot.name.startswith("setting-") and re.search(r"(^|[.-])lr($|[-.])", plot.name):
            yield replace(plot, name=f"{slug(page.path)}-{plot.name}", title=f"{plot.title}: {page.title}")


def _files(site: Site, page: Page) -> dict[str, str | Path]:
    """The files of a page: itself, its figures' numbers, its pictures."""
    files: dict[str, str | Path] = {page.path: site.document(page)}
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
