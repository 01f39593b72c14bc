"""The verdict table in the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.text import Text

from harness.cli.beside import print_beside
from harness.cli.terminal import counted, note, print_table
from harness.judge.ablation import AblationRow
from harness.judge.rows import VerdictRow
from harness.suite import Suite
from harness.vocabulary import Protocol, Tone, Verdict

TWO_WAY = "95 % seeds × items"
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
    """Print one line a claim that was judged, both protocols in it, and a count of those that were not run.

    The tuned verdicts have a table of their own below, with what each arm chose.
    """
    published, tuned = by_protocol(verdicts)
    _print_judged(suite, scale, published, {verdict.claim_id: verdict for verdict in tuned})
    if tuned:
        _print_tuned(tuned)


def by_protocol(verdicts: Sequence[VerdictRow]) -> tuple[list[VerdictRow], list[VerdictRow]]:
    """The verdict that stands for each claim, the published one where there is one, and the tuned ones beside them."""
    named = {verdict.claim_id for verdict in verdicts if verdict.protocol == Protocol.PUBLISHED}
    tuned = [verdict for verdict in verdicts if verdict.protocol == Protocol.TUNED and verdict.claim_id in named]
    return [verdict for verdict in verdicts if verdict not in tuned], tuned


def _print_judged(suite: Suite, scale: str, verdicts: Sequence[VerdictRow], tuned: Mapping[str, VerdictRow]) -> None:
    judged = [verdict for verdict in verdicts if verdict.verdict != Verdict.NOT_RUN]
    stand_in = any(verdict.stand_in for verdict in judged)
    caveat = " · stand-in: the published sizes do not apply" if stand_in else ""
    two_way = (TWO_WAY,) if any(_two_way(verdict) for verdict in judged) else ()
    beside = ("tuned", "rates") if tuned else ()
    columns = ("claim", "verdict", *NUMBERS, "r", *two_way, *beside)
    rows = [
        (*_row(verdict), *(_two_way(verdict) for _ in two_way), *(_beside(verdict, tuned) if tuned else ()))
        for verdict in judged
    ]
    print_table(columns, rows, right=(*NUMBERS, "r", *two_way), title=f"{suite.name} at {scale}{caveat}")
    if any(_correlation(verdict) for verdict in judged):
        note("r: correlation of the two arms' scores over seeds, what pairing removes")
    print_beside(verdicts)
    missing = len(verdicts) - len(judged)
    if missing:
        note(f"{counted(missing, 'more claim')} not run here; 'harness claims {suite.name}' says why")


def _beside(verdict: VerdictRow, tuned: Mapping[str, VerdictRow]) -> tuple[str | Text, str]:
    """The word under the tuned protocol, and at how many rates the effect holds."""
    other, curve = tuned.get(verdict.claim_id), verdict.design.get("rate_curve") or ()
    measured = [entry for entry in curve if entry["n"]]
    holds = f"holds at {sum(entry['holds'] for entry in measured)} of {len(measured)}" if measured else ""
    return _word(other.verdict) if other is not None else "", holds


def _print_tuned(tuned: Sequence[VerdictRow]) -> None:
    judged = [verdict for verdict in tuned if verdict.verdict != Verdict.NOT_RUN]
    if judged:
        columns = ("claim", "verdict, tuned", *NUMBERS, "r", "chosen")
        rows = [(*_row(verdict), chosen_in_words(verdict)) for verdict in judged]
        title = "tuned: each arm's own choice at equal budgets, a family of its own"
        print_table(columns, rows, right=(*NUMBERS, "r"), title=title)
    for reason in dict.fromkeys(str(v.design.get("reason") or "") for v in tuned if v.verdict == Verdict.NOT_RUN):
        note(f"tuned: {reason}")


def chosen_in_words(verdict: VerdictRow) -> str:
    """``adamp: lr 0.01, weight_decay 0.1; adamw: …``, with the benchmark where there are several."""
    tuning = verdict.design.get("tuning") or {}
    said = []
    for benchmark, search in tuning.items():
        where = f"{benchmark}: " if len(tuning) > 1 else ""
        for arm, params in search["chosen"].items():
            values = ", ".join(f"{key.rpartition('.')[2]} {value:.3g}" for key, value in params.items())
            said.append(f"{where}{arm}: {values}")
    return "; ".join(said)


def _word(verdict: str) -> Text:
    return Text(verdict, style=STYLES.get(Verdict.of(verdict).tone, ""))


def _row(verdict: VerdictRow) -> tuple[str | Text, ...]:
    adjusted = verdict.adjusted_p
    return (
        verdict.claim_id,
        _word(verdict.verdict),
        number(verdict.difference),
        _interval(verdict.ci_low, verdict.ci_high),
        str(verdict.n or ""),
        "" if adjusted is None or math.isnan(adjusted) else f"{adjusted:.3f}",
        _correlation(verdict),
    )


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def _two_way(verdict: VerdictRow) -> str:
    """The interval over seeds and items of a verdict that rests on one comparison."""
    interval = verdict.design.get("two_way") or {}
    return _interval(interval.get("low"), interval.get("high"))


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
    missing = [verdict for verdict in by_protocol(verdicts)[0] if verdict.verdict == Verdict.NOT_RUN]
    rows = [(verdict.claim_id, str(verdict.design.get("reason") or "")) for verdict in missing]
    listed = {verdict.claim_id for verdict in verdicts}
    rows += [
        (name, f"{fact.kind}: listed with its source, never judged ({fact.source})")
        for name, fact in suite.facts.items()
        if name not in listed
    ]
    if rows:
        print_table(("claim", "why"), rows, title=Verdict.NOT_RUN)
