"""The tables of docs/verdicts.md, from what ``harness claims`` says of the shipped suites.

``harness claims --format json | python docs/verdict_tables.py`` prints them.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

Row = dict[str, Any]
ORDER = ("secondary", "mechanism", "ablation")


def main() -> None:
    """Print the tables of each suite."""
    for suite in json.load(sys.stdin):
        print(f"\n### {suite['suite']}\n")
        print("\n".join(f"- {line}" for line in suite["headline"]))
        rows = suite["verdicts"]
        published = [row for row in rows if row["protocol"] == "published"]
        tuned = {row["claim_id"]: row for row in rows if row["protocol"] == "tuned"}
        primary = [row for row in published if row["design"].get("family") == "primary"]
        _table(
            ("primary claim, arms", "on", "published", "tuned", "chosen", "rates"),
            (
                (
                    row["claim_id"] + _arms(row),
                    _on(row),
                    _found(row),
                    _found(tuned.get(row["claim_id"])),
                    _chosen(tuned.get(row["claim_id"])),
                    _rates(row),
                )
                for row in _tests(primary)
            ),
        )
        _table(
            ("intervention", "on", "found"),
            (
                (row["claim_id"] + _arms(row), _on(row), _found(row))
                for row in published
                if row["design"].get("family") == "intervention"
            ),
        )
        for family in ORDER:
            words = Counter(row["verdict"] for row in published if row["design"].get("family") == family)
            if words:
                told = ", ".join(f"{count} {word}" for word, count in words.most_common())
                print(f"\nClaims of the family *{family}*: {told}.")


def _tests(rows: list[Row]) -> list[Row]:
    """One row a test: claims that share one are one experiment. The row with a second protocol speaks for it."""
    ranked = sorted(rows, key=lambda row: not row["design"].get("rate_curve"))
    first = {row["design"].get("contrast_id") or row["claim_id"]: row for row in reversed(ranked)}
    return [row for row in rows if any(row is each for each in first.values())]


def _table(titles: tuple[str, ...], rows: Any) -> None:
    lines = [" | ".join(row) for row in rows]
    if lines:
        print(f"\n| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
        print("\n".join(f"| {line} |" for line in lines))


def _arms(row: Row) -> str:
    design = row["design"]
    return f": {design['arm']} − {', '.join(design['against'][:1] if not design.get('order') else design['against'])}"


def _on(row: Row) -> str:
    return str(row["design"].get("stand_in_name") or "the paper's own data")


def _found(row: Row | None) -> str:
    if row is None:
        return "–"
    word = f"**{row['verdict']}**"
    if row["difference"] is None:
        return f"{word} ({row['design'].get('reason') or 'a test a benchmark'})"
    low = "−∞" if row["ci_low"] is None else f"{row['ci_low']:.3g}"
    high = "∞" if row["ci_high"] is None else f"{row['ci_high']:.3g}"
    adjusted = "" if row["adjusted_p"] is None else f", p {row['adjusted_p']:.2g}"
    return f"{row['difference']:+.3g} [{low}, {high}], n {row['n']}{adjusted}: {word}"


def _chosen(row: Row | None) -> str:
    searches = (row or {"design": {}})["design"].get("tuning") or {}
    told = []
    for place, search in searches.items():
        for arm, params in search["chosen"].items():
            ends = search.get("ends", {}).get(arm, {})
            values = (f"{key.rpartition('.')[2]} {value:g}{'*' * (key in ends)}" for key, value in params.items())
            told.append(f"{arm}{f' ({place})' * (len(searches) > 1)}: {', '.join(values)}")
    return "; ".join(told) or "–"


def _rates(row: Row) -> str:
    curve = row["design"].get("rate_curve") or []
    told = (f"×{entry['factor']:.2g} {_at_rate(entry)}{' holds' * entry['holds']}" for entry in curve)
    return "; ".join(told) or "–"


def _at_rate(entry: Row) -> str:
    if entry["difference"] is None:
        return "diverged" if entry.get("diverged") else "–"
    return f"{entry['difference']:+.3g}"


if __name__ == "__main__":
    main()
