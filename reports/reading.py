"""What a report needs of the store, gathered once: claims with verdicts and gates, cells, provenance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.plan.planning import Plan
from harness.store import Reader
from harness.suite import Suite
from harness.suite.models import Binding
from reports import sql, words
from reports.sql import Answer, ask

Row = Mapping[str, Any]
NOT_RUN = "not run"


@dataclass(frozen=True)
class Claim:
    """A claim with what the store says of it.

    Attributes:
        fact: its row of ``claims``: as printed.
        binding: how the suite binds it, if it does.
        verdict: the latest row of ``verdicts`` at the scale.
        gates: its rows of ``gates``.
        sides: the trials it rests on, with side, benchmark, arm and seed.
    """

    claim_id: str
    scale: str
    fact: Row
    binding: Binding | None
    verdict: Row | None
    gates: Sequence[Row]
    sides: Sequence[Row] = field(repr=False)

    @property
    def word(self) -> str:
        """The verdict's word."""
        return str(self.verdict["verdict"]) if self.verdict else NOT_RUN

    @property
    def tone(self) -> words.Tone:
        """How it looks."""
        return words.tone_of(self.word)

    @property
    def judged(self) -> bool:
        """Whether trials decided anything (or tried to)."""
        return self.tone.name in words.JUDGED or (self.verdict is not None and self.verdict["n"] not in (None, 0))

    @cached_property
    def design(self) -> dict[str, Any]:
        """What was fixed before and computed beside the verdict; {} without one."""
        found = self.verdict.get("design") if self.verdict else None
        return dict(found) if isinstance(found, Mapping) else {}

    def value(self, column: str) -> Any:
        """A column of the verdict, None without one."""
        return self.verdict.get(column) if self.verdict else None

    @property
    def identity(self) -> bool:
        """Whether it is decided by a check of both sides, not by trials."""
        return self.fact.get("kind") == "identity" or self.design.get("mode") == "check"

    @property
    def stand_in(self) -> tuple[str, ...]:
        """What differed from the paper; empty at paper scale."""
        return tuple(self.value("stand_in") or ())

    @property
    def unit(self) -> str:
        """Unit of the difference."""
        unit = str(self.design.get("unit") or self.fact.get("unit") or "")
        return f"log ratio of {unit}" if self.design.get("log_ratio") else words.unit_of_difference(unit)

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """The benchmarks it is bound to, as the judge or the suite has them."""
        given = self.design.get("benchmarks") or self.design.get("benchmark") or ()
        if isinstance(given, str):
            given = (given,)
        return tuple(map(str, given)) or tuple(self.binding.benchmarks if self.binding else ())

    @property
    def arm(self) -> str:
        """The arm that the claim speaks for."""
        return str(self.design.get("arm") or (self.binding.arm if self.binding else None) or self.fact["method"] or "")

    @property
    def against(self) -> str:
        """The comparator that decides."""
        found = self.design.get("against") or (self.binding.against if self.binding else None)
        if isinstance(found, str):
            return found
        return str(found[0]) if found else str(self.fact["baseline"] or "")

    @property
    def metric(self) -> str:
        """What is compared."""
        return str(self.design.get("metric") or self.fact.get("metric") or "")

    @property
    def contrast(self) -> str:
        """The comparison in short."""
        return f"{self.arm} against {self.against}" if self.against else self.arm

    @property
    def primary(self) -> bool:
        """Whether it was marked primary before results."""
        return self.design.get("family") == "primary" or bool(self.fact.get("is_primary"))

    @property
    def reason(self) -> str:
        """Why it was not run or not decided."""
        given = self.design.get("reason") or self.fact.get("unbound") or (self.binding and self.binding.unbound)
        return str(given or "")

    @property
    def published(self) -> float | None:
        """The published difference in the claim's direction (up = as claimed); None for another metric than its."""
        if "delta" in self.design:
            return words.finite(self.design["delta"])
        raw = next(
            (found for key in _PUBLISHED[self.fact.get("setting") == "mixed"] if (found := self.fact.get(key))), None
        )
        return None if raw is None else float(raw) * self.direction

    @property
    def printed(self) -> float | None:
        """The difference as the paper has it, with the paper's sign."""
        keys = _PUBLISHED[self.fact.get("setting") == "mixed"]
        return next((float(found) for key in keys if (found := self.fact.get(key)) is not None), None)

    @property
    def direction(self) -> int:
        """+1 where the claim says that the method's number is higher."""
        given = self.design.get("direction")
        if given in (1, -1):
            return int(given)
        raw = next((v for key in _PUBLISHED[self.fact.get("setting") == "mixed"] if (v := self.fact.get(key))), None)
        if raw:
            return 1 if raw > 0 else -1
        return -1 if self.fact.get("better") == "lower" else 1

    @property
    def standardised(self) -> tuple[float, float | None, float | None] | None:
        """d_z with the interval's ends on its scale: both are divided by the sd that d_z used."""
        effect, difference = words.finite(self.design.get("d_z")), words.finite(self.value("difference"))
        if effect is None:
            return None
        low, high = words.finite(self.value("ci_low")), words.finite(self.value("ci_high"))
        if not difference or not effect:
            return effect, None, None
        per = effect / difference
        return effect, None if low is None else low * per, None if high is None else high * per

    @property
    def gate(self) -> str:
        """``acted``, ``did not act``, or '' where the claim has no gate."""
        return "" if not self.gates else "acted" if all(gate["passed"] for gate in self.gates) else "did not act"


_PUBLISHED = {False: ("published_difference", "computed_difference"), True: ("gain_difference",)}


@dataclass(frozen=True)
class Cell:
    """The trials of one arm on one benchmark."""

    benchmark: str
    arm: str
    planned: int
    counts: Mapping[str, int]

    @property
    def done(self) -> int:
        """Trials with a result."""
        return self.counts.get("done", 0)


@dataclass(frozen=True)
class Bench:
    """A benchmark of a plan: the statement's body that picks its trials, and the trials."""

    name: str
    title: str
    body: str = field(repr=False)
    trials: Answer = field(repr=False)
    planned: int = 0

    @property
    def troubled(self) -> list[Row]:
        """Trials that failed, diverged or ran out of time."""
        return [row for row in self.trials.rows if row["status"] in ("failed", "diverged", "timeout", "cancelled")]


@dataclass(frozen=True)
class Gathered:
    """Everything of one suite at one scale."""

    suite: Suite
    plan: Plan
    claims: Sequence[Claim]
    benches: Mapping[str, Bench]
    runs: Answer
    environments: Mapping[str, Row]
    asked: Mapping[str, Answer]
    determinism: Answer
    links: Mapping[str, frozenset[str]] = field(repr=False)
    sweeps: Sequence[Row] = ()

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.suite.name

    @property
    def scale(self) -> str:
        """The plan's scale."""
        return self.plan.scale

    @property
    def stand_in(self) -> tuple[str, ...]:
        """What the scale changed in any of its benchmarks."""
        return tuple(sorted({part for setting in self.plan.settings.values() for part in setting.stand_in}))

    @property
    def judged(self) -> list[Claim]:
        """Claims that trials decided or tried to decide."""
        return [claim for claim in self.claims if claim.judged and not claim.identity]

    @property
    def checked(self) -> list[Claim]:
        """Identities of which both sides were computed."""
        return [claim for claim in self.claims if claim.judged and claim.identity]

    @property
    def verdicts(self) -> list[tuple[str, int]]:
        """Counts by verdict, in the order of the glossary."""
        counts = Counter(words.base_of(claim.word) for claim in self.claims)
        return sorted(counts.items(), key=lambda item: (words.tone_of(item[0]).order, item[0]))

    @property
    def cells(self) -> list[Cell]:
        """Trials by benchmark and arm, in the plan's order."""
        asked = Counter((link.benchmark, link.arm) for link in self.plan.links)
        found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for bench in self.benches.values():
            for row in bench.trials.rows:
                found[bench.name, row["arm"]][row["status"]] += 1
        return [Cell(*cell, asked[cell], found[cell]) for cell in self.plan.cells]

    @property
    def statuses(self) -> Counter[str]:
        """Trials by status; planned ones that the store does not have are ``not stored``."""
        status: dict[str, str] = {}
        for bench in self.benches.values():
            status.update({row["trial_id"]: row["status"] for row in bench.trials.rows})
        counts = Counter(status.values())
        absent = self.absent_from(None)
        if absent:
            counts["not stored"] = absent
        return counts

    def absent_from(self, benchmark: str | None) -> int:
        """Planned trials, of one benchmark or of all, that the store does not have."""
        stored = {row["trial_id"] for bench in self.benches.values() for row in bench.trials.rows}
        return len({link.trial_id for link in self.plan.links if benchmark in (None, link.benchmark)} - stored)

    def runs_of(self, trial: str) -> list[Row]:
        """The runs that asked for a trial, the newest first."""
        return [run for run in self.runs.rows if trial in self.links.get(run["run_id"], ())]


def gather(reader: Reader, suite: Suite, plan: Plan) -> Gathered:
    """Read everything of a suite at a plan's scale.

    Raises:
        StoreError: the database cannot be read.
    """
    name, scale = suite.name, plan.scale
    asked = {
        "claims": ask(reader, sql.claims_of(name)),
        "verdicts": ask(reader, sql.verdicts_of(name, scale)),
        "gates": ask(reader, sql.gates_of(name, scale)),
        "sides": ask(reader, sql.sides_of(name, scale)),
    }
    links: dict[str, set[tuple[str, str, str]]] = {}
    for row in ask(reader, sql.run_links(name, scale)).rows:
        links.setdefault(row["run_id"], set()).add((row["benchmark"], row["arm"], row["trial_id"]))
    runs = {run: frozenset(found) for run, found in links.items()}
    asked_for = {run: frozenset(trial for _, _, trial in found) for run, found in links.items()}
    environments = {row["environment_id"]: row["info"] for row in ask(reader, sql.environments()).rows}
    benches = {one: _bench(reader, suite, plan, one, runs) for one in plan.settings}
    return Gathered(suite, plan, _claims(suite, scale, asked), benches, ask(reader, sql.runs_of(suite.name, scale)),
                    environments, asked, ask(reader, sql.determinism_of(suite.name)), asked_for,
                    ask(reader, sql.sweeps_of(suite.name, scale)).rows)  # fmt: skip


def _bench(reader: Reader, suite: Suite, plan: Plan, name: str, runs: Mapping[str, frozenset[Any]]) -> Bench:
    body = sql.planned(plan, name, runs)
    planned = len({link.trial_id for link in plan.links if link.benchmark == name})
    return Bench(name, suite.benchmarks[name].model.title, body, ask(reader, sql.trials_of(body)), planned)


def _claims(suite: Suite, scale: str, asked: Mapping[str, Answer]) -> list[Claim]:
    bindings = {binding.id: binding for binding in suite.model.claims}
    verdicts = {row["claim_id"]: row for row in asked["verdicts"].rows}
    gates: dict[str, list[Row]] = defaultdict(list)
    for row in asked["gates"].rows:
        gates[row["claim_id"]].append(row)
    sides: dict[str, list[Row]] = defaultdict(list)
    for row in asked["sides"].rows:
        sides[row["claim_id"]].append(row)
    claims = [
        Claim(row["claim_id"], scale, row, bindings.get(row["claim_id"]), verdicts.get(row["claim_id"]),
              gates[row["claim_id"]], sides[row["claim_id"]])
        for row in asked["claims"].rows
    ]  # fmt: skip
    places = {name: place for place, name in enumerate(suite.facts)}
    return sorted(claims, key=lambda claim: (places.get(claim.claim_id, len(places)), claim.claim_id))
