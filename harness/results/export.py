"""Takes results out of the store: whole tables for other tools, or tables that go straight into a paper."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness.store import Reader, open_reader

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
        for name, head, rows in (("verdicts", *_verdicts(reader)), ("results", *_results(reader))):
            path = folder / f"{name}.{'tex' if form == 'latex' else 'md'}"
            path.write_text(latex(head, rows) if form == "latex" else markdown(head, rows), encoding="utf-8")
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


def _verdicts(reader: Reader) -> tuple[list[str], list[list[str]]]:
    """The newest verdict of each claim and scale."""
    rows = reader.query(
        "SELECT v.claim_id, v.scale, v.verdict, v.difference, v.ci_low, v.ci_high, v.n, v.adjusted_p, v.stand_in "
        "FROM verdicts v JOIN (SELECT claim_id, scale, max(judged_at) AS judged_at FROM verdicts GROUP BY ALL) "
        "USING (claim_id, scale, judged_at) WHERE v.verdict <> 'not run' ORDER BY ALL"
    ).rows
    head = ["claim", "scale", "verdict", "difference", "95 % interval", "n", "adjusted p"]
    return head, [
        [
            claim, f"{scale} (stand-in)" if stand_in else scale, verdict, number(difference),
            f"[{number(low)}, {number(high)}]" if low is not None and high is not None else "",
            "" if n is None else str(n), number(p),
        ]
        for claim, scale, verdict, difference, low, high, n, p, stand_in in rows
    ]  # fmt: skip


def _results(reader: Reader) -> tuple[list[str], list[list[str]]]:
    """Mean and standard deviation over seeds of every cell's final test metrics, mechanisms left out."""
    rows = reader.query(
        "SELECT DISTINCT k.benchmark, k.arm, t.scale, r.metric, avg(r.value), stddev_samp(r.value), count(*) "
        "FROM (SELECT DISTINCT trial_id, benchmark, arm FROM run_trials) k JOIN trials t USING (trial_id) "
        "JOIN results r USING (trial_id) WHERE r.split = 'test' AND NOT starts_with(r.metric, 'mechanism.') "
        "GROUP BY ALL ORDER BY ALL"
    ).rows
    head = ["benchmark", "arm", "scale", "metric", "mean", "sd", "n"]
    return head, [[b, a, s, m, number(mean), number(sd), str(n)] for b, a, s, m, mean, sd, n in rows]


def number(value: float | None) -> str:
    """Four significant digits; empty for nothing."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else f"{value:.4g}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; a bar in a name is escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def escape(text: object) -> str:
    """Text as LaTeX prints it."""
    return "".join(_LATEX.get(character, character) for character in str(text))


def latex(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A booktabs table."""
    lines = [
        r"\begin{tabular}{" + "l" * len(head) + "}",
        r"\toprule",
        " & ".join(map(escape, head)) + r" \\",
        r"\midrule",
    ]
    lines += [" & ".join(map(escape, row)) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"
