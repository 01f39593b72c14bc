"""What stands in the place of verdicts whose trials are forgotten: the same question, not run, and why."""

from __future__ import annotations

from collections.abc import Sequence
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


def withdrawn_verdicts(reader: Queries, trial_ids: Sequence[str], forget_id: str) -> list[dict[str, Any]]:
    """Rows of ``verdicts`` for the newest verdicts that rest on some of these trials.

    Nothing is judged: a verdict from the trials that are left would be one more look at them.
    """
    rows = []
    for stored in reader.query(_RESTING, [list(trial_ids)]).dicts():
        reason = (
            f"{trials_in_words(stored['resting'])} of this verdict {'was' if stored['resting'] == 1 else 'were'} "
            "forgotten; 'harness run' measures them again, 'harness claims' judges what is left"
        )
        detail = without_results(from_json(stored["design"] or {}), reason, forget_id)
        kept = {name: stored[name] for name in ("claim_id", "scale", "protocol", "suite", "stand_in", "sequential")}
        rows.append({**kept, "n": 0, "verdict": Verdict.NOT_RUN.value, "design": detail.to_json()})
    return rows
