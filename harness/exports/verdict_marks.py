"""The mark beside a method's number: the verdict about exactly these trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from harness.judge.design import PREFIX
from harness.judge.detail import VerdictDetail, from_json
from harness.store.queries import Queries
from harness.vocabulary import Tone, Verdict

SIGNS = {
    Tone.HOLDS: "↑",
    Tone.PART: "↗",
    Tone.OPEN: "·",
    Tone.NULL: "≈",
    Tone.AGAINST: "↓",
    Tone.IDLE: "○",
    Tone.VOID: "×",
}
SILENT = frozenset({Verdict.NOT_RUN, Verdict.NOT_COMPARABLE, Verdict.REPORTED})
"""Verdicts that rest on no trial of a cell."""

_NEWEST = """SELECT v.verdict, c.is_primary, v.design
FROM verdicts v JOIN claims c ON c.claim_id = v.claim_id AND c.suite = v.suite AND c.suite = $suite
WHERE v.scale = $scale AND v.protocol = $protocol
QUALIFY row_number() OVER (PARTITION BY v.claim_id ORDER BY v.judged_at DESC) = 1"""


@dataclass(frozen=True, slots=True)
class CellMark:
    """A verdict about an arm on a benchmark.

    Attributes:
        rivals: what it is held against.
    """

    verdict: Verdict
    rivals: tuple[str, ...]
    primary: bool

    @property
    def sign(self) -> str:
        """One character, by the verdict's tone."""
        return SIGNS[self.verdict.tone]


@dataclass(frozen=True, slots=True)
class _Judged:
    """A verdict's block: where it looks, and which trials it rests on, by arm (the first digits of their ids)."""

    benchmarks: tuple[str, ...]
    metric: str
    split: str
    arm: str
    mark: CellMark
    cells: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Marks:
    """The newest verdicts of a suite at a scale under a protocol."""

    judged: tuple[_Judged, ...]

    def of(
        self, benchmark: str, arm: str, metric: str, split: str, current: Mapping[tuple[str, str], Set[str]]
    ) -> CellMark | None:
        """The mark of a cell: of the primary claims about it, else of all, the least favourable one.

        A verdict that rests on other trials than the current ones of the arm and of its rivals gives none.
        """
        fitting = [
            judged.mark
            for judged in self.judged
            if (judged.arm, judged.metric, judged.split) == (arm, metric, split)
            and benchmark in judged.benchmarks
            and all(
                {trial[:PREFIX] for trial in current.get((benchmark, name), ())} == trials
                for name, trials in judged.cells.items()
            )
        ]
        primary = [mark for mark in fitting if mark.primary]
        return min(primary or fitting, key=lambda mark: mark.verdict.rank, default=None)


def marks_of(reader: Queries, suite: str, scale: str, protocol: str) -> Marks:
    """The newest verdicts by cell, without those that rest on no trial."""
    judged: list[_Judged] = []
    for row in reader.query(_NEWEST, {"suite": suite, "scale": scale, "protocol": protocol}).dicts():
        verdict = _verdict(row["verdict"])
        if verdict is not None:
            judged += _judged(verdict, bool(row["is_primary"]), from_json(row["design"] or {}))
    return Marks(tuple(judged))


def _verdict(word: str | None) -> Verdict | None:
    try:
        verdict = Verdict.of(word or "")
    except ValueError:  # a newer version's word
        return None
    return None if verdict in SILENT else verdict


def _judged(verdict: Verdict, primary: bool, detail: VerdictDetail) -> Iterator[_Judged]:
    """A claim's blocks; with a separate test each, the verdict of that test."""
    own = {entry.benchmark: _verdict(entry.verdict) for entry in detail.per_benchmark if entry.verdict}
    for block in detail.blocks:
        label = own.get(block.benchmark, verdict)
        if block.chain and label is not None:
            mark = CellMark(label, block.chain[1:], primary)
            trials = {arm: frozenset(block.cells.get(arm, {}).values()) for arm in block.chain}
            places = (block.benchmark, *block.shares)
            yield _Judged(places, block.metric, block.split or "test", block.chain[0], mark, trials)
