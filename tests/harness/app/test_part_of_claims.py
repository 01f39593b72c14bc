"""A filtered view of claims."""

from pathlib import Path

import pytest
from conftest import run_inline

from harness.app.report import judge_claims
from harness.errors import HarnessError
from harness.plan.planning import Selection
from harness.store import open_reader

MORE = """
compare:
  - {id: everywhere, benchmarks: [known, other], arm: better, against: [base], metric: score}
"""


def test_a_filter_shows_lines_and_stores_nothing(tmp_path: Path, tiny_text: str, database: Path) -> None:
    """The corrected p is that of the whole suite."""
    head, facts = tiny_text.split("facts:")
    suite = tmp_path / "two.yaml"
    suite.write_text(
        head + head[head.index("  known:") :].replace("known", "other", 2) + "facts:" + facts + MORE.lstrip()
    )
    run_inline("run", suite, "--seeds", "4", "--db", database)

    def stored() -> int:
        with open_reader(database) as reader:
            return len(reader.query("SELECT 1 FROM verdicts"))

    (whole,) = judge_claims([str(suite)], Selection(), database)
    before = stored()
    (part,) = judge_claims([str(suite)], Selection(benchmarks=("known",)), database)
    (none,) = judge_claims([str(suite)], Selection(arms=("base",), benchmarks=("other",)), database)
    assert [row.claim_id for row in whole.verdicts] == ["tiny-better", "everywhere"]
    assert part.verdicts == whole.verdicts
    assert [row.claim_id for row in none.verdicts] == ["everywhere"]
    assert stored() == before
    with pytest.raises(HarnessError, match="no benchmark 'nowhere'"):
        list(judge_claims([str(suite)], Selection(benchmarks=("nowhere",)), database))
