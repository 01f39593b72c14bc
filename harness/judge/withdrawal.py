"""Verdicts that replace those of deleted trials: not run, with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.judge.detail import from_json, without_results
from harness.judge.evidence import trials_in_words
from harness.store.queries import Queries
from harness.vocabulary import Verdict

_RESTING = """
SELECT v.*, count(DISTINCT s.trial_id) AS resting FROM verdicts v JOIN verdict_trials s
  ON s.claim_id = v.claim_id AND s.scale = v.scale AND s.protocol = v.protocol AND s.judged_at = v.judged_at
  AND s.suite IS NOT DISTINCT FROM v.suite
WHERE s.trial_id = ANY(?) AND v.judged_at = (SELECT max(o.judged_at) FROM verdicts o
  WHERE o.claim_id = v.claim_id AND o.scale = v.scale AND o.protocol = v.protocol
  AND o.suite IS NOT DISTINCT FROM v.suite)
GROUP BY ALL ORDER BY v.suite, v.claim_id, v.scale, v.protocol"""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A claim whose newest verdict rests on deleted trials."""

    suite: str
    claim_id: str
    scale: str
    protocol: str


def withdrawn_verdicts(reader: Queries, trial_ids: Sequence[str]) -> tuple[list[dict[str, Any]], list[Withdrawn]]:
    """Rows that replace the newest verdicts of deleted trials, and their claims.

    The remaining trials are not judged: that would be another interim analysis.
    """
    rows, claims = [], []
    for stored in reader.query(_RESTING, [list(trial_ids)]).dicts():
        reason = (
            f"{trials_in_words(stored['resting'])} of this verdict {'was' if stored['resting'] == 1 else 'were'} "
            "deleted; 'harness run' measures them again, 'harness claims' judges the remaining ones"
        )
        detail = without_results(from_json(stored["design"] or {}), reason)
        kept = {name: stored[name] for name in ("claim_id", "scale", "protocol", "suite", "stand_in", "sequential")}
        rows.append({**kept, "n": 0, "verdict": Verdict.NOT_RUN.value, "design": detail.to_json()})
        claims.append(Withdrawn(stored["suite"] or "", stored["claim_id"], stored["scale"], stored["protocol"]))
    return rows, claims
