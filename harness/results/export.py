"""Takes results out of the store: whole tables for other tools, or tables that go straight into a paper."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.store import Reader, open_reader

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("runs", "trials", "run_trials", "results", "metrics", "claims", "verdicts", "gates", "artifacts", "sweeps",
          "sweep_points")  # fmt: skip
FORMS = ("parquet", "csv", "latex", "markdown")


def export(database: Path, form: str, folder: Path) -> list[Path]:
    """Write the store's tables (``parquet``, ``csv``) or the tables of a paper (``latex``, ``markdown``)."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_reader(database, consistent=True) as reader:
        if form in ("parquet", "csv"):
            return [_table(reader, table, form, folder) for table in TABLES]
        written = []
        for name, table in (("verdicts", _verdicts(reader)), ("results", _results(reader))):
            path = folder / f"{name}.{'tex' if form == 'latex' else 'md'}"
            path.write_text(latex(table) if form == "latex" else markdown(table), encoding="utf-8")
            written.append(path)
        return written


def _table(reader: Reader, table: str, form: str, folder: Path) -> Path:
    path = folder / f"{table}.{form}"
    if form == "parquet":
        from pyarrow import parquet

        parquet.write_table(reader.arrow(f"FROM {table}"), path)
        return path
    answer = reader.query(f"FROM {table}")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(answer.columns)
        writer.writerows(answer.rows)
    return path


def _verdicts(reader: Reader) -> pd.DataFrame:
    """The newest verdict of each claim, scale and protocol."""
    rows = reader.query(
        "SELECT v.claim_id, v.scale, v.protocol, v.verdict, v.difference, v.ci_low, v.ci_high, v.n, v.adjusted_p, "
        "v.stand_in, v.design->>'stand_in_name' FROM verdicts v "
        "JOIN (SELECT claim_id, scale, protocol, max(judged_at) AS judged_at FROM verdicts "
        "GROUP BY ALL) USING (claim_id, scale, protocol, judged_at) WHERE v.verdict <> 'not run' ORDER BY ALL"
    ).rows
    cells = []
    for claim, scale, protocol, verdict, difference, low, high, n, p, stand_in, named in rows:
        interval = f"[{number(low)}, {number(high)}]" if low is not None and high is not None else ""
        at = f"{scale} (stand-in{f': {named}' if named else ''})" if stand_in else scale
        pairs = "" if n is None else str(n)
        cells.append((claim, at, protocol, verdict, number(difference), interval, pairs, number(p)))
    return _text(cells, "claim", "scale", "protocol", "verdict", "difference", "95 % interval", "n", "adjusted p")


def _results(reader: Reader) -> pd.DataFrame:
    """Mean and standard deviation over seeds of every cell's final test metrics.

    Mechanisms are left out, the configurations of a search, which are scored on validation, and imported results.
    """
    rows = reader.query(
        "SELECT DISTINCT k.benchmark, k.arm, t.scale, r.metric, avg(r.value), stddev_samp(r.value), count(*) "
        "FROM (SELECT DISTINCT trial_id, benchmark, arm FROM run_trials WHERE NOT contains(arm, '#')) k "
        "JOIN trials t USING (trial_id) JOIN results r USING (trial_id) "
        "WHERE r.split = 'test' AND NOT starts_with(r.metric, 'mechanism.') "
        "AND t.fingerprint IS DISTINCT FROM 'imported' "
        "GROUP BY ALL ORDER BY ALL"
    ).rows
    cells = [(b, a, s, m, number(mean), number(sd), str(n)) for b, a, s, m, mean, sd, n in rows]
    return _text(cells, "benchmark", "arm", "scale", "metric", "mean", "sd", "n")


def _text(rows: Iterable[tuple[str, ...]], *head: str) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(head), dtype=str)


def number(value: float | None) -> str:
    """Four significant digits; empty for nothing."""
    return "" if value is None or math.isnan(value) else f"{value:.4g}"


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table of text cells; bars are escaped, since the library leaves them as they are."""
    plain = table.replace({r"\|": r"\|", r"\s*\n\s*": " "}, regex=True)
    plain.columns = plain.columns.str.replace("|", r"\|", regex=False)
    return str(plain.to_markdown(index=False, tablefmt="github", disable_numparse=True)) + "\n"


def latex(table: pd.DataFrame) -> str:
    """A booktabs table of text cells, escaped."""
    return str(table.to_latex(index=False, escape=True))
