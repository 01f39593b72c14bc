"""The site: which pages there are, and how they come to the disk."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.results.reporting import Reported
from harness.store import Reader, open_reader
from reports.ablations import ablations
from reports.addresses import slug
from reports.benchmark_page import benchmark_pages
from reports.figure import Figure
from reports.index_page import index_page
from reports.methods_page import methods_page
from reports.pictures import Picture
from reports.provenance import provenance
from reports.reading import Gathered, gather
from reports.render import Page, Site, csv_path, static
from reports.suite_page import suite_page
from reports.sweep_page import sweep_pages
from reports.trial_page import trial_pages

TRIAL_PAGES = 2000
"""Above this number of trials none has a page of its own: the table on its benchmark's page has them all."""
MANIFEST = "site.json"
SINGLE = "index.html"


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
        OSError: the folder cannot be written.
    """
    with open_reader(database, consistent=True) as reader:
        found = [gather(reader, one.suite, one.plan) for one in suites]
        pages = {page.path: page for page in _pages(reader, found, trials=not single_file)}
    site = Site(pages, single=single_file)
    files: dict[str, str | bytes | Path] = {}
    if single_file:
        files[SINGLE] = site.one_file(pages["index.html"])
    else:
        files.update(_folder(site, pages))
    _write(out, files)
    return out / "index.html"


def _pages(reader: Reader, found: Sequence[Gathered], *, trials: bool) -> Iterator[Page]:
    removed = {(one.name, one.scale): ablations(reader, one) for one in found}
    yield index_page(found, removed)
    few = sum(len(bench.trials.rows) for one in found for bench in one.benches.values()) <= TRIAL_PAGES
    for one in found:
        swept = [_with_provenance(page, one) for page in sweep_pages(reader, one)]
        tuned = [figure for page in swept for figure in _rates(page)]
        yield suite_page(reader, one, removed[one.name, one.scale], tuned)
        yield from benchmark_pages(reader, one)
        yield from swept
        if trials and few:
            for bench in one.benches.values():
                yield from trial_pages(reader, one, bench)
    yield methods_page(found)


def _with_provenance(page: Page, found: Gathered) -> Page:
    """The page of a sweep with where its numbers come from."""
    row = page.content.get("row")
    name = str(row["benchmark"]) if isinstance(row, Mapping) else ""
    told = provenance(found, name if name in found.benches else None)
    return replace(page, content={**page.content, "provenance": told})


def _rates(page: Page) -> Iterator[Figure]:
    """Figures of a sweep that show what the learning rate does, named apart for a page of several sweeps."""
    for figure in _found(page.content, Figure):
        if figure.name.startswith("setting-") and re.search(r"(^|[.-])lr($|[-.])", figure.name):
            title = f"{figure.title}: {page.title}"
            yield replace(figure, name=f"{slug(page.path)}-{figure.name}", title=title)


def _folder(site: Site, pages: Mapping[str, Page]) -> dict[str, str | bytes | Path]:
    files: dict[str, str | bytes | Path] = {
        "assets/style.css": static("style.css"),
        "assets/site.js": static("site.js"),
        "assets/plotly.min.js": _plotly(),
    }
    for path, page in pages.items():
        files[path] = site.document(page)
        for figure in _found(page.content, Figure):
            files[csv_path(page, figure.name)] = figure.csv
        for picture in _found(page.content, Picture):
            files[f"pictures/{picture.name}"] = picture.file
    return files


def _plotly() -> Path:
    import plotly

    return Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


def _found(content: Any, kind: type[Any]) -> Iterator[Any]:
    """Every figure or picture in a page's content."""
    if isinstance(content, kind):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _found(value, kind)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from _found(value, kind)


def _write(out: Path, files: Mapping[str, str | bytes | Path]) -> None:
    """Write every file, then the list of them, and remove those of an earlier list that are gone."""
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / MANIFEST
    before = _listed(manifest)
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        elif isinstance(content, bytes):
            path.write_bytes(content)
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
