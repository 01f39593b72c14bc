"""The SQL of the reports: whole statements with their values written in, so that what is shown is what was asked.

A statement shown beside a number is pasted into ``harness query`` as it stands; nothing is bound from outside.
"""

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from harness.plan.imported import ENVIRONMENT
from harness.plan.planning import Plan
from harness.store import Reader

Row = Mapping[str, Any]
"""A row of the store by its columns' names."""
CURVE_POINTS = 400
"""Points a curve keeps at most."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A statement and the rows it gave."""

    sql: str
    rows: Sequence[Row] = field(repr=False)


def ask(reader: Reader, sql: str) -> Answer:
    """Ask the store (StoreError if the statement fails); the statement is kept for the page."""
    return Answer(sql, reader.query(sql).dicts())


def grouped(rows: Iterable[Row], *columns: str) -> dict[Any, list[Row]]:
    """Rows by the value of a column, or by tuples of values."""
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[itemgetter(*columns)(row)].append(row)
    return groups


def literal(value: str | int | float | None) -> str:
    """A value as SQL text."""
    if value is None:
        return "NULL"
    if isinstance(value, (int, float)):
        return str(value)
    return "'" + value.replace("'", "''") + "'"


def command(sql: str) -> str:
    """The shell command that repeats a statement."""
    text = sql.strip()
    return f"harness query {shlex.quote(text)}" if re.search(r'["$`\\!]', text) else f'harness query "{text}"'


def planned(plan: Plan, benchmark: str, runs: Mapping[str, Set[tuple[str, str, str]]]) -> str:
    """Body of a table expression of a benchmark's trials: ``trial_id, arm``.

    If stored runs requested exactly these (benchmark, arm, trial_id), the first such run replaces the list.
    """
    wanted = frozenset((link.benchmark, link.arm, link.trial_id) for link in plan.of_benchmark(benchmark))
    arms = {arm for _, arm, _ in wanted}
    for run, requested in reversed(list(runs.items())):
        here = [item for item in requested if item[0] == benchmark]
        if frozenset(item for item in here if item[1] in arms) == wanted:
            # a run also asks for arms that are tuned, at other rates
            listed = ", ".join(literal(arm) for arm in sorted(arms))
            only = f"\n  AND arm IN ({listed})" if any(arm not in arms for _, arm, _ in here) else ""
            return (
                f"SELECT trial_id, arm FROM run_trials\n"
                f"  WHERE run_id = {literal(run)} AND benchmark = {literal(benchmark)}{only}"
            )
    if not wanted:
        return "SELECT '' AS trial_id, '' AS arm WHERE false"
    rows = ",\n    ".join(f"({literal(trial)}, {literal(arm)})" for _, arm, trial in sorted(wanted))
    return f"SELECT * FROM (VALUES\n    {rows}) AS listed(trial_id, arm)"


def together(bodies: Mapping[str, str]) -> str:
    """The trials of several benchmarks, with ``benchmark`` beside ``trial_id, arm``."""
    parts = [f"SELECT {literal(name)} AS benchmark, * FROM ({body})" for name, body in bodies.items()]
    return "\nUNION ALL ".join(parts) or "SELECT '' AS benchmark, '' AS trial_id, '' AS arm WHERE false"


def runs_of(suite: str, scale: str, *, own: bool = True, imports: bool = False) -> str:
    """Runs of a suite at a scale, the newest first: those that ran here, imports, or both."""
    which = {(True, False): "IS DISTINCT FROM", (False, True): "IS NOT DISTINCT FROM"}.get((own, imports))
    only = f"\n  AND environment_id {which} {literal(ENVIRONMENT)}" if which else ""
    return f"""SELECT run_id, started_at, finished_at, status, git_commit, git_dirty, command, environment_id
FROM runs WHERE suite = {literal(suite)} AND scale = {literal(scale)}{only}
ORDER BY started_at DESC, run_id"""


def run_links(suite: str, scale: str) -> str:
    """Trials requested by the runs of a suite at a scale."""
    return f"""SELECT run_id, benchmark, arm, trial_id, reused
FROM run_trials JOIN (SELECT run_id, started_at FROM runs
  WHERE suite = {literal(suite)} AND scale = {literal(scale)}) USING (run_id)
ORDER BY started_at DESC, run_id"""


def claims_of(suite: str) -> str:
    """The claims of a suite as its paper prints them."""
    return f"SELECT * FROM claims WHERE suite = {literal(suite)} ORDER BY claim_id"


def verdicts_of(suite: str, scale: str) -> str:
    """The latest verdict of each claim of a suite, under each protocol."""
    return f"""SELECT v.* FROM verdicts v
JOIN claims c ON c.claim_id = v.claim_id AND c.suite = v.suite
WHERE v.suite = {literal(suite)} AND v.scale = {literal(scale)}
QUALIFY row_number() OVER (PARTITION BY v.claim_id, v.protocol ORDER BY v.judged_at DESC) = 1
ORDER BY v.claim_id, v.protocol"""


def _of_claim(claim: str, scale: str, protocol: str, suite: str) -> str:
    of = f" AND suite = {literal(suite)}" if suite else ""
    return f"claim_id = {literal(claim)} AND scale = {literal(scale)} AND protocol = {literal(protocol)}{of}"


def verdict(claim: str, scale: str, protocol: str, suite: str = "") -> str:
    """The latest verdict of one claim under a protocol."""
    return f"""SELECT verdict, n, difference, ci_low, ci_high, p, adjusted_p, e_value, design
FROM verdicts WHERE {_of_claim(claim, scale, protocol, suite)}
ORDER BY judged_at DESC LIMIT 1"""


def rate_curve(claim: str, scale: str, protocol: str, suite: str = "") -> str:
    """Learning-rate sensitivity of a claim, from its latest verdict."""
    return f"""SELECT e->>'$.factor' AS factor, e->'$.rates' AS rates, e->>'$.n' AS n, e->>'$.difference' AS difference,
  e->>'$.low' AS low, e->>'$.high' AS high, e->>'$.diverged' AS diverged,
  e->>'$.holds' AS holds
FROM (SELECT unnest(arg_max(design->'$.rate_curve', judged_at)::JSON[]) AS e
  FROM verdicts WHERE {_of_claim(claim, scale, protocol, suite)})"""


def verdict_trials(claim: str, scale: str, protocol: str, suite: str, judged_at: str) -> str:
    """The numbers one verdict rests on, trial by trial."""
    return f"""SELECT s.side, t.benchmark, t.arm, t.seed, r.split, r.metric, r.value, t.status, t.trial_id
FROM (FROM verdict_trials WHERE {_of_claim(claim, scale, protocol, suite)}
    AND judged_at = {literal(judged_at)}) s
  JOIN trials t USING (trial_id) LEFT JOIN results r USING (trial_id)
WHERE r.metric IS NULL OR r.split = 'test' OR starts_with(r.metric, 'mechanism.')
ORDER BY r.metric, t.benchmark, t.seed, s.side, t.arm, r.split, t.trial_id"""


def sides_of(suite: str, scale: str) -> str:
    """The trials each verdict rests on, under each protocol."""
    return f"""SELECT s.claim_id, s.protocol, s.judged_at, s.side, t.benchmark, t.arm, t.seed, t.trial_id, t.status
FROM verdict_trials s JOIN trials t USING (trial_id)
JOIN claims c ON c.claim_id = s.claim_id AND c.suite = s.suite
WHERE s.suite = {literal(suite)} AND s.scale = {literal(scale)}
QUALIFY s.judged_at = max(s.judged_at) OVER (PARTITION BY s.claim_id, s.protocol)
ORDER BY s.claim_id, s.protocol, t.benchmark, t.seed, s.side, t.arm, t.trial_id"""


def trials_of(body: str) -> str:
    """Every stored trial of a benchmark."""
    return f"""WITH planned AS ({body})
SELECT p.arm, t.seed, t.status, t.attempts, t.wall_seconds, t.peak_memory_mb, t.device, t.error,
  t.environment_id, t.stand_in, t.started_at, t.trial_id, a.adopted_from, a.fingerprint AS measured_by, a.sample,
  a.verified_at
FROM planned p JOIN trials t USING (trial_id) LEFT JOIN adoptions a USING (trial_id)
ORDER BY p.arm, t.seed, t.trial_id"""


def results_of(body: str, metric: str | None = None, split: str | None = None) -> str:
    """Final numbers of a benchmark: of one metric, or all."""
    where = [f"r.metric = {literal(metric)}"] if metric is not None else []
    where += [f"r.split = {literal(split)}"] if split is not None else []
    condition = f"\nWHERE {' AND '.join(where)}" if where else ""
    return f"""WITH planned AS ({body})
SELECT p.arm, t.seed, r.split, r.metric, r.value, t.trial_id
FROM planned p JOIN trials t USING (trial_id) JOIN results r USING (trial_id){condition}
ORDER BY r.metric, r.split, p.arm, t.seed"""


def curves_of(body: str, split: str | None = None, name: str | None = None, keys: str = "arm") -> str:
    """Series of trials: mean and range over seeds by ``keys``, in at most ``CURVE_POINTS`` bins of steps.

    In a series too long to be drawn as it is, a trial is averaged within a bin first, so that the range is over
    seeds, not over steps.
    """
    where = [f"m.name = {literal(name)}"] if name is not None else []
    where += [f"m.split = {literal(split)}"] if split is not None else []
    more = "".join(f" AND {item}" for item in where)
    named = f"{keys}, split, name"
    columns = f"{named}, avg(step) AS step, avg(value) AS mean, min(value) AS low, max(value) AS high"
    return f"""WITH planned AS ({body}),
picked AS (SELECT p.*, m.split, m.name, m.step, m.value FROM metrics m JOIN planned p USING (trial_id)
  WHERE isfinite(m.value){more}),
sized AS (SELECT split, name, max(last) AS last, max(steps) AS steps
  FROM (SELECT split, name, max(step) AS last, count(*) AS steps FROM picked GROUP BY trial_id, {named}) GROUP BY ALL),
short AS (SELECT {columns}, count(*) AS trials
  FROM picked SEMI JOIN (FROM sized WHERE steps <= {CURVE_POINTS}) s USING (split, name) GROUP BY {named}, step),
binned AS (SELECT trial_id, {named}, step * {CURVE_POINTS} // (last + 1) AS bin, avg(step) AS step, avg(value) AS value
  FROM picked JOIN (FROM sized WHERE steps > {CURVE_POINTS}) s USING (split, name) GROUP BY trial_id, {named}, bin),
long AS (SELECT {columns}, count(*) AS trials FROM binned GROUP BY {named}, bin)
FROM short UNION ALL FROM long ORDER BY {named}, step"""


def pairs_of(body: str, metric: str, split: str, arm: str, against: str, sign: int = 1) -> str:
    """Differences of two arms by seed, only within one environment class."""
    difference = "a.value - b.value" if sign > 0 else "b.value - a.value"
    return f"""WITH planned AS ({body}),
scored AS (SELECT p.arm, t.seed, r.value, coalesce(e.info->>'class', t.environment_id) AS class
  FROM planned p JOIN trials t USING (trial_id) JOIN results r USING (trial_id)
  LEFT JOIN environments e USING (environment_id)
  WHERE t.status = 'done' AND r.metric = {literal(metric)} AND r.split = {literal(split)})
SELECT seed, a.value AS arm_value, b.value AS against_value, {difference} AS difference
FROM scored a JOIN scored b USING (seed)
WHERE a.arm = {literal(arm)} AND b.arm = {literal(against)} AND a.class IS NOT DISTINCT FROM b.class
ORDER BY seed"""


def environments() -> str:
    """Versions and hardware."""
    return "SELECT environment_id, info FROM environments ORDER BY environment_id"


def determinism_of(suite: str) -> str:
    """Repetitions of a suite's trials by ``harness verify``."""
    return f"""SELECT e."at", e.detail->>'trial_id' AS trial_id, e.detail->>'label' AS label,
  (e.detail->>'equal')::BOOLEAN AS equal, (e.detail->>'numbers')::INTEGER AS numbers,
  e.detail->>'status' AS status, (e.detail->'differing')::VARCHAR[] AS differing
FROM events e WHERE e.kind = 'determinism' AND e.detail->>'trial_id' IN (
  SELECT trial_id FROM run_trials JOIN runs USING (run_id) WHERE suite = {literal(suite)})
ORDER BY e."at", trial_id"""


def metrics_of(body: str, names: Iterable[str]) -> str:
    """Final numbers of some metrics, of one or several benchmarks."""
    return f"""WITH planned AS ({body})
SELECT p.*, t.seed, r.split, r.metric, r.value
FROM planned p JOIN trials t USING (trial_id) JOIN results r USING (trial_id)
WHERE r.metric IN ({", ".join(map(literal, names))}) AND t.status = 'done' ORDER BY ALL"""


def best_of(body: str, name: str, sign: int) -> str:
    """Best validation value so far and its time, mean over seeds."""
    best = "max" if sign > 0 else "min"
    return f"""WITH planned AS ({body}),
sofar AS (SELECT p.arm, m.trial_id, m.step, m.elapsed_seconds,
    {best}(m.value) OVER (PARTITION BY m.trial_id ORDER BY m.step) AS best
  FROM metrics m JOIN planned p USING (trial_id)
  WHERE m.split = 'validation' AND m.name = {literal(name)} AND isfinite(m.value))
SELECT arm, step, avg(elapsed_seconds) AS seconds, avg(best) AS mean, min(best) AS low, max(best) AS high,
  count(*) AS trials
FROM sofar GROUP BY arm, step ORDER BY arm, step"""


def added_seeds_of(suite: str, scale: str) -> str:
    """Seeds added by sequential runs, with reasons."""
    return f"""SELECT e."at", e.detail->>'claim_id' AS claim, e.detail->>'benchmark' AS benchmark,
  (e.detail->'arms')::VARCHAR[] AS arms, (e.detail->>'seed')::INTEGER AS seed, e.detail->>'reason' AS reason
FROM events e JOIN runs r USING (run_id)
WHERE r.suite = {literal(suite)} AND r.scale = {literal(scale)} AND e.kind = 'seed-bought'
ORDER BY e."at", benchmark, seed"""


def costs_of(body: str, keys: str = "arm") -> str:
    """Cost of arms, from runs of one trial at a time only (``--exclusive``); joules where the device counts them."""
    picked = ", ".join(f"p.{key.strip()}" for key in keys.split(","))
    return f"""WITH planned AS ({body}),
alone AS (SELECT DISTINCT run_id, trial_id FROM run_trials JOIN runs USING (run_id)
  WHERE contains(command, '--exclusive') AND NOT reused),
counted AS (SELECT e.detail->>'trial_id' AS trial_id,
    avg((e.detail->'joules'->>'cpu')::DOUBLE) AS cpu, avg((e.detail->'joules'->>'gpu')::DOUBLE) AS gpu
  FROM events e JOIN alone a ON a.run_id = e.run_id AND a.trial_id = e.detail->>'trial_id'
  WHERE e.kind = 'energy' GROUP BY 1),
timed AS (SELECT trial_id, max(step) AS steps, max(elapsed_seconds) AS seconds
  FROM metrics SEMI JOIN alone USING (trial_id) WHERE split = 'train' AND name = 'loss' GROUP BY trial_id)
SELECT {picked}, count(DISTINCT trial_id) AS trials, median(1000 * s.seconds / s.steps) AS step_ms,
  median(t.wall_seconds) AS wall_seconds, max(t.peak_memory_mb) AS peak_memory_mb,
  median(coalesce(c.gpu, 0) + coalesce(c.cpu, 0)) FILTER (WHERE c.trial_id IS NOT NULL) AS joules
FROM (FROM planned SEMI JOIN alone USING (trial_id)) p JOIN trials t USING (trial_id) LEFT JOIN timed s USING (trial_id)
  LEFT JOIN counted c USING (trial_id)
WHERE t.status = 'done' GROUP BY ALL ORDER BY ALL"""


def artifacts_of(body: str) -> str:
    """Files that a benchmark's trials left."""
    return f"""WITH planned AS ({body})
SELECT p.arm, t.seed, a.name, a.kind, a.path, a.caption, t.trial_id
FROM planned p JOIN trials t USING (trial_id) JOIN artifacts a USING (trial_id) ORDER BY a.name, p.arm, t.seed"""


def trial(trial_id: str) -> str:
    """The row of one trial."""
    return f"SELECT * FROM trials WHERE trial_id = {literal(trial_id)}"


def trial_results(trial_id: str) -> str:
    """Final numbers of one trial."""
    return f"SELECT split, metric, value FROM results WHERE trial_id = {literal(trial_id)} ORDER BY split, metric"


def _binned(chosen: str, condition: str) -> str:
    """Binned series of single trials, at most ``CURVE_POINTS`` each."""
    return f"""WITH chosen AS ({chosen}),
picked AS (SELECT c.arm, m.* FROM metrics m JOIN chosen c USING (trial_id) WHERE isfinite(m.value){condition}),
sized AS (SELECT trial_id, split, name, max(step) AS last, count(DISTINCT step) AS steps FROM picked GROUP BY ALL)
SELECT trial_id, split, name, any_value(arm) AS arm, avg(step) AS step, avg(value) AS mean, min(value) AS low,
  max(value) AS high, 1 AS trials
FROM picked JOIN sized USING (trial_id, split, name)
GROUP BY trial_id, split, name,
  CASE WHEN steps <= {CURVE_POINTS} THEN step ELSE step * {CURVE_POINTS} // (last + 1) END
ORDER BY trial_id, split, name, step"""


def trial_series(trial_id: str, split: str, name: str) -> str:
    """One series of one trial."""
    chosen = f"SELECT trial_id, arm FROM trials WHERE trial_id = {literal(trial_id)}"
    return _binned(chosen, f" AND m.split = {literal(split)} AND m.name = {literal(name)}")


def all_series(body: str) -> str:
    """The series of each trial of a benchmark."""
    return _binned(f"SELECT trial_id, min(arm) AS arm FROM ({body}) GROUP BY trial_id", "")


def whole_trials(body: str) -> str:
    """Whole rows of a benchmark's trials."""
    return f"SELECT t.* FROM trials t SEMI JOIN ({body}) p USING (trial_id)"


def sweeps_of(suite: str, scale: str) -> str:
    """Sweeps of a suite at a scale."""
    where = f"suite = {literal(suite)} AND scale = {literal(scale)}"
    return f"SELECT * FROM sweeps WHERE {where} ORDER BY started_at, sweep_id"


def points_of(sweep_id: str) -> str:
    """The configurations that a sweep tried."""
    return f"""SELECT arm, number, params, value, status FROM sweep_points
WHERE sweep_id = {literal(sweep_id)} ORDER BY arm, number"""


def gates(claim: str, scale: str, protocol: str, suite: str = "") -> str:
    """The mechanism checks of a claim under a protocol."""
    return f"""SELECT metric, arm, value, threshold, passed FROM gates
WHERE {_of_claim(claim, scale, protocol, suite)} ORDER BY metric, arm"""


def _of_sweep(sweep: str) -> str:
    return f"WHERE sweep_id = {literal(sweep)}"


def sweep_curves(sweep: str) -> str:
    """Expected (or median) best of B by arm, with the simultaneous band."""
    return f"""SELECT c.key AS arm, c.value->>'$.band' AS band,
  unnest(c.value->>'$.budget[*]')::INTEGER AS budget,
  unnest(c.value->>'$.expected[*]')::DOUBLE AS expected,
  unnest(c.value->>'$.middle[*]')::DOUBLE AS middle,
  unnest(c.value->>'$.low[*]')::DOUBLE AS low,
  unnest(c.value->>'$.high[*]')::DOUBLE AS high
FROM sweeps, json_each(spec->'curves') AS c {_of_sweep(sweep)} ORDER BY arm, budget"""


def sweep_differences(sweep: str) -> str:
    """Differences of the expected best to the first arm, with simultaneous bands."""
    return f"""SELECT d.key AS pair, generate_subscripts(d.value->>'$[*]', 1) AS budget,
  unnest(d.value->>'$[*]')::DOUBLE AS difference,
  unnest(spec->'difference_bands'->d.key->>'$.low[*]')::DOUBLE AS low,
  unnest(spec->'difference_bands'->d.key->>'$.high[*]')::DOUBLE AS high
FROM sweeps, json_each(spec->'differences') AS d {_of_sweep(sweep)} ORDER BY pair, budget"""


def sweep_importances(sweep: str) -> str:
    """Share of the variance among the better configurations, by arm and hyper-parameter."""
    return f"""SELECT a.key AS arm, h.key AS hyper_parameter, h.value::DOUBLE AS share
FROM sweeps, json_each(spec->'importances') AS a, json_each(a.value) AS h {_of_sweep(sweep)}
ORDER BY arm, share DESC, hyper_parameter"""


def sweep_chosen(sweep: str) -> str:
    """The best configuration of each arm on validation, and the number reported."""
    return f"""SELECT c.key AS arm, (c.value->>'$.number')::INTEGER AS number, (c.value->>'$.value')::DOUBLE AS value,
  c.value->'$.params' AS params, (spec->'told'->>c.key)::INTEGER AS reported,
  (spec->'rungs'->>c.key)::INTEGER AS trials
FROM sweeps, json_each(spec->'chosen') AS c {_of_sweep(sweep)} ORDER BY arm"""


def sweep_history(sweep: str, better: str) -> str:
    """Every configuration in order, and the best so far."""
    best = "min" if better == "lower" else "max"
    return f"""SELECT arm, number, status, value,
  {best}(CASE WHEN isfinite(value) THEN value END) OVER (PARTITION BY arm ORDER BY number) AS best
FROM sweep_points {_of_sweep(sweep)} ORDER BY arm, number"""


def sweep_comparison(suite: str, sweep: str, scale: str) -> str:
    """The judged comparison of the chosen configurations on fresh seeds."""
    return f"""SELECT c.method, c.baseline, c.metric, c.unit, v.verdict, v.n, v.difference, v.ci_low, v.ci_high, v.p,
  v.adjusted_p, v.design->>'reason' AS reason
FROM verdicts v JOIN claims c USING (claim_id, suite)
WHERE suite = {literal(f"{suite}-sweep-{sweep}")} AND v.scale = {literal(scale)}
QUALIFY v.judged_at = max(v.judged_at) OVER (PARTITION BY v.claim_id) ORDER BY v.claim_id"""
