"""The verdict table in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from harness.cli.terminal import counted, note, print_table
from harness.judge.ablation import AblationRow
from harness.judge.rows import VerdictRow
from harness.suite import Suite
from harness.vocabulary import Tone, Verdict

NUMBERS = ("effect", "95 % interval", "n", "adj. p")

STYLES = {
    Tone.HOLDS: "bold green", Tone.PART: "green", Tone.NULL: "yellow", Tone.AGAINST: "bold red", Tone.IDLE: "magenta",
    Tone.VOID: "dim",
}  # fmt: skip


def number(value: float | None, digits: int = 3) -> str:
    """A number as people read it: three significant digits, a true minus."""
    if value is None or math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:+.{digits}g}".replace("-", "−")


def print_verdicts(suite: Suite, scale: str, verdicts: Sequence[VerdictRow]) -> None:
    """Print one line a claim that was judged, and a count of those that were not run."""
    judged = [verdict for verdict in verdicts if verdict.verdict != Verdict.NOT_RUN]
    stand_in = any(verdict.stand_in for verdict in judged)
    caveat = " · stand-in: the published sizes do not apply" if stand_in else ""
    columns = ("claim", "verdict", *NUMBERS, "r")
    print_table(columns, map(_row, judged), right=(*NUMBERS, "r"), title=f"{suite.name} at {scale}{caveat}")
    if any(_correlation(verdict) for verdict in judged):
        note("r: correlation of the two arms' scores over seeds, what pairing removes")
    missing = len(verdicts) - len(judged)
    if missing:
        note(f"{counted(missing, 'more claim')} not run here; 'harness claims {suite.name}' says why")


def _row(verdict: VerdictRow) -> Sequence[str | Text]:
    adjusted = verdict.adjusted_p
    return (
        verdict.claim_id,
        Text(verdict.verdict, style=STYLES.get(Verdict.of(verdict.verdict).tone, "")),
        number(verdict.difference),
        _interval(verdict.ci_low, verdict.ci_high),
        str(verdict.n or ""),
        "" if adjusted is None or math.isnan(adjusted) else f"{adjusted:.3f}",
        _correlation(verdict),
    )


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def _correlation(verdict: VerdictRow) -> str:
    """Of the pairs of a verdict; from the least to the largest where it rests on several comparisons."""
    given = [comparison.get("correlation") for comparison in verdict.design.get("per_benchmark") or ()]
    known = sorted(value for value in given if value is not None)
    ends = dict.fromkeys(f"{value:.2f}".replace("-", "−") for value in (known[0], known[-1])) if known else {}
    return "…".join(ends)


def print_ablations(rows: Sequence[AblationRow]) -> None:
    """One line an effect that was measured: changes of one arm, then main effects and interactions."""
    shown = []
    for row in rows:
        if row.n:
            kind = "" if row.effect == "change" else f" ({row.effect})"
            numbers = (number(row.difference), _interval(row.ci_low, row.ci_high), str(row.n))
            shown.append((row.benchmark, f"{row.arm}{kind}", row.parent, *numbers, f"{row.adjusted_p:.3f}"))
    if shown:
        title = "ablations: exploratory, up = better, adjusted by Benjamini–Hochberg"
        print_table(("benchmark", "arm or effect", "against", *NUMBERS), shown, right=NUMBERS, title=title)


def print_claims(suite: Suite, scale: str, verdicts: Sequence[VerdictRow]) -> None:
    """The verdict table, then every claim that was not run with its reason."""
    print_verdicts(suite, scale, verdicts)
    missing = [verdict for verdict in verdicts if verdict.verdict == Verdict.NOT_RUN]
    rows = [(verdict.claim_id, str(verdict.design.get("reason") or "")) for verdict in missing]
    listed = {verdict.claim_id for verdict in verdicts}
    rows += [
        (name, f"{fact.kind}: listed with its source, never judged ({fact.source})")
        for name, fact in suite.facts.items()
        if name not in listed
    ]
    if rows:
        print_table(("claim", "why"), rows, title=Verdict.NOT_RUN)
