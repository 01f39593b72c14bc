"""The verdict table in the terminal."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.text import Text

from harness.base.text import interval, number
from harness.cli.terminal import counted, note, print_table
from harness.judge.ablation import AblationRow
from harness.judge.rows import VerdictRow
from harness.results.verdict_text import (
    CountedVerdict,
    Group,
    by_protocol,
    chosen_settings,
    headline,
    notes_of,
    number_texts,
    place_of,
    rates_text,
)
from harness.suite import Suite
from harness.vocabulary import Tone, Verdict

ON = "stand-in"
EXACT = "d_z, exact 95 %"
TWO_WAY = "95 % seeds × items"
NUMBERS = ("effect", "95 % interval", "n", "adj. p")
NAMED = 3
"""Claims that a note names; the others are counted."""
LISTED = 24
"""Notes of a kind that are printed; the verdicts' records have all."""

STYLES = {
    Tone.HOLDS: "bold green",
    Tone.PART: "green",
    Tone.NULL: "yellow",
    Tone.AGAINST: "bold red",
    Tone.IDLE: "magenta",
    Tone.VOID: "dim",
}


def print_verdicts(suite: Suite, scale: str, verdicts: Sequence[VerdictRow]) -> None:
    """Print judged claims (primary ones first, then reversed ones), tuned verdicts, notes and a summary.

    Effect sizes and tuned verdicts have separate tables; the summary counts tests.
    """
    published, tuned = by_protocol(verdicts)
    _print_judged(suite, scale, published, {verdict.claim_id: verdict for verdict in tuned})
    if tuned:
        _print_tuned(tuned)
    for text in headline(verdicts):
        note(text, "bold")


def _place(verdict: VerdictRow) -> tuple[bool, int, tuple[int, int]]:
    """Sort key: primary claims first, then by group, reversed ones first in each."""
    group = CountedVerdict.of(verdict.claim_id, verdict.verdict, verdict.detail).group
    return not _primary(verdict), len(Group) if group is None else list(Group).index(group), place_of(verdict.verdict)


def _primary(verdict: VerdictRow) -> bool:
    return verdict.detail.multiplicity.family == "primary"


def _print_judged(suite: Suite, scale: str, verdicts: Sequence[VerdictRow], tuned: Mapping[str, VerdictRow]) -> None:
    shown = [verdict for verdict in verdicts if verdict.verdict != Verdict.NOT_RUN or _primary(verdict)]
    shown.sort(key=_place)
    on = _stand_in_column(shown)
    caveat = " · stand-ins: published sizes do not apply" if on else ""
    columns = ("claim", "family", "verdict", *on, *NUMBERS, *(("tuned", "rates") if tuned else ()))
    rows = []
    for verdict in shown:
        other = tuned.get(verdict.claim_id)
        tuned_text = verdict_text(other.verdict) if other is not None else ""
        rows.append((*_row(verdict, on), *((tuned_text, rates_text(verdict.detail)) if tuned else ())))
    print_table(columns, rows, right=NUMBERS, title=f"{suite.name} at {scale}{caveat}")
    _print_sizes(shown, on)
    _print_notes(verdicts)
    missing = sum(verdict.verdict == Verdict.NOT_RUN for verdict in verdicts)
    if missing:
        note(f"{counted(missing, 'claim')} not run here; 'harness claims {suite.name}' shows the reasons")


def _stand_in_column(verdicts: Sequence[VerdictRow]) -> tuple[str, ...]:
    return (ON,) if any(verdict.detail.stand_in_name for verdict in verdicts) else ()


def _print_notes(verdicts: Sequence[VerdictRow]) -> None:
    """Print one line for each note, with the claims that it concerns."""
    printed: Counter[str] = Counter()
    notes = notes_of(verdicts)
    for each in notes:
        printed[each.kind] += 1
        if printed[each.kind] <= LISTED:
            more = len(each.claims) - NAMED
            claims = ", ".join(each.claims[:NAMED]) + (f" and {counted(more, 'more claim')}" if more > 0 else "")
            note(f"{each.text} ({claims})", "dim" if each.kind in ("interim", "items") else "yellow")
    if more_notes := sum(max(0, many - LISTED) for many in printed.values()):
        note(f"{counted(more_notes, 'more note')}; 'harness claims --format json' has all", "yellow")


def _print_sizes(shown: Sequence[VerdictRow], on: tuple[str, ...]) -> None:
    """Print effect sizes, if any: d_z, correlations, intervals over seeds and items."""
    two_way = (TWO_WAY,) if any(_two_way(verdict) for verdict in shown) else ()
    columns = ("claim", *on, EXACT, "r", *two_way)
    rows = []
    for verdict in shown:
        sizes = (_effect_size(verdict), _correlation(verdict), *(_two_way(verdict) for _ in two_way))
        if any(sizes):
            rows.append((verdict.claim_id, *(verdict.detail.stand_in_name for _ in on), *sizes))
    if rows:
        print_table(columns, rows, right=(EXACT, "r", *two_way), title="effect sizes")
        if any(_correlation(verdict) for verdict in shown):
            note("r: correlation between the two arms across seeds (pairing removes this variance)")


def _effect_size(verdict: VerdictRow) -> str:
    """d_z with its exact interval, where the test is of one comparison."""
    effect = verdict.detail.effect
    if effect is None or effect.d_z is None:
        return ""
    low, high = effect.d_z_low, effect.d_z_high
    ends = interval(-math.inf if low is None else low, math.inf if high is None else high)
    return f"{number(effect.d_z, sign=True)} {ends}"


def _print_tuned(tuned: Sequence[VerdictRow]) -> None:
    judged = [verdict for verdict in tuned if verdict.verdict != Verdict.NOT_RUN]
    if judged:
        on = _stand_in_column(judged)
        columns = ("claim", "family", "verdict, tuned", *on, *NUMBERS, "chosen")
        rows = [(*_row(verdict, on), _chosen(verdict)) for verdict in judged]
        title = "tuned: settings chosen by each arm at equal budgets, separate families"
        print_table(columns, rows, right=NUMBERS, title=title)
    silent = (Verdict.NOT_RUN, Verdict.CONDITIONAL)
    texts = [verdict.detail.reason or "" for verdict in tuned if verdict.verdict in silent]
    for text in dict.fromkeys((*texts, *(text for verdict in judged for text in verdict.detail.warnings))):
        note(f"tuned: {text}")


def _chosen(verdict: VerdictRow) -> str:
    """Return ``adamp: lr 0.1, wd 0.1; adamw: …``, with the benchmark if there are several."""
    several = len(verdict.detail.tuning) > 1
    settings = chosen_settings(verdict.detail)
    return "; ".join(f"{f'{benchmark}: ' if several else ''}{arm}: {text}" for benchmark, arm, text in settings)


def verdict_text(verdict: str) -> Text:
    """Return a verdict in its colour."""
    return Text(verdict, style=STYLES.get(Verdict.of(verdict).tone, ""))


def _row(verdict: VerdictRow, on: tuple[str, ...]) -> tuple[str | Text, ...]:
    label, mechanism = verdict_text(verdict.verdict), verdict.detail.mechanism
    if not verdict.stand_in and mechanism in ("did not act", "not measured"):
        label = label + Text(f"; mechanism {mechanism}", style=STYLES[Tone.IDLE])
    return (
        verdict.claim_id,
        verdict.detail.multiplicity.family,
        label,
        *(verdict.detail.stand_in_name for _ in on),
        *number_texts(verdict.difference, verdict.ci_low, verdict.ci_high, verdict.n, verdict.adjusted_p),
    )


def _two_way(verdict: VerdictRow) -> str:
    """The interval over seeds and items of a single comparison."""
    ends = verdict.detail.two_way
    return "" if ends is None else interval(ends.low, ends.high)


def _correlation(verdict: VerdictRow) -> str:
    """Correlation of the pairs; its range for several comparisons."""
    existing = sorted(entry.correlation for entry in verdict.detail.per_benchmark if entry.correlation is not None)
    ends = dict.fromkeys(number(value, 2) for value in (existing[0], existing[-1])) if existing else {}
    return "…".join(ends)


def print_ablations(rows: Sequence[AblationRow]) -> None:
    """Print measured effects: changes of one arm, main effects, interactions."""
    measured = [row for row in rows if row.n]
    if not measured:
        return
    on = (ON,) if any(row.stand_in_name for row in measured) else ()
    corrected = "corrected"
    shown = []
    for row in measured:
        kind = "" if row.effect == "change" else f" ({row.effect})"
        names = (row.benchmark, *(row.stand_in_name for _ in on), f"{row.arm}{kind}", row.parent)
        numbers = number_texts(row.difference, row.ci_low, row.ci_high, row.n, row.adjusted_p)
        shown.append((*names, *numbers, interval(row.adjusted_low, row.adjusted_high)))
    title = "ablations: exploratory, up = better, corrected by Benjamini–Hochberg"
    columns = ("benchmark", *on, "arm or effect", "against", *NUMBERS, corrected)
    print_table(columns, shown, right=(*NUMBERS, corrected), title=title)


def print_claims(suite: Suite, scale: str, verdicts: Sequence[VerdictRow]) -> None:
    """Print the verdicts, then claims that were not run with reasons."""
    print_verdicts(suite, scale, verdicts)
    missing = [verdict for verdict in by_protocol(verdicts)[0] if verdict.verdict == Verdict.NOT_RUN]
    rows = [(verdict.claim_id, verdict.detail.reason or "") for verdict in missing]
    listed = {verdict.claim_id for verdict in verdicts}
    rows += [
        (name, f"{fact.kind}: listed with its source, never judged ({fact.source})")
        for name, fact in suite.facts.items()
        if name not in listed
    ]
    if rows:
        print_table(("claim", "why"), rows, title=Verdict.NOT_RUN)
