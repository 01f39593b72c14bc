"""Details of verdicts in former versions: flat in 0, one search a benchmark in 1."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from harness.judge.design import Estimand, Multiplicity, Pairing, Question, StatisticalRules
from harness.judge.detail import VERSION, EffectSize, Numbers, VerdictDetail
from harness.judge.mechanism import MechanismReading
from harness.suite.models import MechanismCheck

PARTS = {
    "question": Question,
    "pairing": Pairing,
    "estimand": Estimand,
    "rules": StatisticalRules,
    "multiplicity": Multiplicity,
    "numbers": Numbers,
    "effect": EffectSize,
}
"""Parts whose fields stood flat in version 0."""

UNSTATED = {
    "scale": "",
    "claim_id": "",
    "suite": "",
    "kind": "difference",
    "mode": "difference",
    "direction": 1,
    "metric": "",
    "unit": "",
    "alpha": 0.05,
    "kappa": 0.5,
    "g": 0.5,
    "tolerated_failures": 0.2,
    "seeds": (0, 0, 0),
    "sequential": False,
    "family": "secondary",
}
"""Values of fields that a design of version 0 may lack."""


def upgraded(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A former version in the names of the present one."""
    new = dict(stored) if "version" in stored else _field_by_field(stored)
    tuning = {benchmark: [search] for benchmark, search in (stored.get("tuning") or {}).items()}
    return new | {"version": VERSION, "tuning": tuning}


def _field_by_field(stored: Mapping[str, Any]) -> dict[str, Any]:
    check, contrast = stored.get("check"), stored.get("contrast")
    tested = contrast if isinstance(contrast, Mapping) else {}
    flat = {
        **UNSTATED,
        **stored,
        "check": check.get("name") if isinstance(check, Mapping) else check,
        "contrast": stored.get("contrast_id") or (contrast if isinstance(contrast, str) else ""),
    }
    new = {
        name: {each.name: flat[each.name] for each in fields(part) if each.name in flat} for name, part in PARTS.items()
    }
    kept = {each.name for each in fields(VerdictDetail)} - PARTS.keys()
    new |= {name: value for name, value in stored.items() if name in kept}
    test = {
        "contrast": tested.get("id", ""),
        "correction": stored.get("correction", ""),
        "p": stored.get("family_p") or {},
        "bounds": stored.get("family_bounds") or (),
    }
    return new | {
        "scale": flat["scale"],
        "test": test if tested else None,
        "effect": new["effect"] if "d_z" in stored else None,
        "check": stored.get("check_result") or (check if isinstance(check, Mapping) else None),
        "shown": [{"arm": stored.get("arm") or "", **entry} for entry in stored.get("shown") or ()],
        "gate_readings": [_mechanism_reading(entry) for entry in stored.get("gate_readings") or ()],
    }


def _mechanism_reading(entry: Mapping[str, Any]) -> MechanismReading:
    rule = {name: entry.get(name) for name in ("metric", "arm", "relative_to", "minus", "op")}
    check = MechanismCheck.model_validate({**rule, "value": entry["threshold"]})
    return MechanismReading(check, entry["benchmark"], entry["value"], entry["passed"], entry.get("reason") or "")
