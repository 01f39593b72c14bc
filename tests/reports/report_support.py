"""A store as a run writes it, with verdicts of its numbers."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np

from harness import stats
from harness.app.session import trial_row
from harness.judge import claim_rows
from harness.judge.detail import finite
from harness.plan.planning import Plan, Selection, Trial, make_plan
from harness.results.current import Reported
from harness.store import Writer
from harness.store.events import (
    ClaimsEvent,
    EnvironmentEvent,
    LogEvent,
    PlannedEvent,
    RunEvent,
    SweepEvent,
    SweepPointEvent,
    VerdictsEvent,
    read_event,
)
from harness.suite import Suite, load_suite


@dataclass(frozen=True)
class Written:
    """A store and its site in both forms."""

    database: Path
    reported: Sequence[Reported]
    folder: Path
    single: Path

    def pages(self) -> list[Path]:
        """Every page of the folder."""
        return sorted(self.folder.rglob("*.html"))


JUDGED_AT = "2026-03-04T05:06:07"
RUN = "20260304T050000-0a1b2c3d"
HOSTILE = "<img src=x onerror=alert(1)>"
SCRIPT = "<script>alert(1)</script>"

SUITE = """
suite: demo
title: TITLE
paper: {title: A paper, authors: 'A. Author, B. Author', venue: Conf, year: 2024, arxiv: '2401.00001', url: 'https://example.org/p', code: 'javascript:alert(1)'}
seeds: {min: 5, max: 12}
arms:
  plain: {role: baseline, optimizer: {name: sgd, lr: 0.1}, set: {noise_key: plain}}
  other: {role: baseline, optimizer: {name: sgd, lr: 0.2}, set: {noise_key: other}}
  ours: {role: method, about: 'what the paper proposes', optimizer: {name: sgd, lr: 0.1}, set: {noise_key: ours, effect: 1.5}}
  momentum: {role: ablation, about: 'momentum 0.9', optimizer: {name: sgd, lr: 0.1, momentum: 0.9}, set: {noise_key: ours, effect: 1.5}}
  decay: {role: ablation, optimizer: {name: sgd, lr: 0.1, weight_decay: 0.001}, set: {noise_key: ours, effect: 1.5}}
  decay-momentum: {role: ablation, optimizer: {name: sgd, lr: 0.1, momentum: 0.9, weight_decay: 0.001}, set: {noise_key: ours, effect: 1.5}}
  ARM: {role: ablation, optimizer: {name: sgd, lr: 0.01}, set: {noise_key: ours, effect: 1.4}}
benchmarks:
  digits-known:
    define:
      benchmark: digits-known
      title: Known truth
      description: A score whose truth is known.
      task: synthetic
      metrics: {score: {unit: points, better: higher}, distance: {unit: m, better: lower, split: validation}}
      sources: {recipe.steps: {trust: published, place: 'section 4'}, recipe.own_sd: {trust: 'unknown: our choice', place: 'not stated'}}
      paper: {data: {name: nothing}, model: {name: scalar}, recipe: {steps: 200, own_sd: 0.3}}
      mini: {about: 'a tenth of the steps', recipe: {steps: 20}}
  BENCH:
    define:
      benchmark: BENCH
      title: TITLE
      task: synthetic
      metrics: {score: {unit: points, better: higher}}
      sources: {recipe.steps: {trust: published, place: 'section 4'}, recipe.own_sd: {trust: 'unknown: our choice', place: 'not stated'}}
      paper: {data: {name: nothing}, model: {name: scalar}, recipe: {steps: 300, own_sd: 0.4}}
      mini: {recipe: {steps: 30}}
facts:
  - {id: demo-gain, suite: demo, benchmark: known, model: Net, metric: score, unit: points, better: higher, method: Ours, baseline: Plain, published: {method: 51.5, baseline: 50, difference: 1.5}, kind: difference, statement: 'Ours is 1.5 points above Plain.', source: 'table 1'}
  - {id: demo-inactive, suite: demo, benchmark: known, metric: score, unit: points, better: higher, method: Ours, baseline: Other, published: {difference: 1.0}, kind: difference, statement: 'Ours is above Other.', source: 'table 2'}
  - {id: demo-tie, suite: demo, benchmark: second, metric: score, unit: points, better: higher, method: Ours, baseline: Plain, published: {computed_difference: 0.7}, kind: difference, statement: 'Ours is above Plain here too: SCRIPT', source: 'SCRIPT'}
  - {id: demo-unbound, suite: demo, benchmark: third, metric: score, unit: points, better: higher, method: Ours, baseline: Plain, published: {difference: 0.2}, kind: difference, statement: 'Ours is above Plain elsewhere.', source: 'table 3'}
  - {id: demo-files, suite: demo, benchmark: none, metric: flag, unit: boolean, better: higher, method: Ours, baseline: Paper, published: {}, kind: identity, statement: 'The released code clips where the paper does not.', source: 'optimizer.py'}
  - {id: demo-home, suite: demo, benchmark: none, metric: top1-accuracy, unit: percent, better: higher, method: Ours, baseline: '', published: {}, kind: provenance, statement: 'The code was released in 2024.', source: 'the page'}
claims:
  - {id: demo-gain, benchmarks: [digits-known], arm: ours, against: [plain, other], primary: true, mechanism: {metric: mechanism.share, arm: ours, op: '>=', value: 0.5}}
  - {id: demo-inactive, benchmarks: [digits-known], arm: ours, against: [other], mechanism: {metric: mechanism.share, arm: ours, op: '>=', value: 0.99}}
  - {id: demo-tie, benchmarks: [BENCH], arm: ours, against: [plain]}
  - {id: demo-unbound, unbound: 'the comparator is not built here'}
  - {id: demo-files, unbound: 'a check needs a module in suites.checks'}
  - {id: demo-home, unbound: 'a statement about files of others'}
"""  # noqa: E501

EFFECTS = {"plain": 0.0, "other": 0.4, "ours": 1.5, "momentum": 0.3, "decay": 1.2, "decay-momentum": 0.1}


def quoted(text: str) -> str:
    """A YAML scalar in single quotes."""
    return "'" + text.replace("'", "''") + "'"


def write_suite(folder: Path, *, arm: str = HOSTILE, bench: str = HOSTILE, title: str = SCRIPT) -> Suite:
    """The suite with names as a mischievous user would choose them."""
    text = dedent(SUITE).replace("SCRIPT", SCRIPT)
    for word, name in (("ARM", arm), ("BENCH", bench), ("TITLE", title)):
        text = text.replace(f" {word}", f" {quoted(name)}").replace(f"[{word}]", f"[{quoted(name)}]")
    path = folder / "demo.yaml"
    path.write_text(text, encoding="utf-8")
    return load_suite(path)


def plans(suite: Suite, scales: Iterable[str] = ("mini", "paper"), seeds: int = 5) -> list[Reported]:
    """The suite at scales."""
    return [Reported(suite, make_plan(suite, Selection(scale=scale, seeds=tuple(range(seeds))))) for scale in scales]


def value_of(trial: Trial, tie: bool) -> float:
    """A score that follows from the trial's names."""
    draw = random.Random(f"{trial.benchmark}{trial.seed}").gauss(0, 1)
    own = random.Random(f"{trial.benchmark}{trial.arm}{trial.seed}").gauss(0, 0.3)
    return 50 + draw + own + (0.0 if tie else EFFECTS.get(trial.arm, 1.4))


def outcome(trial: Trial, tie: bool, steps: int = 60) -> dict[str, Any]:
    """An outcome with a loss, a validation score and a mechanism."""
    score = value_of(trial, tie)
    at = list(range(1, steps + 1))
    loss = [3 * math.exp(-step / 20) + 0.02 * (trial.seed + 1) for step in at]
    share = 0.6 + 0.05 * EFFECTS.get(trial.arm, 1.4) + 0.004 * trial.seed
    item = {"epoch": [step / 10 for step in at], "elapsed_seconds": [0.01 * step for step in at], "step": at}
    return {
        "kind": "outcome",
        "run_id": RUN,
        "trial_id": trial.trial_id,
        "status": "done",
        "attempts": 1,
        "started_at": "2026-03-04T05:00:10",
        "wall_seconds": 2.5,
        "cpu_seconds": 2.4,
        "peak_memory_mb": 310.0,
        "device": "cpu",
        "environment_id": "env-1",
        "results": [
            {"split": "test", "metric": "score", "value": score},
            {"split": "validation", "metric": "distance", "value": loss[-1]},
            {"split": "train", "metric": "mechanism.share", "value": share},
        ],
        "series": [
            {"split": "train", "name": "loss", "value": loss, **item},
            {"split": "train", "name": "mechanism.share", "value": [share * step / steps for step in at], **item},
            {"split": "validation", "name": "score", "value": [score - 5 + 5 * step / steps for step in at], **item},
        ],
        "artifacts": [],
    }


def fill(database: Path, reported: Sequence[Reported], *, tie: str = HOSTILE, fail_one: bool = True) -> None:
    """Write runs, trials, verdicts and mechanism checks of the plans."""
    with Writer(database) as writer:
        info = {
            "python": "3.11.2",
            "cpu": "A processor",
            "cores": 2,
            "memory_gb": 8,
            "gpu": "",
            "packages": {"torch": "2.14.1", "numpy": "2.4.0"},
            "class": {"torch": "2.14.1"},
        }
        writer.record(EnvironmentEvent(environment_id="env-1", info=info))
        for item in reported:
            _run(writer, item, tie, fail_one)
            _beside(writer, item)
            _judge(writer, item, tie)
        _sweep(writer)
        writer.flush()


def record_run(writer: Writer, suite: Suite, plan: Plan, run: str, environment: str, command: str) -> None:
    """A finished run of a plan: its row, the claims, the planned trials."""
    row = {
        "run_id": run,
        "suite": suite.name,
        "scale": plan.scale,
        "started_at": "2026-03-04T05:00:00",
        "finished_at": "2026-03-04T05:05:00",
        "status": "done",
        "git_commit": "0123456789abcdef",
        "git_dirty": True,
        "command": command,
        "environment_id": environment,
        "spec": {"path": str(suite.path)},
    }
    writer.record(RunEvent(run=row))
    writer.record(ClaimsEvent(suite=suite.name, claims=claim_rows(suite)))
    links = [
        {"trial_id": link.trial_id, "benchmark": link.benchmark, "arm": link.arm, "reused": False}
        for link in plan.links
    ]
    writer.record(PlannedEvent(run_id=run, trials=[trial_row(trial) for trial in plan.trials], links=links))


def _run(writer: Writer, item: Reported, tie: str, fail_one: bool) -> None:
    run = f"{RUN}-{item.plan.scale}"
    record_run(writer, item.suite, item.plan, run, "env-1", "harness run demo --exclusive")
    for trial in item.plan.trials:
        event = outcome(trial, trial.benchmark == tie)
        event["artifacts"] = left_behind(trial, writer.paths.database.parent / "artifacts")
        if fail_one and trial.arm == "other" and trial.seed == 4:
            event |= {"status": "diverged", "results": [], "series": [], "error": f"loss is nan at step 7 {SCRIPT}"}
        writer.record(read_event({"v": 1, **event}))


def _beside(writer: Writer, item: Reported) -> None:
    """A determinism check, joules of every trial, and an added seed."""
    run = f"{RUN}-{item.plan.scale}"
    twice = next(trial for trial in item.plan.trials if trial.arm == "plain")
    detail = {
        "trial_id": twice.trial_id,
        "label": twice.label,
        "status": "done",
        "numbers": 3,
        "differing": [],
        "equal": True,
        "results": [],
    }
    writer.record(LogEvent(run_id=run, event_kind="determinism", detail=detail))
    for trial in item.plan.trials:
        joules = {"cpu": 30.0 + len(trial.arm)}
        writer.record(LogEvent(run_id=run, event_kind="energy", detail={"trial_id": trial.trial_id, "joules": joules}))
    added = {
        "claim_id": "demo-gain",
        "benchmark": "digits-known",
        "arms": ["plain", "ours"],
        "seed": 4,
        "reason": f"unresolved after 4 pairs {SCRIPT}",
    }
    writer.record(LogEvent(run_id=run, event_kind="seed-bought", detail=added))


def left_behind(trial: Trial, folder: Path) -> list[dict[str, Any]]:
    """Per-item outputs, translations and a picture, as tasks leave them; nothing of other arms than two."""
    if trial.arm not in ("plain", "ours") or trial.benchmark != "digits-known":
        return []
    from PIL import Image

    own = folder / trial.trial_id
    own.mkdir(parents=True, exist_ok=True)
    label = np.arange(20) % 3
    text = np.where(np.arange(20) < 4 + trial.seed, (label + 1) % 3, label)
    np.savez(
        own / "items.npz", item=np.arange(20), label=label, predicted=text, classes=np.array(["cat", SCRIPT, "ox"])
    )
    rows = [
        {"source": f"ein Satz {SCRIPT}", "reference": "a sentence", "translation": f"{trial.arm} says", "chrf": 51.5}
    ]
    (own / "translations.json").write_text(json.dumps(rows))
    Image.new("RGB", (24, 16), (trial.seed * 40, 90, 120)).save(own / "neighbours.png")
    return [
        {"name": "items", "kind": "npz", "path": str(own / "items.npz"), "caption": "per item"},
        {"name": "translations", "kind": "samples", "path": str(own / "translations.json"), "caption": "sentences"},
        {"name": "neighbours", "kind": "picture", "path": str(own / "neighbours.png"), "caption": f"rows {SCRIPT}"},
    ]


def _judge(writer: Writer, item: Reported, tie: str) -> None:
    verdicts: list[dict[str, Any]] = []
    sides: list[dict[str, Any]] = []
    gates: list[dict[str, Any]] = []
    for binding in item.suite.model.claims:
        base = {"claim_id": binding.id, "scale": item.plan.scale, "judged_at": JUDGED_AT}
        if binding.id == "demo-files":  # as the judge stores an identity; checks come with shipped suites only
            check = {
                "name": "demo_check",
                "ours": 1.25,
                "theirs": 1.5,
                "tolerance": 0.5,
                "unit": "points",
                "relation": "equal",
            }
            verdicts.append(
                {
                    **base,
                    "n": 0,
                    "difference": -0.25,
                    "verdict": "holds",
                    "design": {"kind": "identity", "mode": "check", "check": check, "reason": "both were computed"},
                }
            )
            continue
        if binding.unbound is not None:
            verdicts.append({**base, "n": 0, "verdict": "not run", "design": {"reason": binding.unbound}})
            continue
        benchmark, against = binding.benchmarks[0], binding.against[0]
        method, baseline = (scores(item.plan, benchmark, str(arm), tie) for arm in (binding.arm, against))
        differences = {seed: method[seed][1] - baseline[seed][1] for seed in method if seed in baseline}
        gate = binding.mechanism if not isinstance(binding.mechanism, list) else None
        passed = gate is None or gate.value < 0.9
        if gate is not None:
            gates.append(
                {
                    "claim_id": binding.id,
                    "scale": item.plan.scale,
                    "metric": gate.metric,
                    "arm": gate.arm,
                    "value": 0.683,
                    "threshold": gate.value,
                    "passed": passed,
                }
            )
        published = {
            **base,
            **verdict(item, benchmark, differences, passed, binding.primary, str(binding.arm), list(binding.against)),
        }
        fact = item.suite.facts[binding.id]
        readings = [] if gate is None else [{**gates[-1], "benchmark": benchmark, "op": gate.op}]
        published["design"] |= {
            "claim_id": binding.id,
            "kind": fact.kind,
            "delta": None if fact.effect is None else abs(fact.effect),
            "gate_readings": readings,
        }
        if binding.id == "demo-gain":
            verdicts.append(tuned(published))
            published["design"]["rate_curve"] = RATES
        verdicts.append(published)
        for side, chosen in (("method", method), ("baseline", baseline)):
            sides += [{**base, "trial_id": chosen[seed][0], "side": side} for seed in differences]
    writer.record(
        VerdictsEvent(suite=item.suite.name, scale=item.plan.scale, verdicts=verdicts, trials=sides, gates=gates)
    )


RATES = [
    {
        "factor": factor,
        "rates": {"digits-known": {"ours": rate, "plain": rate}},
        "n": 3,
        "difference": difference,
        "low": difference - 1.0,
        "high": difference + 1.0,
        "holds": difference > 1,
        "reason": None,
        "measured": True,
        "diverged": 0,
        "trials": {},
    }
    for factor, rate, difference in ((1 / 3, 0.033, 0.2), (1.0, 0.1, 1.5), (3.0, 0.3, 2.5))
]


def tuned(published: dict[str, Any]) -> dict[str, Any]:
    """The claim's verdict under the tuned protocol: nothing is left of the effect."""
    search = {
        "sweep_id": "sweep-1",
        "budget": 8,
        "seeds": 1,
        "told": {"ours": 8, "plain": 8},
        "chosen": {"ours": {"optimizer.lr": 0.1}, "plain": {"optimizer.lr": 0.3}},
        "ends": {"plain": {"optimizer.lr": "largest"}},
    }
    design = {**published["design"], "protocol": "tuned", "tuning": {"digits-known": search}}
    return {
        **published,
        "protocol": "tuned",
        "verdict": "inconclusive",
        "difference": 0.125,
        "ci_low": -0.5,
        "ci_high": 0.75,
        "adjusted_p": 0.4,
        "design": design,
    }


def scores(plan: Plan, benchmark: str, arm: str, tie: str) -> dict[int, tuple[str, float]]:
    """Trial and score of a cell by seed; seed 4 of ``other`` diverged."""
    by_id = {trial.trial_id: trial for trial in plan.trials}
    return {
        seed: (result, value_of(by_id[result], by_id[result].benchmark == tie))
        for seed, result in plan.trial_ids(benchmark, arm).items()
        if not (arm == "other" and seed == 4)
    }


def verdict(
    item: Reported,
    benchmark: str,
    differences: dict[int, float],
    passed: bool,
    primary: bool,
    arm: str,
    against: list[str],
) -> dict[str, Any]:
    """A verdict's row by the rules of the judge, simplified."""
    values = list(differences.values())
    result, effect = stats.paired_t(values), stats.effect_size_interval(values)
    stand_in = list(item.plan.settings[benchmark].stand_in)
    confirmed = "direction confirmed" if stand_in else "reproduced"
    word = "inactive" if not passed else confirmed if result.p <= 0.05 and result.low > 0 else "inconclusive"
    entry = {
        "benchmark": benchmark,
        "n": result.n,
        "difference": result.estimate,
        "low": finite(result.low),
        "high": finite(result.high),
        "differences": {str(seed): value for seed, value in differences.items()},
    }
    design = {
        "direction": 1,
        "metric": "score",
        "unit": "points",
        "benchmarks": [benchmark],
        "arm": arm,
        "against": against,
        "alpha": 0.05,
        "kappa": 0.5,
        "g": 2.0,
        "family": "primary" if primary else "secondary",
        "d_z": effect.estimate,
        "d_z_low": finite(effect.low),
        "d_z_high": finite(effect.high),
        "level": 0.025,
        "mechanism": "acted" if passed else "did not act",
        "mde": stats.minimum_detectable_effect(values),
        "seeds_needed": 9,
        "seeds_won": sum(value > 0 for value in values),
        "sign_flip_p": stats.sign_flip_p(values),
        "relative_error_reduction": result.estimate / 50,
        "per_benchmark": [entry],
        "missing": 0,
        "failed": 0,
        "diverged": 0,
        "shown": [
            {"benchmark": benchmark, "against": other, "n": 4, "difference": 1.1, "low": 0.4, "high": 1.8}
            for other in against[1:]
        ],
    }
    return {
        "n": result.n,
        "difference": result.estimate,
        "ci_low": result.low,
        "ci_high": result.high,
        "p": result.p if passed else None,
        "adjusted_p": min(1.0, 2 * result.p) if passed else None,
        "e_value": None,
        "verdict": word,
        "stand_in": stand_in,
        "sequential": False,
        "design": design,
    }


def _sweep(writer: Writer) -> None:
    """A finished random sweep of two arms at mini."""
    draw = random.Random(7)
    lrs = [10 ** draw.uniform(-4, 0) for _ in range(8)]
    values = {arm: [60 + top - (math.log10(lr) + 1.5) ** 2 for lr in lrs] for arm, top in (("plain", 0), ("ours", 1))}
    best = {arm: max(range(8), key=own.__getitem__) for arm, own in values.items()}
    curve = {
        arm: {
            "budget": list(range(1, 9)),
            "expected": [stats.expected_best(own, b) for b in range(1, 9)],
            "low": [min(own)] * 8,
            "high": [max(own)] * 7 + [float("inf")],
        }
        for arm, own in values.items()
    }
    spec = {
        "metric": "score",
        "better": "higher",
        "pruner": "none",
        "seeds": 1,
        "equal": True,
        "curves": curve,
        "told": {"plain": 8, "ours": 8},
        "importances": {"ours": {"optimizer.lr": 0.9, "optimizer.momentum": 0.1}},
        "differences": {"ours − plain": [1.0] * 8},
        "chosen": {
            arm: {"number": best[arm], "params": {"optimizer.lr": lrs[best[arm]]}, "value": max(values[arm])}
            for arm in values
        },
    }
    row = {
        "sweep_id": "sweep-1",
        "suite": "demo",
        "benchmark": "digits-known",
        "arms": ["plain", "ours"],
        "sampler": "random",
        "budget": 8,
        "scale": "mini",
        "status": "done",
        "started_at": "2026-03-04T04:00:00",
        "spec": spec,
    }
    writer.record(SweepEvent(row=row))
    for arm, own in values.items():
        for number, value in enumerate(own):
            point = {
                "sweep_id": "sweep-1",
                "arm": arm,
                "number": number,
                "params": {"optimizer.lr": lrs[number]},
                "value": value,
                "status": "told",
                "trial_ids": [],
            }
            writer.record(SweepPointEvent(row=point))
