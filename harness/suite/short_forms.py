"""Short forms of user suites, expanded before they are checked.

A benchmark without a file is defined in the suite, without scales: its keys are those of ``mini``. A program's keys
(``command``, ``results``, …) are next to its metrics. An arm without a role gets one by ``compare:``; its ``values``
replace a command's ``{arm.KEY}``. Every value keeps its place for errors.
"""

import re
from collections.abc import Iterable
from typing import Any

from harness.base.yaml_nodes import Node
from harness.suite.models import UsedBenchmark

_SAME = "command repository commit code environment python results values variables expects paired resumes memory_mb"
PROGRAM = {key: key for key in f"{_SAME} writes folder steps".split()}
PROGRAM |= {"in": "folder", "timeout": "timeout_seconds", "cpus": "threads"}
"""Keys of a program in a suite, and in its recipe."""
ELSEWHERE = "imported"
"""The task of a benchmark that only declares metrics, for imported results."""
PARTS = ("data", "model", "recipe", "prerequisites", "competent", "about")
"""Keys of a benchmark that belong to its scale."""
_USED = frozenset(UsedBenchmark.model_fields)


def in_full(node: Node) -> Node:
    """A suite's node with its short forms written out."""
    if not isinstance(node.value, dict):
        return node
    full = node.copy()
    if "title" not in full.value and "suite" in full.value:
        _put(full, "title", full.value["suite"])
    benchmarks = full.value.get("benchmarks")
    if benchmarks is not None and isinstance(benchmarks.value, dict):
        full.value["benchmarks"] = _mapped(benchmarks, _benchmark)
    arms = full.value.get("arms")
    if arms is not None and isinstance(arms.value, dict):
        methods = _compared(full) if "compare" in full.value else None
        full.value["arms"] = _mapped(arms, lambda name, arm: _arm(name, arm, methods))
    return _with_own_claims(full)


def _with_own_claims(full: Node) -> Node:
    """The entries of ``interventions:`` and ``compare:`` as claims, after those under ``claims:``."""
    claims = full.value.get("claims")
    if claims is not None and not isinstance(claims.value, list):
        return full  # the check says what is wrong
    entries = list(claims.value) if claims is not None else []
    for section, kind in (("interventions", "intervention"), ("compare", "comparison")):
        listed = full.value.get(section)
        if listed is None or not isinstance(listed.value, list):
            continue
        entries += [claim for entry in listed.value for claim in _own_claims(entry, kind)]
        claims = claims or listed
        del full.value[section]
    if claims is not None:
        _put(full, "claims", Node(claims.place, entries))
    return full


def _own_claims(entry: Node, kind: str) -> list[Node]:
    """One claim, or of a comparison one for each of ``against``."""
    if not isinstance(entry.value, dict):
        return [entry]
    claim = entry.copy()
    _put(claim, "kind", Node.of(kind, entry.place))
    if kind == "intervention":
        return [claim]
    jointly = claim.value.pop("jointly", None)
    against, arm, named = (entry.value.get(key) for key in ("against", "arm", "id"))
    others = against.value if against is not None and isinstance(against.value, list) else []
    joint = jointly is not None and jointly.value is True
    if joint and len(others) > 1:
        _put(claim, "order", Node.of("best", entry.place))
    sides = [others] if joint or not others else [[other] for other in others]
    claims = []
    for side in sides:
        own = claim.copy()
        names = [str(other.value) for other in side]
        name = comparison_id(str(arm.value) if arm is not None else "", names)
        if named is not None:
            name = f"{named.value}-{names[0]}" if len(sides) > 1 else str(named.value)
        own.value["id"] = Node.of(name, (named or entry).place)
        own.key_places.setdefault("id", entry.place)
        if against is not None and others:
            own.value["against"] = Node(against.place, side)
        claims.append(own)
    return claims


def comparison_id(arm: str, against: Iterable[str]) -> str:
    """The id of a comparison that has none: ``adamp-over-adam``."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{arm}-over-{'-'.join(against)}").strip("-")[:120]


def _mapped(node: Node, change: Any) -> Node:
    changed = node.copy()
    changed.value = {key: change(key, child) for key, child in node.value.items()}
    return changed


def _put(node: Node, key: str, child: Node) -> None:
    """Add a key where another node stands."""
    node.value[key] = child
    node.key_places[key] = child.place


def _compared(node: Node) -> set[str]:
    listed = node.value["compare"].value
    entries = [item.value for item in listed if isinstance(item.value, dict)] if isinstance(listed, list) else []
    return {item["arm"].value for item in entries if "arm" in item and isinstance(item["arm"].value, str)}


def _arm(name: str, arm: Node, methods: set[str] | None) -> Node:
    full = Node.of({}, arm.place) if arm.value is None else arm
    if not isinstance(full.value, dict):
        return arm
    full = full.copy()
    if methods is not None and "role" not in full.value:
        _put(full, "role", Node.of("method" if name in methods else "baseline", full.place))
    values = full.value.pop("values", None)
    if values is None:
        return full
    if not isinstance(values.value, dict):
        return arm  # the check says what is wrong
    own = full.value.get("set")
    merged = own.copy() if own is not None and isinstance(own.value, dict) else Node(values.place, {})
    for key, child in values.value.items():
        merged.value[f"values.{key}"] = child
        merged.key_places[f"values.{key}"] = values.key_places[key]
    full.value["set"] = merged
    full.key_places["set"] = full.key_places.pop("values")
    return full


def _benchmark(name: str, written: Node) -> Node:
    """``{task, metrics, data, …}`` or ``{command, metrics, …}`` as what stands under ``define:``."""
    if not isinstance(written.value, dict) or "file" in written.value or "define" in written.value:
        return written
    own = written.value.keys() - _USED
    if not own:
        return written
    used, define, block, recipe = (Node(written.place, {}) for _ in range(4))
    is_program = "command" in own or _text(written, "task") == "command"
    for key, child in written.value.items():
        place = written.key_places[key]
        if key == "recipe" and isinstance(child.value, dict):
            recipe.value.update(child.value)
            recipe.key_places.update(child.key_places)
            continue
        target = used if key in _USED else block if key in PARTS else define
        if is_program and key in PROGRAM:
            target, key = recipe, PROGRAM[key]
        target.value[key], target.key_places[key] = child, place
    if is_program:
        _complete_program(define, recipe, written)
    if recipe.value or "recipe" in written.value:
        block.value.setdefault("recipe", recipe)
        block.key_places["recipe"] = written.key_places.get("recipe", written.place)
    for key, value in (("benchmark", name), ("title", name)):
        if key not in define.value:
            _put(define, key, Node.of(value, written.place))
    if "metrics" in define.value:
        define.value["metrics"] = _metrics(define.value["metrics"])
    if is_program or _text(written, "task") == ELSEWHERE:
        for key, part in (("data", "nothing"), ("model", "none")):  # none of this project's
            if key not in block.value:
                _put(block, key, Node.of({"name": part}, written.place))
    if block.value and "mini" not in define.value:
        _put(define, "mini", block)
    elif block.value:
        inner = define.value["mini"].copy() if isinstance(define.value["mini"].value, dict) else block
        for key in block.value.keys() - inner.value.keys():
            _put(inner, key, block.value[key])
        define.value["mini"] = inner
    used.value["define"], used.key_places["define"] = define, written.place
    return used


def _complete_program(define: Node, recipe: Node, written: Node) -> None:
    """Add the task of every program and its expected metrics."""
    if "task" not in define.value:
        _put(define, "task", Node.of("command", written.place))
    metrics = define.value.get("metrics")
    if "expects" not in recipe.value and metrics is not None and isinstance(metrics.value, dict):
        _put(recipe, "expects", Node.of(list(metrics.value), metrics.place))


def _metrics(metrics: Node) -> Node:
    """Expand ``accuracy: higher`` to a metric without a unit."""
    if not isinstance(metrics.value, dict):
        return metrics
    full = metrics.copy()
    for key, child in metrics.value.items():
        if child.value in ("higher", "lower"):
            full.value[key] = Node.of({"unit": "", "better": child.value}, child.place)
    return full


def _text(node: Node, key: str) -> str:
    child = node.value.get(key)
    return str(child.value) if child is not None else ""
