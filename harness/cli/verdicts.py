"""The verdict table in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.cli.terminal import console, counted, table
from harness.judge.rows import VerdictRow
from harness.suite import Suite
from harness.vocabulary import Tone, Verdict

if TYPE_CHECKING:
    from rich.text import Text

NUMBERS = ("effect", "95 % interval", "n", "adj. p")

STYLES = {
    Tone.HOLDS: "bold green", Tone.PART: "green", Tone.NULL: "yellow", Tone.AGAINST: "bold red", Tone.IDLE: "magenta",
    Tone.VOID: "dim",
}  # fmt: skip


def verdict_json(verdicts: Iterable[VerdictRow]) -> list[dict[str, Any]]:
    """Verdicts as JSON data: times as text, infinities and NaN as null."""
    return [plain(verdict.columns()) for verdict in verdicts]


def plain(value: Any) -> Any:
    """A value as JSON has it: times as text, infinities and NaN as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def number(value: float | None, digits: int = 3) -> str:
    """A number as people read it: three significant digits, a true minus."""
    if value is None or math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:+.{digits}g}".replace("-", "−")


def print_verdicts(suite: Suite, scale: str, verdicts: Sequence[VerdictRow]) -> None:
    """Print one line a claim that was judged, and a count of those that were not run."""
    output = console()
    judged = [verdict for verdict in verdicts if verdict.verdict != Verdict.NOT_RUN]
    stand_in = any(verdict.stand_in for verdict in judged)
    note = " · stand-in: the published sizes do not apply" if stand_in else ""
    shown = table("claim", "verdict", *NUMBERS, "r", right=(*NUMBERS, "r"), title=f"{suite.name} at {scale}{note}")
    for verdict in judged:
        shown.add_row(*_row(verdict))
    output.print(shown)
    if any(_correlation(verdict) for verdict in judged):
        output.print("r: correlation of the two arms' scores over seeds, what pairing removes", style="dim")
    missing = len(verdicts) - len(judged)
    if missing:
        output.print(
            f"{counted(missing, 'more claim')} not run here; 'harness claims {suite.name}' says why", style="dim"
        )


def _row(verdict: VerdictRow) -> list[Any]:
    from rich.text import Text

    adjusted = verdict.adjusted_p
    return [
        Text(verdict.claim_id),
        Text(verdict.verdict, style=STYLES.get(Verdict.of(verdict.verdict).tone, "")),
        number(verdict.difference),
        _interval(verdict.ci_low, verdict.ci_high),
        str(verdict.n or ""),
        "" if adjusted is None or math.isnan(adjusted) else f"{adjusted:.3f}",
        _correlation(verdict),
    ]


def _interval(low: float | None, high: float | None) -> Text:
    from rich.text import Text

    return Text("" if low is None or high is None else f"[{number(low)}, {number(high)}]")


def _correlation(verdict: VerdictRow) -> str:
    """Of the pairs of a verdict; from the least to the largest where it rests on several comparisons."""
    found = [one.get("correlation") for one in verdict.design.get("per_benchmark") or ()]
    known = sorted(value for value in found if value is not None)
    ends = dict.fromkeys(f"{value:.2f}".replace("-", "−") for value in (known[0], known[-1])) if known else {}
    return "…".join(ends)


def print_ablations(rows: list[dict[str, Any]]) -> None:
    """One line an effect that was measured: changes of one arm, then main effects and interactions."""
    from rich.text import Text

    measured = [row for row in rows if row["n"]]
    if not measured:
        return
    title = "ablations: exploratory, up = better, adjusted by Benjamini–Hochberg"
    shown = table("benchmark", "arm or effect", "against", *NUMBERS, right=NUMBERS, title=title)
    for row in measured:
        kind = "" if row["effect"] == "change" else f" ({row['effect']})"
        shown.add_row(
            Text(row["benchmark"]), Text(f"{row['arm']}{kind}"), Text(row["parent"]), number(row["difference"]),
            _interval(row["ci_low"], row["ci_high"]), str(row["n"]), f"{row['adjusted_p']:.3f}",
        )  # fmt: skip
    console().print(shown)


def print_claims(suite: Suite, scale: str, verdicts: Sequence[VerdictRow]) -> None:
    """The verdict table, then every claim that was not run with its reason."""
    from rich.text import Text

    print_verdicts(suite, scale, verdicts)
    missing = [verdict for verdict in verdicts if verdict.verdict == Verdict.NOT_RUN]
    listed = {verdict.claim_id for verdict in verdicts}
    shown = table("claim", "why", title=Verdict.NOT_RUN)
    for verdict in missing:
        shown.add_row(Text(verdict.claim_id), Text(str(verdict.design.get("reason") or "")))
    for name, fact in suite.facts.items():
        if name not in listed:
            shown.add_row(Text(name), Text(f"{fact.kind}: listed with its source, never judged ({fact.source})"))
    if shown.row_count:
        console().print(shown)
