"""Verdicts on claims, by rules fixed before results.

Stages in order: ``bindings``, ``evidence``, ``pairs``, ``tests``, ``mechanism``, ``units``, ``correction``,
``verdicts``, ``rows``; ``seeds`` chooses the next seeds.
"""

import sys
from types import ModuleType
from typing import Any

from harness.judge.ablation import ablations as ablations
from harness.judge.judging import Judgement as Judgement
from harness.judge.judging import claim_rows as claim_rows
from harness.judge.judging import judge as judge
from harness.judge.judging import record_judgement as record_judgement
from harness.judge.rows import VerdictRow as VerdictRow


class _Stage(ModuleType):
    """``harness.judge(table, …)``: the name of this stage is also that of the public function over a table."""

    def __call__(self, table: Any, **options: Any) -> Any:
        """A table's verdicts; see ``harness.judge_table``."""
        return sys.modules["harness"].judge_table(table, **options)


sys.modules[__name__].__class__ = _Stage
