"""Notes under a table of verdicts: warnings, interim analyses, changes since registration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.cli.terminal import counted, note
from harness.judge.rows import VerdictRow
from harness.vocabulary import Tone, Verdict

NAMED = 3
"""Claims named in a line; the others are counted."""
LISTED = 24
"""Lines of a kind that are printed; the verdicts' records have all."""


def print_beside(verdicts: Sequence[VerdictRow]) -> None:
    """Print one line for each note, with the claims that it concerns."""
    kinds = (
        ("", _reasons(verdicts), "yellow"),
        ("warning: ", _warnings(verdicts), "yellow"),
        ("", _looks(verdicts), "dim"),
        ("seeds × items: ", _items(verdicts), "dim"),
        ("changed since registration: ", _changes(verdicts), "yellow"),
    )
    for begin, shown, style in kinds:
        claims: dict[str, dict[str, None]] = {}
        for text, claim in shown:
            claims.setdefault(text, {})[claim] = None
        for text, names in list(claims.items())[:LISTED]:
            note(f"{begin}{text} ({named(list(names))})", style)
        if len(claims) > LISTED:
            note(f"{begin}{len(claims) - LISTED} more; 'harness claims --format json' has all", style)


def named(claims: Sequence[str]) -> str:
    """The first few claims by name."""
    more = len(claims) - NAMED
    return ", ".join(claims[:NAMED]) + (f" and {counted(more, 'more claim')}" if more > 0 else "")


def _reasons(verdicts: Iterable[VerdictRow]) -> Iterator[tuple[str, str]]:
    """Reasons why a claim that ran decides nothing."""
    for verdict in verdicts:
        shown = verdict.verdict != Verdict.NOT_RUN and Verdict.of(verdict.verdict).tone in (Tone.VOID, Tone.IDLE)
        if shown and not verdict.detail.is_check and verdict.detail.reason:
            yield f"{verdict.verdict}: {verdict.detail.reason}", verdict.claim_id


def _warnings(verdicts: Iterable[VerdictRow]) -> Iterator[tuple[str, str]]:
    for verdict in verdicts:
        for text in verdict.detail.warnings:
            yield text, verdict.claim_id


def _looks(verdicts: Iterable[VerdictRow]) -> Iterator[tuple[str, str]]:
    for verdict in verdicts:
        sizes = verdict.detail.look_sizes
        if len(sizes) > 1:
            at = ", ".join(map(str, sizes))
            text = f"seeds were added after a first analysis ({at} pairs): the sequential test applies"
            yield text, verdict.claim_id


def _items(verdicts: Iterable[VerdictRow]) -> Iterator[tuple[str, str]]:
    for verdict in verdicts:
        for entry in verdict.detail.per_benchmark:
            if entry.two_way is not None:
                shown = f"{entry.two_way.conditional_on}; the interval over seeds is conditional on these items"
                yield shown, verdict.claim_id


def _changes(verdicts: Iterable[VerdictRow]) -> Iterator[tuple[str, str]]:
    for verdict in verdicts:
        for change in verdict.detail.changed:
            yield str(change), verdict.claim_id
