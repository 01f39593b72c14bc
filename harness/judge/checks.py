"""Checks of identities: functions of a suite's checks module, called by name in a process of their own.

A check needs torch, which the commands that only read must not load; and one that dies must not take the judge along.
Run as a module with names as arguments it prints one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from harness.judge.frame import Frame, Stored
from harness.plan.fingerprint import fingerprint
from harness.registry.shipped import check_module
from harness.store.queries import Queries
from harness.suite.models import REPORTED

TIMEOUT_SECONDS = 600
_MARK = "checks of identities: "


def place_of(frame: Frame) -> str:
    """``module:function`` of a claim's check."""
    return f"{check_module(frame.suite)}:{frame.check}"


def code_of(place: str) -> str:
    """Fingerprint of what a check computes with; empty where its module does not exist."""
    try:
        return fingerprint([place.partition(":")[0]])
    except Exception:  # a module that cannot be found or read is reported by the check itself
        return ""


def checks_of(frames: Iterable[Frame], reader: Queries, *, compute: bool) -> dict[str, Stored]:
    """The check of each claim that has one: as stored under the same code, else computed anew where ``compute``."""
    wanted = [frame for frame in frames if frame.check is not None and frame.check != REPORTED]
    earlier = {row["claim_id"]: row for row in reader.verdicts([frame.claim_id for frame in wanted])} if wanted else {}
    found: dict[str, Stored] = {}
    missing: dict[str, Frame] = {}
    for frame in wanted:
        place = place_of(frame)
        stored = stored_check((earlier.get(frame.claim_id) or {}).get("design"))
        if stored is not None and stored.error is None and stored.code and stored.code == code_of(place):
            found[frame.claim_id] = stored
        else:
            missing[frame.claim_id] = frame
    if missing and compute:
        computed = run_apart(sorted({place_of(frame) for frame in missing.values()}))
        found |= {claim: computed[place_of(frame)] for claim, frame in missing.items()}
    return found


def stored_check(design: Any) -> Stored | None:
    """The check of a stored design."""
    check = design.get("check_result") if isinstance(design, Mapping) else None
    if not isinstance(check, Mapping):
        return None
    known = {name: value for name, value in check.items() if name in Stored.__dataclass_fields__}
    # JSON has no NaN: the journal writes it as text
    return Stored(**{**known, "ours": float(check["ours"]), "theirs": float(check["theirs"])})


def run_apart(places: list[str]) -> dict[str, Stored]:
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
    return {place: Stored(**answers[place]) for place in places}


def run_here(place: str) -> Stored:
    """Run one check in this process; an error is part of the answer."""
    module, _, name = place.partition(":")
    try:
        check = getattr(importlib.import_module(module), name)()
        ours, theirs, tolerance = float(check.ours), float(check.theirs), float(check.tolerance)
        relation = str(getattr(check, "relation", "equal"))
        unit, detail = str(check.unit), str(check.detail)
    except Exception as error:
        return _failed(place, f"{type(error).__name__}: {error}")
    return Stored(
        ours, theirs, tolerance, unit, detail, relation, holds(ours, theirs, tolerance, relation), code_of(place)
    )


def holds(ours: float, theirs: float, tolerance: float, relation: str = "equal") -> bool:
    """Whether two sides agree within the tolerance, or one lies below or above the other by more than it."""
    if not (math.isfinite(ours) and math.isfinite(theirs)):
        return False
    distance = ours - theirs
    if relation == "equal":
        return abs(distance) <= tolerance
    return distance < -tolerance if relation == "below" else distance > tolerance


def _failed(place: str, error: str) -> Stored:
    return Stored(
        math.nan, math.nan, 0.0, code=code_of(place), error=f"the check {place} could not be computed: {error}"
    )


def main(places: list[str]) -> None:
    """Print the checks' answers as JSON."""
    from dataclasses import asdict

    answers = {place: asdict(run_here(place)) for place in places}
    print(f"\n{_MARK}{json.dumps(answers)}")


if __name__ == "__main__":
    main(sys.argv[1:])
