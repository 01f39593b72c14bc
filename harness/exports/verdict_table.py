"""The verdicts of a suite as a table for a paper: what was judged, never what was not run or cannot be compared."""

from harness.exports.paper_text import TextTable, slug
from harness.judge.detail import VerdictDetail, from_json
from harness.results.current import JUDGED_BY_ITS_END, ResultFilter, find_run
from harness.results.verdict_text import number_texts
from harness.store.queries import Queries
from harness.vocabulary import Verdict

SILENT = frozenset({Verdict.NOT_RUN, Verdict.NOT_COMPARABLE, Verdict.REPORTED})
"""Verdicts that rest on no trial."""
HEAD = ("claim", "protocol", "verdict", "difference", "95 % interval", "n", "adjusted p")

_NEWEST = f"""SELECT c.suite, v.scale, v.claim_id, v.protocol, v.verdict, v.difference, v.ci_low, v.ci_high, v.n,
  v.adjusted_p, v.design
FROM verdicts v JOIN claims c ON c.claim_id = v.claim_id AND c.suite = v.suite
LEFT JOIN runs r ON r.run_id = $run
WHERE ($suite IS NULL OR c.suite = $suite) AND ($scale IS NULL OR v.scale = $scale)
  AND ($run IS NULL OR (c.suite = r.suite AND v.scale = r.scale AND {JUDGED_BY_ITS_END}))
QUALIFY row_number() OVER (PARTITION BY c.suite, v.claim_id, v.scale, v.protocol ORDER BY v.judged_at DESC) = 1
ORDER BY c.suite, v.scale, v.claim_id, v.protocol"""


def verdict_tables(reader: Queries, wanted: ResultFilter) -> dict[tuple[str, str], TextTable]:
    """The newest verdicts, a table for each suite and scale.

    Only suites that ran: claims that were looked at without a run have no row. The filter's benchmarks, arms and metric
    keep the claims about them, its run those that stood when it ended.
    """
    run = None if wanted.run is None else find_run(reader, wanted.run).run_id
    ran = {(row[0], row[1]) for row in reader.query("SELECT DISTINCT suite, scale FROM cell_trials").rows}
    rows: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    named: dict[tuple[str, str], dict[str, None]] = {}
    for row in reader.query(_NEWEST, {"suite": wanted.suite, "scale": wanted.scale, "run": run}).dicts():
        place = (row["suite"], row["scale"])
        if place not in ran or row["verdict"] in SILENT:
            continue
        detail = from_json(row["design"] or {})
        if not _wanted(detail, row["protocol"], wanted):
            continue
        rows.setdefault(place, []).append(
            (
                row["claim_id"],
                row["protocol"],
                row["verdict"],
                *number_texts(row["difference"], row["ci_low"], row["ci_high"], row["n"], row["adjusted_p"]),
            )
        )
        if detail.stand_in_name:
            named.setdefault(place, {})[detail.stand_in_name] = None
    return {place: _table(place, lines, list(named.get(place, {}))) for place, lines in rows.items()}


def _wanted(detail: VerdictDetail, protocol: str, wanted: ResultFilter) -> bool:
    return (
        (not wanted.benchmarks or bool(set(detail.question.benchmarks) & set(wanted.benchmarks)))
        and (not wanted.arms or detail.question.arm in wanted.arms)
        and wanted.metric in (None, detail.estimand.metric)
        and wanted.protocol in (None, protocol)
    )


def _table(place: tuple[str, str], rows: list[tuple[str, ...]], named: list[str]) -> TextTable:
    suite, scale = place
    used = [verdict for verdict in Verdict if any(row[2].partition(" (")[0] == verdict for row in rows)]
    words = "; ".join(f"{verdict}: {verdict.meaning}" for verdict in used)
    stand_ins = f" Measured on stand-ins: {'; '.join(named)}." if named else ""
    caption = f"Verdicts of suite {suite} at scale {scale}, difference up as claimed. The words: {words}.{stand_ins}"
    return TextTable(HEAD, tuple(rows), caption, f"tab:{slug(f'{suite}-{scale}-verdicts')}", right=3)
