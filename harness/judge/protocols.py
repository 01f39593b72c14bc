"""Published and tuned verdicts, and the learning-rate sensitivity, from stored trials."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from harness.base.text import number
from harness.judge.bindings import claim_designs
from harness.judge.design import PREFIX, ClaimDesign
from harness.judge.detail import HyperParameter, RateEntry, TunedSearch, finite
from harness.judge.evidence import Evidence, failures, read_evidence
from harness.judge.judging import Judgement, examine_claim, judge, moment_after
from harness.judge.rows import VerdictRow
from harness.judge.units import Unit
from harness.plan.planning import Plan, Selection
from harness.plan.protocols import (
    MOST_EXTENSIONS,
    EqualSearch,
    RatePlan,
    extended,
    rate_plans,
    searches,
    tuned_plan,
    tuned_section,
    tuned_suite,
)
from harness.plan.tuning import Point, Tuning, chosen_point
from harness.store.log_lines import restored
from harness.store.queries import Queries
from harness.suite import Suite
from harness.suite.search_models import FEWEST_SEARCHES, SpaceRange
from harness.suite.spaces import Space, ends
from harness.trial.options import Values
from harness.vocabulary import Verdict


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Stored results of a search: finished configurations by arm and the choice of each.

    ``parts`` are the search and the extensions of its grid so far; ``spaces`` is what they try together.
    """

    search: EqualSearch
    parts: tuple[EqualSearch, ...]
    counts: Mapping[str, int]
    chosen: Mapping[str, Values]
    spaces: Mapping[str, Space]

    @property
    def budget(self) -> int:
        """Configurations of each arm."""
        return sum(part.budget for part in self.parts)

    @property
    def equal(self) -> bool:
        """True if every arm has its whole budget and chose."""
        return all(count == self.budget for count in self.counts.values()) and all(self.chosen.values())

    @property
    def params(self) -> dict[str, Mapping[str, HyperParameter]]:
        return {arm: best["params"] for arm, best in self.chosen.items() if best}

    @property
    def ends(self) -> dict[str, dict[str, str]]:
        """By arm, the chosen values at an end of the grid."""
        result = {arm: ends(self.spaces[arm], params) for arm, params in self.params.items()}
        return {arm: keys for arm, keys in result.items() if keys}

    @property
    def lack(self) -> tuple[Verdict, str]:
        """The verdict without a comparison, and its reason."""
        where, budget, number = self.search.benchmark, self.budget, self.search.tuning.number
        if any(count < budget for count in self.counts.values()):
            message = ", ".join(f"{arm} {count} of {budget}" for arm, count in self.counts.items())
            which = f"search {number + 1}, configurations: {message}"
            return Verdict.NOT_RUN, f"not tuned on {where} yet ({which}); 'harness run' does it"
        failed = ", ".join(arm for arm, best in self.chosen.items() if not best)
        return Verdict.INVALID, f"no configuration of {failed} on {where} ended with a score"


def judge_protocols(
    suite: Suite,
    plan: Plan,
    reader: Queries,
    selection: Selection,
    *,
    judged_at: datetime | None = None,
    sequential: bool = False,
    compute_checks: bool = True,
) -> Judgement:
    """As :func:`judge`, then tuned verdicts; the plan was made from ``selection``."""
    judged_at = judged_at or moment_after(reader, suite.name)
    published = judge(suite, plan, reader, judged_at=judged_at, sequential=sequential, compute_checks=compute_checks)
    curves = rate_curves(suite, plan, reader)
    verdicts = [
        replace(row, detail=replace(row.detail, rate_curve=curves[row.claim_id])) if row.claim_id in curves else row
        for row in published.verdicts
    ]
    tuned = _judge_tuned(suite, plan, reader, selection, judged_at)
    return Judgement((*verdicts, *tuned.verdicts), (*published.trials, *tuned.trials), (*published.gates, *tuned.gates))


def told_points(tuning: Tuning, reader: Queries) -> dict[str, list[Point]]:
    """The finished configurations of a search by arm, in order."""
    points: dict[str, list[Point]] = {arm: [] for arm in tuning.arms}
    sql = "SELECT * FROM sweep_points WHERE sweep_id = ? ORDER BY arm, number"
    for row in reader.query(sql, [tuning.sweep_id]).dicts():
        if row["arm"] in points and row["status"] != "failed":
            value = (restored(row["params"]), row["value"], row["status"], list(row["trial_ids"] or []))
            points[row["arm"]].append(Point(row["number"], *value))
    return points


def validation_scores(tuning: Tuning, reader: Queries, trial_ids: Sequence[str]) -> dict[str, float]:
    """The tuned metric on validation of stored trials."""
    wanted = ("validation", tuning.selection_metric)
    rows = reader.results(trial_ids).rows if trial_ids else []
    return {trial: value for trial, split, metric, value in rows if (split, metric) == wanted}


Source = Callable[[EqualSearch], tuple[Mapping[str, Sequence[Point]], Mapping[str, float]]]
"""Finished configurations by arm, and validation scores by trial."""


def search_results(suite: Suite, plan: Plan, reader: Queries) -> list[SearchResult]:
    """Stored results of the searches that a plan's tuned claims need."""

    def stored(part: EqualSearch) -> tuple[Mapping[str, Sequence[Point]], Mapping[str, float]]:
        points = told_points(part.tuning, reader)
        trials = [trial for each in points.values() for point in each for trial in point.trial_ids]
        return points, validation_scores(part.tuning, reader, trials)

    return [search_result(search, stored) for search in searches(suite, plan)]


def search_result(search: EqualSearch, source: Source) -> SearchResult:
    """The result of a search and of its complete extensions."""
    result = _chosen((search,), search.tuning.spaces, source)
    while result.equal and len(result.parts) <= MOST_EXTENSIONS:
        more = extended(search, result.spaces, result.params)
        if more is None:
            break
        spaces = {arm: _widened(space, more.tuning.spaces[arm]) for arm, space in result.spaces.items()}
        result = _chosen((*result.parts, more), spaces, source)
    return result


def _widened(space: Space, layer: Space) -> Space:
    choices = {key: [*(each.choices or ()), *(layer[key].choices or ())] for key, each in space.items()}
    return {key: SpaceRange(choices=list(dict.fromkeys(values))) for key, values in choices.items()}


def _chosen(parts: tuple[EqualSearch, ...], spaces: Mapping[str, Space], source: Source) -> SearchResult:
    search, before = parts[0], 0
    points: dict[str, list[Point]] = {arm: [] for arm in search.tuning.arms}
    scores: dict[str, float] = {}
    for part in parts:
        by_arm, by_trial = source(part)
        scores |= by_trial
        for arm, each in by_arm.items():
            kept = [point for point in each if point.number < part.budget]
            points[arm] += [replace(point, number=before + point.number) for point in kept]
        before += part.budget
    tuning = search.tuning
    chosen = {arm: chosen_point(tuning, each, scores, tuning.first.get(arm)) for arm, each in points.items()}
    return SearchResult(search, parts, {arm: len(each) for arm, each in points.items()}, chosen, spaces)


def _judge_tuned(suite: Suite, plan: Plan, reader: Queries, selection: Selection, judged_at: datetime) -> Judgement:
    """The tuned claims as a separate family; not run until all arms are tuned."""
    tuned, results = tuned_section(suite, plan.scale), search_results(suite, plan, reader)
    if tuned is None or not any(count for result in results for count in result.counts.values()):
        return Judgement((), (), ())
    untuned: dict[str, SearchResult] = {}
    for result in results:
        if not result.equal:
            untuned.setdefault(result.search.benchmark, result)
    whole = [(result.search, result.params) for result in results if result.search.benchmark not in untuned]
    changed = tuned_plan(suite, plan, whole)
    derived, judged = tuned_suite(suite), changed.judged
    # the arms as they are would be judged in the place of those that have not chosen
    lacking = {(name, arm) for name, result in untuned.items() for arm in result.search.tuning.arms}
    judged = replace(judged, links=tuple(link for link in judged.links if (link.benchmark, link.arm) not in lacking))
    # the number of searches is fixed beforehand: added seeds are not added searches
    sequential = selection.cap is not None and not tuned.decides
    judgement = judge(derived, judged, reader, judged_at=judged_at, sequential=sequential, compute_checks=False)
    evidence = read_evidence(reader, [link.trial_id for each in (plan, judged) for link in each.links])
    rows = [_with_losses(_with_choices(row, results, untuned), plan, judged, evidence) for row in judgement.verdicts]
    return replace(judgement, verdicts=tuple(rows if tuned.decides else map(conditional, rows)))


def conditional(row: VerdictRow) -> VerdictRow:
    """The row of a test on one choice of hyper-parameters: shown, without a verdict, and no interim analysis."""
    if row.p is None:
        return row
    reason = f"conditional on these hyper-parameters: a verdict needs {FEWEST_SEARCHES} searches or more"
    word = Verdict.CONDITIONAL.value
    entries = tuple(
        entry if entry.verdict is None else replace(entry, verdict=word) for entry in row.detail.per_benchmark
    )
    detail = replace(row.detail, reason=reason, per_benchmark=entries, test=None, look=None, look_sizes=())
    return replace(row, verdict=word, p=None, adjusted_p=None, e_value=None, detail=detail)


def _with_losses(row: VerdictRow, plan: Plan, judged: Plan, evidence: Evidence) -> VerdictRow:
    """Report arms that score worse than with the recipe's values."""
    texts = []
    for block in row.detail.blocks:
        for arm in block.chain:
            scores = []
            for each in (judged, plan):
                stored = {seed: evidence.get(trial) for seed, trial in each.trial_ids(block.benchmark, arm).items()}
                values = {seed: t.value(block.metric, block.split) for seed, t in stored.items() if t is not None}
                scores.append({seed: value for seed, value in values.items() if value is not None})
            seeds = scores[0].keys() & scores[1].keys()
            tuned, own = (statistics.fmean(each[seed] for seed in seeds) if seeds else 0.0 for each in scores)
            if tuned < own if block.better == "higher" else tuned > own:
                where = f"{arm} on {block.benchmark}: {block.metric} {number(tuned)} tuned"
                texts.append(f"{where}, {number(own)} with the recipe's values; its search made it worse")
    return replace(row, detail=replace(row.detail, warnings=(*row.detail.warnings, *texts)))


def _with_choices(row: VerdictRow, results: Sequence[SearchResult], untuned: Mapping[str, SearchResult]) -> VerdictRow:
    on = set(row.detail.question.benchmarks)
    tuning: dict[str, tuple[TunedSearch, ...]] = {}
    for result in results:
        if (where := result.search.benchmark) in on:
            search = TunedSearch(
                sweep_id=result.search.tuning.sweep_id,
                budget=result.budget,
                seeds=result.search.tuning.seeds,
                told=result.counts,
                chosen=result.params,
                ends=result.ends,
            )
            tuning[where] = (*tuning.get(where, ()), search)
    row = replace(row, detail=replace(row.detail, tuning=tuning))
    first = next((untuned[name] for name in sorted(on & untuned.keys())), None)
    if row.verdict == Verdict.NOT_RUN and first is not None:
        verdict, reason = first.lack
        return replace(row, verdict=verdict, detail=replace(row.detail, reason=reason))
    return row


def rate_curves(suite: Suite, plan: Plan, reader: Queries) -> dict[str, tuple[RateEntry, ...]]:
    """The learning-rate sensitivity of each tuned claim; by ascending factor, without mechanism checks."""
    plans = sorted(rate_plans(suite, plan), key=lambda each: each.factor)
    derived = tuned_suite(suite)
    designs = {each.factor: _exploratory(derived, each.plan.judged) for each in plans}
    wanted = {trial for every in designs.values() for design in every for trial in design.trial_ids()}
    evidence = read_evidence(reader, wanted) if wanted else {}
    curves: dict[str, list[RateEntry]] = {}
    for each in plans:
        for design in designs[each.factor]:
            curves.setdefault(design.claim_id, []).append(_rate_entry(design, each, evidence))
    # the recipe's own rate needs no trial of the curve's: it alone makes no curve
    return {name: tuple(entries) for name, entries in curves.items() if sum(entry.measured for entry in entries) > 1}


def _exploratory(suite: Suite, plan: Plan) -> list[ClaimDesign]:
    """Designs without mechanism checks, in which a pair is a seed."""
    return [
        replace(design, gates=(), pairing=replace(design.pairing, seeds_of_search=None))
        for design in claim_designs(suite, plan, sequential=False)
        if design.blocks
    ]


def _rate_entry(design: ClaimDesign, at: RatePlan, evidence: Evidence) -> RateEntry:
    units = examine_claim(design, evidence).units
    weakest: Unit | None = min(units, key=_lower_end, default=None)
    reading = None if weakest is None else weakest.reading
    stopped = next((unit.stopped for unit in units if unit.stopped is not None), None)
    _, diverged = failures(evidence.get(trial) for trial in sorted(design.trial_ids()))
    alpha = design.rules.alpha
    names = [block.benchmark for block in design.blocks]
    cells = {block.benchmark: {arm: block.cells.get(arm, {}) for arm in block.chain} for block in design.blocks}
    return RateEntry(
        factor=at.factor,
        rates={name: at.rates.get(name, {}) for name in names},
        n=0 if reading is None else reading.n,
        difference=None if reading is None else finite(reading.estimate),
        low=None if reading is None else finite(reading.low),
        high=None if reading is None else finite(reading.high),
        holds=bool(units)
        and stopped is None
        and all(unit.reading is not None and unit.reading.above and unit.reading.p <= alpha for unit in units),
        reason=None if stopped is None else stopped.reason,
        measured=reading is not None or diverged > 0,
        diverged=diverged,
        trials={
            name: {arm: {seed: trial[:PREFIX] for seed, trial in cell.items()} for arm, cell in arms.items()}
            for name, arms in cells.items()
        },
    )


def _lower_end(unit: Unit) -> float:
    return -float("inf") if unit.reading is None else unit.reading.low
