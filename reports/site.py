"""The site: which pages there are, and how they come to the disk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from harness.results.reporting import Reported
from harness.store import Reader, open_reader
from reports.data.ablations import ablations
from reports.data.inputs import Inputs, of_site
from reports.data.outputs import Picture
from reports.data.suite_results import SuiteResults, gather
from reports.figures.figure import Figure, Plot
from reports.kept import ASSETS, MadePage, Manifest, write_pages
from reports.links import slug, sweep_path, trial_path
from reports.pages.benchmark import benchmark_pages, trial_pages
from reports.pages.index import index_page, methods_page
from reports.pages.render import PLOTLY, Page, Site, csv_path, static
from reports.pages.suite import suite_page, sweep_pages

TRIAL_PAGES = 2000
"""Above this number of trials none has a page of its own: the table on its benchmark's page has them all."""
Shown = TypeVar("Shown", Figure, Plot, Picture)


def write_site(database: Path, suites: Sequence[Reported], out: Path, *, single_file: bool = False) -> Path:
    """Write the HTML site of suites from the database and return the path of its ``index.html``.

    The same database and plans give the same bytes. A page that an earlier call wrote into ``out`` from the same
    numbers by the same code, and that nobody changed, is not made again. Pages that an earlier call wrote and that are
    no longer part of the site are removed; no other file is touched.

    Args:
        database: the store's file.
        suites: what to report, in this order.
        out: the folder; made if it is missing.
        single_file: one ``index.html`` with everything inside, without pages of single trials.

    Raises:
        StoreError: the database cannot be read.
        HarnessError: the folder cannot be written.
    """
    before = Manifest() if single_file else Manifest.read(out)
    with open_reader(database, consistent=True) as reader:
        gathered = [gather(reader, reported.suite, reported.plan) for reported in suites]
        made_of = {} if single_file else _made_of(reader, gathered)
        kept = [path for path, inputs in made_of.items() if before.holds(out, path, inputs)]
        pages = {page.path: page for page in _pages(reader, gathered, set(kept), trials=not single_file)}
    if single_file:
        site = Site(pages, single=True)
        made = {"index.html": MadePage("", {"index.html": site.one_file(pages["index.html"])})}
    else:
        site = Site(pages, single=False, paths=made_of.keys())
        made = {path: MadePage(made_of[path], _files(site, page)) for path, page in pages.items()}
        made[ASSETS] = MadePage(
            "",
            {
                "assets/style.css": static("style.css"),
                "assets/site.js": static("site.js"),
                "assets/plotly.min.js": PLOTLY,
            },
        )
    write_pages(out, made, kept, before)
    return out / "index.html"


def _few(suites: Sequence[SuiteResults]) -> bool:
    """Whether each trial has a page of its own."""
    return sum(len(results.rows()) for results in suites) <= TRIAL_PAGES


def _made_of(reader: Reader, suites: Sequence[SuiteResults]) -> dict[str, str]:
    """Every page of the folder, with the digest of what it is made of."""
    linked = _few(suites)
    made_of: dict[str, str] = {"index.html": "", "methods.html": ""}
    own = [Inputs(reader, results, linked) for results in suites]
    for results, inputs in zip(suites, own, strict=True):
        made_of |= {sweep_path(str(row["sweep_id"])): inputs.of_sweep(row) for row in results.sweeps}
        made_of |= {results.path_of(name): inputs.of_bench(name) for name in results.benches}
        for bench in results.benches.values() if linked else ():
            made_of |= {trial_path(row["trial_id"]): inputs.of_trial(bench, row) for row in bench.trials.rows}
    paths = set(made_of)
    whole = {}
    for results, inputs in zip(suites, own, strict=True):
        whole[results.path] = inputs.of_suite(paths)
        made_of[results.path] = whole[results.path]
    return made_of | dict.fromkeys(("index.html", "methods.html"), of_site(list(whole.items())))


def _sweep_paths(results: SuiteResults) -> list[str]:
    return [sweep_path(str(row["sweep_id"])) for row in results.sweeps]


def _pages(
    reader: Reader, suites: Sequence[SuiteResults], kept: Set[str] = frozenset(), *, trials: bool
) -> Iterator[Page]:
    """The pages of the site but those that are ``kept``."""
    few = trials and _few(suites)
    index, methods = (path not in kept for path in ("index.html", "methods.html"))
    own = {results.path: {results.path, *_sweep_paths(results)} - kept for results in suites}
    stale = [results for results in suites if index or results.path not in kept]
    removed = {(results.name, results.scale): ablations(reader, results) for results in stale}
    if index:
        yield index_page(suites, removed)
    for results in suites:
        swept = list(sweep_pages(reader, results)) if own[results.path] else []
        if results.path not in kept:
            tuned = [plot for page in swept for plot in _rates(page)]
            yield suite_page(reader, results, removed[results.name, results.scale], tuned)
        yield from (page for page in swept if page.path not in kept)
        new = [name for name in results.benches if results.path_of(name) not in kept]
        yield from benchmark_pages(reader, results, new)
        for bench in results.benches.values() if few else ():
            trials_of = {row["trial_id"] for row in bench.trials.rows if trial_path(row["trial_id"]) not in kept}
            yield from trial_pages(reader, results, bench, trials_of)
    if methods:
        yield methods_page(suites)


def _rates(page: Page) -> Iterator[Plot]:
    """Figures of a sweep that show what the learning rate does, named apart for a page of several sweeps."""
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
