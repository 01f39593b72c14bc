"""Checks of identities: functions of a suite's checks module, run in a separate process, since they need torch."""

import importlib
import json
import math
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict

from harness.judge.design import ClaimDesign
from harness.judge.detail import CheckResult, from_json
from harness.plan.fingerprint import fingerprint
from harness.registry.shipped import check_module
from harness.stats.records import relation_holds
from harness.store.queries import Queries
from harness.suite.models import REPORTED

TIMEOUT_SECONDS = 600
_MARK = "checks of identities: "


def code_of(place: str) -> str:
    """Fingerprint of what a check computes with; empty where its module does not exist."""
    try:
        return fingerprint([place.partition(":")[0]])
    except Exception:  # a module that cannot be found or read is reported by the check itself
        return ""


def checks_of(designs: Iterable[ClaimDesign], reader: Queries, *, compute: bool) -> dict[str, CheckResult]:
    """The check of each claim: stored under the same code, else computed."""
    checked = [design for design in designs if design.question.check not in (None, REPORTED)]
    wanted = {design.claim_id: f"{check_module(design.question.suite)}:{design.question.check}" for design in checked}
    earlier = {
        row["claim_id"]: from_json(row["design"]).check
        for suite in sorted({design.question.suite for design in checked})
        for row in reader.verdicts(list(wanted), suite=suite).dicts()
        if row["design"]
    }
    results: dict[str, CheckResult] = {}
    missing: dict[str, str] = {}
    for claim, place in wanted.items():
        stored = earlier.get(claim)
        if stored is not None and stored.error is None and stored.code and stored.code == code_of(place):
            results[claim] = stored
        else:
            missing[claim] = place
    if missing and compute:
        computed = run_apart(sorted(set(missing.values())))
        results |= {claim: computed[place] for claim, place in missing.items()}
    return results


def run_apart(places: list[str]) -> dict[str, CheckResult]:
    """Run checks in another process."""
    command = [sys.executable, "-m", "harness.judge.checks", *places]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {place: _failed(place, f"took longer than {TIMEOUT_SECONDS} s") for place in places}
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not lines:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {place: _failed(place, f"ended with status {done.returncode}: {last}") for place in places}
    answers = json.loads(lines[-1].removeprefix(_MARK))
    return {place: CheckResult(**answers[place]) for place in places}


def run_here(place: str) -> CheckResult:
    """Run one check in this process; an error is part of the answer."""
    module, _, name = place.partition(":")
    try:
        check = getattr(importlib.import_module(module), name)()
        sides = float(check.ours), float(check.theirs), float(check.tolerance)
        relation = str(getattr(check, "relation", "equal"))
        message = str(check.unit), str(check.detail), relation
    except Exception as error:
        return _failed(place, f"{type(error).__name__}: {error}")
    return CheckResult(*sides, *message, relation_holds(*sides, relation), code_of(place))


def _failed(place: str, error: str) -> CheckResult:
    error = f"the check {place} could not be computed: {error}"
    return CheckResult(math.nan, math.nan, 0.0, code=code_of(place), error=error)


def main(places: list[str]) -> None:
    """Print the checks' answers as JSON."""
    answers = {place: asdict(run_here(place)) for place in places}
    print(f"\n{_MARK}{json.dumps(answers)}")


if __name__ == "__main__":
    main(sys.argv[1:])
