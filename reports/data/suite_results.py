"""Everything that a report needs from the store, read once."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from harness.judge.bindings import UNJUDGED
from harness.judge.rows import stored_row
from harness.plan.planning import Link, Plan
from harness.results.verdict_text import headline_lines, headline_text, place_of, sentence
from harness.store import Reader
from harness.suite import Suite
from harness.suite.cells import Setting, stand_in_names
from harness.suite.models import Metric
from harness.suite.warnings import untuned_arms
from harness.vocabulary import UNFINISHED, Protocol, Status
from reports import formatting
from reports.data import sql
from reports.data.claims import JudgedClaim, not_judged
from reports.data.sql import Answer, Row, ask, grouped
from reports.links import bench_path, suite_path

LEADING = 3
"""Claims that lead a page whose suite has no primary ones."""


@dataclass(frozen=True)
class BenchmarkResults:
    """A benchmark of a plan: the statement's body that picks its trials, and the trials.

    Attributes:
        requested: the number of configurations and seeds, which may share trials.
    """

    name: str
    title: str
    setting: Setting
    metrics: Mapping[str, Metric]
    arms: Sequence[str]
    body: str = field(repr=False)
    trials: Answer = field(repr=False)
    planned: int = 0
    requested: int = 0

    @property
    def done(self) -> int:
        """Number of requested trials with a result."""
        return sum(row["status"] == Status.DONE for row in self.trials.rows)

    @property
    def stand_in_name(self) -> str:
        """Short name of the stand-in; empty as published."""
        return self.setting.stand_in_name

    @property
    def first_metric(self) -> tuple[str, Metric]:
        """The metric of the plots that show one."""
        return next(iter(self.metrics.items()))

    @property
    def troubled(self) -> list[Row]:
        """Trials that failed, diverged or ran out of time."""
        return [row for row in self.trials.rows if row["status"] in UNFINISHED | {Status.DIVERGED}]


@dataclass(frozen=True)
class SuiteResults:
    """Everything of one suite at one scale.

    Attributes:
        answers: claims, verdicts and sides, by these names.
        measured: by trial, the runs that ran it and the first that requested it.
    """

    suite: Suite
    plan: Plan
    claims: Sequence[JudgedClaim]
    benches: Mapping[str, BenchmarkResults]
    runs: Answer
    environments: Mapping[str, Row]
    answers: Mapping[str, Answer]
    determinism: Answer
    measured: Mapping[str, frozenset[str]] = field(repr=False)
    sweeps: Sequence[Row] = ()

    @property
    def name(self) -> str:
        return self.suite.name

    @property
    def scale(self) -> str:
        return self.plan.scale

    @property
    def trail(self) -> tuple[tuple[str, str], ...]:
        """The pages above those of its benchmarks, as (path, name)."""
        return ("index.html", "Report"), (self.path, self.title)

    @property
    def title(self) -> str:
        """Its name and scale, and whether its results are imported."""
        return f"{self.name}, {self.scale}{', imported' if self.plan.imported is not None else ''}"

    @property
    def path(self) -> str:
        return suite_path(self.name, f"{self.scale}{self._apart}")

    def path_of(self, benchmark: str) -> str:
        """Path of the page of one of its benchmarks."""
        return bench_path(self.name, f"{self.scale}{self._apart}", benchmark)

    @property
    def _apart(self) -> str:
        """Pages of imported results lie beside those of trials that ran here."""
        return "" if self.plan.imported is None else "-imported-only"

    @property
    def imported(self) -> str:
        """That results come from elsewhere, from which files, and how many; empty where all ran here."""
        return imported_in_words(self.plan, {link.trial_id for link in self.plan.links})

    @property
    def untuned(self) -> list[str]:
        """Sentences on arms with untuned defaults where another arm is tuned."""
        if self.plan.imported is not None:
            return []  # the recipe is ours, and not what these results came from
        untuned = untuned_arms(self.suite, self.scale)
        return [arm.message for arm in untuned if (arm.benchmark, arm.arm) in self.plan.cells]

    @property
    def stand_in(self) -> tuple[str, ...]:
        """Parts that the scale changed in any of its benchmarks."""
        return tuple(sorted({part for setting in self.plan.settings.values() for part in setting.stand_in}))

    @property
    def judged(self) -> list[JudgedClaim]:
        """Claims that trials decided or tried to decide."""
        return [claim for claim in self.claims if claim.judged and not claim.identity]

    @property
    def checked(self) -> list[JudgedClaim]:
        """Identities of which both sides were computed."""
        return [claim for claim in self.claims if claim.judged and claim.identity]

    @property
    def words(self) -> list[tuple[str, int]]:
        """Number of judged claims by verdict, reversed first."""
        counts = Counter(formatting.base_of(claim.word) for claim in self.judged)
        return sorted(counts.items(), key=lambda item: (place_of(item[0]), item[0]))

    @property
    def headline(self) -> list[tuple[str, tuple[tuple[str, int], ...]]]:
        """The summary of its verdicts: sentences, each with its verdicts and their numbers."""
        if not self.judged and not self.checked:
            return [(f"No claim has been judged at scale {self.scale} yet.", ())]
        stand_in = bool(self.stand_in)
        counted = [claim.counted for claim in self.claims if claim.fact["kind"] not in UNJUDGED]
        lines = headline_lines(counted, stand_in=stand_in)
        texts = list(headline_text(lines, stand_in))
        counts = [()] * (len(texts) - len(lines)) + [line.verdicts for line in lines]
        return list(zip(texts, counts, strict=True))

    @property
    def leading(self) -> list[tuple[JudgedClaim, tuple[str, str]]]:
        """Every primary claim, reversed ones first, with its label and numbers; without any the first few claims."""
        ranked = sorted(self.judged, key=lambda claim: claim.rank)
        return [
            (claim, (claim.label(self.titles), self._sentence(claim))) for claim in self.primary or ranked[:LEADING]
        ]

    def _sentence(self, claim: JudgedClaim) -> str:
        tuned = "" if claim.tuned is None else formatting.shown(claim.tuned.word).text
        sharing, stand_in = self.sharing(claim), claim.stand_in_name
        return sentence(claim.verdict, claim.unit, claim.reason, sharing=sharing, tuned=tuned, stand_in=stand_in)

    @property
    def primary(self) -> list[JudgedClaim]:
        """Primary claims, the first of each test; reversed ones first."""
        tests: dict[str, JudgedClaim] = {}
        for claim in sorted(self.claims, key=lambda claim: claim.rank):
            if claim.primary and not claim.identity:
                tests.setdefault(claim.test, claim)
        return list(tests.values())

    def sharing(self, claim: JudgedClaim) -> int:
        """Number of claims decided by a claim's test."""
        return sum(other.test == claim.test for other in self.claims)

    def named(self, benchmark: str) -> str:
        """Short name of a benchmark's stand-in; empty as published."""
        return self.benches[benchmark].stand_in_name if benchmark in self.benches else ""

    def words_on(self, benchmark: str) -> Counter[str]:
        """Verdicts of the claims judged on a benchmark."""
        return Counter(claim.word for claim in self.judged if benchmark in claim.benchmarks)

    @cached_property
    def titles(self) -> dict[str, str]:
        return {name: bench.title for name, bench in self.benches.items()}

    @cached_property
    def bodies(self) -> dict[str, str]:
        """The statements' bodies that pick the benchmarks' trials, by name."""
        return {name: bench.body for name, bench in self.benches.items()}

    @cached_property
    def by_trial(self) -> dict[tuple[str, str], list[Row]]:
        """The stored rows by (benchmark, trial)."""
        return {
            (name, trial): rows
            for name, bench in self.benches.items()
            for trial, rows in grouped(bench.trials.rows, "trial_id").items()
        }

    @cached_property
    def repeated(self) -> dict[str, list[Row]]:
        """Determinism checks by trial."""
        return grouped(self.determinism.rows, "trial_id")

    def rows(self, benchmark: str | None = None) -> list[Row]:
        """The stored trials of one benchmark or of all."""
        return [row for name, bench in self.benches.items() if benchmark in (None, name) for row in bench.trials.rows]

    def absent(self, benchmark: str | None = None) -> list[Link]:
        """Planned configurations without a stored trial, of one or all benchmarks."""
        return [link for link in self._absent if benchmark in (None, link.benchmark)]

    @cached_property
    def _absent(self) -> list[Link]:
        stored = {row["trial_id"] for row in self.rows()}
        return [link for link in self.plan.links if link.trial_id not in stored]


def gather(reader: Reader, suite: Suite, plan: Plan) -> SuiteResults:
    """Read everything of a suite at a plan's scale (StoreError if the database cannot be read)."""
    name, scale = suite.name, plan.scale
    requested = {
        "claims": ask(reader, sql.claims_of(name)),
        "verdicts": ask(reader, sql.verdicts_of(name, scale)),
        "sides": ask(reader, sql.sides_of(name, scale)),
    }
    links: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    measured: dict[str, set[str]] = defaultdict(set)
    first: dict[str, str] = {}
    for row in ask(reader, sql.run_links(name, scale)).rows:  # the newest run first
        links[row["run_id"]].add((row["benchmark"], row["arm"], row["trial_id"]))
        first[row["trial_id"]] = row["run_id"]
        if not row["reused"]:
            measured[row["trial_id"]].add(row["run_id"])
    ran = sql.runs_of(name, scale, own=plan.imported is None, imports=plan.imported is not None)
    return SuiteResults(
        suite,
        plan,
        _claims(suite, plan, requested),
        {item: _bench(reader, suite, plan, item, links) for item in plan.settings},
        ask(reader, ran),
        {row["environment_id"]: row["info"] for row in ask(reader, sql.environments()).rows},
        requested,
        ask(reader, sql.determinism_of(name)),
        {trial: frozenset(measured[trial] | {run}) for trial, run in first.items()},
        () if plan.imported is not None else ask(reader, sql.sweeps_of(name, scale)).rows,
    )


def imported_in_words(plan: Plan, trial_ids: Collection[str]) -> str:
    """``imported from results.csv (sha256 0123456789ab): …; 12 of 12 trials``; empty where none of them is."""
    existing = {} if plan.imported is None else plan.imported.origins
    origins = [existing[trial] for trial in trial_ids if trial in existing]
    if not origins:
        return ""
    counted = f"{len(origins)} of {formatting.count(len(trial_ids), 'trial')}"
    return "; ".join([*sorted({str(origin) for origin in origins}), counted])


def _bench(
    reader: Reader, suite: Suite, plan: Plan, name: str, runs: Mapping[str, set[tuple[str, str, str]]]
) -> BenchmarkResults:
    model, body = suite.benchmarks[name].model, sql.planned(plan, name, runs)
    links = plan.of_benchmark(name)
    arms, planned = list(dict.fromkeys(link.arm for link in links)), len({link.trial_id for link in links})
    return BenchmarkResults(
        name,
        model.title,
        plan.settings[name],
        model.metrics,
        arms,
        body,
        ask(reader, sql.trials_of(body)),
        planned,
        len(links),
    )


def _claims(suite: Suite, plan: Plan, answers: Mapping[str, Answer]) -> list[JudgedClaim]:
    bindings = {binding.id: binding for binding in suite.model.claims}
    verdicts = {(row["claim_id"], row["protocol"]): stored_row(row) for row in answers["verdicts"].rows}
    sides = grouped(answers["sides"].rows, "claim_id", "protocol")
    protocols = [Protocol.PUBLISHED, Protocol.TUNED] if plan.imported is None else [Protocol.IMPORTED]

    def claim_of(fact: Row) -> JudgedClaim:
        first, *others = [item for item in protocols if (fact["claim_id"], item) in verdicts] or protocols[:1]
        tuned = under(fact, others[0]) if others else None
        return under(fact, first, tuned)

    def under(fact: Row, protocol: Protocol, tuned: JudgedClaim | None = None) -> JudgedClaim:
        name, binding = fact["claim_id"], bindings.get(fact["claim_id"])
        stored = verdicts.get((name, protocol))
        verdict = stored or not_judged(fact, binding, plan.scale)
        claim = JudgedClaim(fact, binding, verdict, stored is not None, sides[name, protocol], protocol, tuned)
        return replace(claim, stand_in_name=_measured_on(claim, plan))

    claims = [claim_of(fact) for fact in answers["claims"].rows]
    places = {name: place for place, name in enumerate(suite.facts)}
    return sorted(claims, key=lambda claim: (places.get(claim.claim_id, len(places)), claim.claim_id))


def _measured_on(claim: JudgedClaim, plan: Plan) -> str:
    if not claim.stand_in:
        return ""
    settings = [plan.settings[name] for name in claim.benchmarks if name in plan.settings]
    named = stand_in_names(setting.named(setting.stand_in or claim.stand_in) for setting in settings)
    return named or f"not the paper's setting: {formatting.stand_in(claim.stand_in)}"


def statuses(rows: Iterable[Row], absent: Iterable[Link]) -> list[tuple[str, int]]:
    """Counts of trials by status; those of ``absent`` cells are ``not stored``."""
    status = {row["trial_id"]: str(row["status"]) for row in rows} | {link.trial_id: "not stored" for link in absent}
    return sorted(Counter(status.values()).items())
