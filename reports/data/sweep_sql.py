"""The statements behind a sweep's page: what ``harness query`` gives is what is drawn."""

from __future__ import annotations

from reports.data.sql import literal


def _spec(sweep: str) -> str:
    return f"WHERE sweep_id = {literal(sweep)}"


def curves(sweep: str) -> str:
    """Expected (or median) best of B by arm, with the simultaneous band."""
    return f"""SELECT c.key AS arm, c.value->>'$.band' AS band,
  unnest(c.value->>'$.budget[*]')::INTEGER AS budget,
  unnest(c.value->>'$.expected[*]')::DOUBLE AS expected,
  unnest(c.value->>'$.middle[*]')::DOUBLE AS middle,
  unnest(c.value->>'$.low[*]')::DOUBLE AS low,
  unnest(c.value->>'$.high[*]')::DOUBLE AS high
FROM sweeps, json_each(spec->'curves') AS c {_spec(sweep)} ORDER BY arm, budget"""


def differences(sweep: str) -> str:
    """Differences of the expected best to the first arm over B, up is better, with the simultaneous band."""
    return f"""SELECT d.key AS pair, generate_subscripts(d.value->>'$[*]', 1) AS budget,
  unnest(d.value->>'$[*]')::DOUBLE AS difference,
  unnest(spec->'difference_bands'->d.key->>'$.low[*]')::DOUBLE AS low,
  unnest(spec->'difference_bands'->d.key->>'$.high[*]')::DOUBLE AS high
FROM sweeps, json_each(spec->'differences') AS d {_spec(sweep)} ORDER BY pair, budget"""


def importances(sweep: str) -> str:
    """Share of the variance among the better configurations, by arm and hyper-parameter."""
    return f"""SELECT a.key AS arm, h.key AS hyper_parameter, h.value::DOUBLE AS share
FROM sweeps, json_each(spec->'importances') AS a, json_each(a.value) AS h {_spec(sweep)}
ORDER BY arm, share DESC, hyper_parameter"""


def chosen(sweep: str) -> str:
    """The configuration of each arm that was best on validation, and what was told."""
    return f"""SELECT c.key AS arm, (c.value->>'$.number')::INTEGER AS number, (c.value->>'$.value')::DOUBLE AS value,
  c.value->'$.params' AS params, (spec->'told'->>c.key)::INTEGER AS told,
  (spec->'rungs'->>c.key)::INTEGER AS trials
FROM sweeps, json_each(spec->'chosen') AS c {_spec(sweep)} ORDER BY arm"""


def history(sweep: str, better: str) -> str:
    """Every configuration in the order of the draws, and the best so far."""
    best = "min" if better == "lower" else "max"
    return f"""SELECT arm, number, status, value,
  {best}(CASE WHEN isfinite(value) THEN value END) OVER (PARTITION BY arm ORDER BY number) AS best
FROM sweep_points {_spec(sweep)} ORDER BY arm, number"""


def comparison(suite: str, sweep: str, scale: str) -> str:
    """The judged comparison of the chosen configurations on fresh seeds."""
    return f"""SELECT c.method, c.baseline, c.metric, c.unit, v.verdict, v.n, v.difference, v.ci_low, v.ci_high, v.p,
  v.adjusted_p, v.design->>'reason' AS reason
FROM verdicts v JOIN claims c USING (claim_id)
WHERE c.suite = {literal(f"{suite}-sweep-{sweep}")} AND v.scale = {literal(scale)}
QUALIFY v.judged_at = max(v.judged_at) OVER (PARTITION BY v.claim_id) ORDER BY v.claim_id"""
