"""Suites and stored scores for tests of the judge."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from recomputing import differing
from store_support import outcome

from harness.judge import Judgement, VerdictRow, judge, record_judgement
from harness.judge.bindings import claim_designs
from harness.judge.evidence import StoredTrial
from harness.judge.judging import judge_designs
from harness.judge.verdicts import Reading
from harness.plan.planning import Plan, Selection, make_plan
from harness.store import Writer, open_reader
from harness.store.events import EnvironmentEvent, PlannedEvent
from harness.suite import Suite, load_suite

METHOD = "ours"
WHEN = datetime(2026, 3, 4, 5, 6, 7)
ENVIRONMENTS = {"here": {"torch": "2.14.1", "device": "a processor"}, "there": {"torch": "2.14.1", "device": "a GPU"}}

Value = float | str | None
"""A score; ``diverged``, ``failed``, ``timeout``; None: the trial never ran."""


def benchmark(
    name: str, *, paper: bool = False, metric: str = "{unit: percent, better: higher}", level: int = 50, **mini: Any
) -> str:
    """A benchmark of the synthetic task; ``level`` keeps its trials apart from those of others."""
    recipe = f"{{steps: 20, level: {level}}}"
    extra = "".join(f"        {key}: {json.dumps(value)}\n" for key, value in mini.items())
    block = f"        data: {{name: nothing}}\n        model: {{name: scalar}}\n        recipe: {recipe}\n"
    sources = (
        "      sources: {recipe.steps: {trust: published, place: p}, recipe.level: {trust: published, place: p}}\n"
    )
    return (
        f"  {name}:\n    define:\n      benchmark: {name}\n      title: {name}\n      task: synthetic\n"
        f"      metrics: {{score: {metric}}}\n"
        + (f"{sources}      paper:\n{block}{extra}" if paper else f"      mini:\n{block}{extra}")
    )


ARMS = {
    "ours": "{role: method, optimizer: {name: sgd, lr: 0.1}}",
    "base": "{role: baseline, deterministic: true, optimizer: {name: sgd, lr: 0.2}}",
    "other": "{role: baseline, deterministic: true, optimizer: {name: sgd, lr: 0.3}}",
    "third": "{role: baseline, deterministic: true, optimizer: {name: sgd, lr: 0.4}}",
}


def fact(claim: str, **changes: Any) -> dict[str, Any]:
    """A fact: ours is 2 points above base."""
    row = {
        "id": claim,
        "suite": "known",
        "benchmark": "a",
        "metric": "score",
        "unit": "percent",
        "better": "higher",
        "method": "ours",
        "baseline": "base",
        "published": {"difference": 2.0},
        "kind": "difference",
        "statement": "ours is above base",
    }
    return row | changes


def binding(claim: str, **changes: Any) -> dict[str, Any]:
    """A binding: ours against base on benchmark a."""
    return {"id": claim, "benchmarks": ["a"], "arm": "ours", "against": ["base"]} | changes


def write_suite(
    folder: Path,
    facts: Sequence[Mapping[str, Any]],
    bindings: Sequence[Mapping[str, Any]],
    *,
    benchmarks: str | None = None,
    arms: Mapping[str, str] | None = None,
    judge: str = "{}",
    seeds: str = "{min: 3, max: 20}",
) -> Suite:
    """A suite file of these parts, loaded."""
    text = f"suite: known\ntitle: Known\nseeds: {seeds}\njudge: {judge}\narms:\n"
    text += "".join(f"  {name}: {value}\n" for name, value in {**ARMS, **(arms or {})}.items())
    text += "benchmarks:\n" + (benchmarks or benchmark("a"))
    text += "facts:\n" + "".join(f"  - {json.dumps(item)}\n" for item in facts)
    text += "claims:\n" + "".join(f"  - {json.dumps(item)}\n" for item in bindings)
    path = folder / "known.yaml"
    path.write_text(text, encoding="utf-8")
    return load_suite(path)


def split_of(metric: str) -> str:
    """The split of a final number."""
    return "train" if metric.startswith("mechanism.") else "test"


@dataclass
class World:
    """A suite, its plan, and what each trial gave: ``scores[benchmark, arm]`` by seed."""

    suite: Suite
    scores: Mapping[tuple[str, str], Sequence[Value]]
    scale: str = "mini"
    mechanisms: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)
    elsewhere: frozenset[tuple[str, str, int]] = frozenset()
    seeds: int | None = None
    items: Mapping[tuple[str, str, int], Path] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """With as many seeds as the longest list of scores."""
        many = self.seeds or max(len(values) for values in self.scores.values())
        return make_plan(self.suite, Selection(scale=self.scale, seeds=tuple(range(many))))

    def outcomes(self) -> dict[str, tuple[str, dict[str, float], str]]:
        """trial_id → status, results by metric, environment."""
        result: dict[str, tuple[str, dict[str, float], str]] = {}
        for link in self.plan.links:
            values = self.scores.get((link.benchmark, link.arm), ())
            value = values[link.seed] if link.seed < len(values) else None
            if value is None:
                continue
            where = "there" if (link.benchmark, link.arm, link.seed) in self.elsewhere else "here"
            if isinstance(value, str):
                result[link.trial_id] = (value, {}, where)
            else:
                more = self.mechanisms.get((link.benchmark, link.arm), {})
                result[link.trial_id] = ("done", {"score": float(value), **more}, where)
        return result

    def evidence(self) -> dict[str, StoredTrial]:
        """Plain records."""
        result = {}
        for trial, (status, results, where) in self.outcomes().items():
            named = {(split_of(name), name): value for name, value in results.items()}
            result[trial] = StoredTrial(trial, status, where, named, 1.0)
        return result

    def verdicts(self, *, sequential: bool = False) -> dict[str, dict[str, Any]]:
        """Rows by claim as columns, without a store."""
        designs = claim_designs(self.suite, self.plan, sequential=sequential)
        return {row.claim_id: row.columns() for _, row in judge_designs(designs, self.evidence(), {}, WHEN)}

    def store(self, database: Path) -> None:
        """Write everything as a run would."""
        with Writer(database) as owner:
            for name, kind in ENVIRONMENTS.items():
                owner.record(EnvironmentEvent(environment_id=name, info={"class": kind}))
            self.record(owner)
            owner.flush()

    def record(self, owner: Writer, run_id: str = "r") -> None:
        """The plan's trials and outcomes."""
        plan = self.plan
        keys = ("trial_id", "benchmark", "arm")
        links = [{key: getattr(link, key) for key in keys} | {"reused": False} for link in plan.links]
        names = ("trial_id", "spec_id", "fingerprint", "suite", "benchmark", "arm", "seed", "scale")
        trials = [
            {name: getattr(item, name) for name in names}
            | {"stand_in": list(item.stand_in), "spec": item.spec.to_json()}
            for item in plan.trials
        ]
        owner.record(PlannedEvent(run_id=run_id, trials=trials, links=links))
        paths = {
            link.trial_id: self.items[place]
            for link in plan.links
            if (place := (link.benchmark, link.arm, link.seed)) in self.items
        }
        for trial, (status, results, where) in self.outcomes().items():
            kept = [{"name": "items", "kind": "npz", "path": str(paths[trial])}] if trial in paths else []
            rows = [{"split": split_of(name), "metric": name, "value": value} for name, value in results.items()]
            written = {"results": rows, "series": [], "artifacts": kept, "run_id": run_id, "environment_id": where}
            owner.record(outcome(trial, status, wall_seconds=1.0, **written))


def record_verdicts(database: Path, suite: Suite, scale: str, judgement: Judgement) -> None:
    """Store a judgement."""
    with Writer(database) as owner:
        record_judgement(owner.record, suite.name, scale, judgement)
        owner.flush()


def judge_stored(world: World, database: Path, when: datetime = WHEN, **more: Any) -> dict[str, VerdictRow]:
    """Judge from the store, store the judgement, and recompute it; the rows by claim."""
    with open_reader(database) as reader:
        judgement = judge(world.suite, world.plan, reader, judged_at=when, **more)
    record_verdicts(database, world.suite, world.scale, judgement)
    with open_reader(database) as reader:
        for row in judgement.verdicts:
            wrong = differing(reader, row.claim_id, world.scale, when)
            assert wrong == [], (row.claim_id, wrong)
    return {row.claim_id: row for row in judgement.verdicts}


def around(mean: float, spread: float, n: int, base: float = 50.0) -> list[float]:
    """Scores with exactly the mean ``base + mean`` and the sd ``spread``."""
    import numpy as np

    draws = np.random.default_rng(n).standard_normal(n)
    unit = (draws - draws.mean()) / draws.std(ddof=1) if n > 1 else np.zeros(n)
    return [float(value) for value in base + mean + spread * unit]


def flat(n: int, base: float = 50.0) -> list[float]:
    """n equal scores: the differences to it are the other arm's own."""
    return [base] * n


def reading(**changes: Any) -> Reading:
    """A reading that confirms an effect of 2, but for the changes."""
    values: dict[str, Any] = {"n": 5, "estimate": 2.0, "low": 1.0, "high": 3.0, "p_smaller": 1.0, "p": 0.01, "e": 9.0}
    values |= {"above": True, "below": False, "fragile": False, "sized": True}
    return Reading(**(values | changes))
