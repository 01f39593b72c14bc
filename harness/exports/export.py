"""Takes results out of the store: whole tables and current results for other tools, and the tables of a paper."""

import csv
import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from harness.errors import HarnessError
from harness.exports.paper_table import paper_tables
from harness.exports.paper_text import WRITERS, as_text, name_of, slug
from harness.exports.tracked import tracked_trials
from harness.exports.trackers import TRACKERS
from harness.exports.verdict_table import verdict_tables
from harness.results.current import ResultFilter, Statement, results_statement
from harness.store import Reader, open_reader

TABLES = (
    "runs",
    "trials",
    "run_trials",
    "results",
    "metrics",
    "claims",
    "verdicts",
    "gates",
    "artifacts",
    "sweeps",
    "sweep_points",
)
CURRENT = "current_results"
"""The table of one plan a suite and scale; the only one that takes a filter."""


def export(database: Path, form: str, folder: Path, wanted: ResultFilter | None = None) -> list[Path]:
    """Write files of a form into a folder.

    ``parquet`` and ``csv``: every table of the store and ``current_results``, or with a filter the latter alone.
    ``latex`` and ``markdown``: a paper's tables, a file a suite, scale and metric, and the verdicts. ``mlflow``
    and ``tensorboard``: the current trials, written through these tools.

    Raises:
        HarnessError: the filter names what is not stored, or leaves nothing; the folder cannot be written.
    """
    try:
        return _export(database, form, folder, wanted or ResultFilter())
    except OSError as error:
        raise HarnessError(f"{error.filename or folder} cannot be written: {error.strerror or error}") from error


def _export(database: Path, form: str, folder: Path, wanted: ResultFilter) -> list[Path]:
    with open_reader(database, consistent=True) as reader:
        if form in WRITERS:
            texts = _paper(reader, form, wanted)
            _make(folder)
            for path, text in texts.items():
                (folder / path).write_text(text, encoding="utf-8")
            return [folder / path for path in texts]
        if form in TRACKERS:
            trials = tracked_trials(reader, wanted)
            if (first := next(trials, None)) is None:
                raise HarnessError("none of these trials has ended; 'harness list runs' shows what ran")
            _make(folder)
            tracker = TRACKERS[form](folder)
            for trial in itertools.chain([first], trials):
                tracker.write(trial)
            return [folder]
        return _tables(reader, form, folder, wanted)


FORMS = ("parquet", "csv", *WRITERS, *TRACKERS)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(f"{folder} cannot be created as a folder: {error.strerror}") from error


def _tables(reader: Reader, form: str, folder: Path, wanted: ResultFilter) -> list[Path]:
    statements = {CURRENT: results_statement(reader, wanted)}
    if not wanted.asks:
        statements = {table: Statement(f"FROM {table}", {}) for table in TABLES} | statements
    _make(folder)
    write = _TABLE_FORMS[form]
    return [write(reader, statement, folder / f"{name}.{form}") for name, statement in statements.items()]


def _parquet(reader: Reader, statement: Statement, path: Path) -> Path:
    from pyarrow import parquet

    parquet.write_table(reader.arrow(statement.sql, statement.parameters), path)
    return path


def _csv(reader: Reader, statement: Statement, path: Path) -> Path:
    answer = reader.query(statement.sql, statement.parameters)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(answer.columns)
        writer.writerows(answer.rows)
    return path


_TABLE_FORMS: Mapping[str, Callable[[Reader, Statement, Path], Path]] = {"parquet": _parquet, "csv": _csv}


def _paper(reader: Reader, form: str, wanted: ResultFilter) -> dict[str, str]:
    """The text of every table by the name of its file."""
    suffix, write = WRITERS[form]
    texts: dict[str, str] = {}
    for table in paper_tables(reader, wanted):
        texts[_free(f"{name_of(table)}.{suffix}", texts)] = write(as_text(table))
    for (suite, scale), verdicts in verdict_tables(reader, wanted).items():
        texts[_free(f"{slug(f'{suite}-{scale}-verdicts')}.{suffix}", texts)] = write(verdicts)
    if not texts:
        raise HarnessError("no score of these trials; 'harness list runs' shows what ran")
    return texts


def _free(name: str, taken: Iterable[str]) -> str:
    """The name, numbered where another one has become the same."""
    stem, dot, suffix = name.rpartition(".")
    names = [name, *(f"{stem}-{number}{dot}{suffix}" for number in range(2, 10_000))]
    return next(free for free in names if free not in set(taken))
