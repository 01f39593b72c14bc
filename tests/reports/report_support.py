"""A store as a run writes it, with verdicts of its numbers."""

import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from textwrap import dedent

import numpy as np

from harness import stats
from harness.app.session import planned_trials
from harness.execute.outcome import Outcome
from harness.judge import Judgement, claim_rows, judge, record_judgement
from harness.judge.detail import RateEntry, TunedSearch, from_json
from harness.judge.seeds import AddedSeeds
from harness.plan.planning import Plan, Selection, Trial, make_plan
from harness.results.current import Reported
from harness.store import Writer, events, open_reader
from harness.suite import Suite, load_suite
from harness.trial.result import Artifact, MetricSeries, Score
from harness.vocabulary import Status


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


JUDGED_AT = datetime(2026, 3, 4, 5, 6, 7)
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


def finished(trial: Trial, environment: str, results: Iterable[Score], series: Iterable[MetricSeries]) -> Outcome:
    """The outcome of a trial that ended well."""
    return Outcome(
        trial.trial_id,
        Status.DONE,
        attempts=1,
        started_at="2026-03-04T05:00:10",
        environment_id=environment,
        device="cpu",
        results=tuple(results),
        series=tuple(series),
        wall_seconds=2.5,
        cpu_seconds=2.4,
        peak_memory_mb=310.0,
    )


def outcome(trial: Trial, tie: bool, steps: int = 60) -> Outcome:
    """An outcome with a loss, a validation score and a mechanism."""
    score = value_of(trial, tie)
    at = list(range(1, steps + 1))
    loss = [3 * math.exp(-step / 20) + 0.02 * (trial.seed + 1) for step in at]
    share = 0.6 + 0.05 * EFFECTS.get(trial.arm, 1.4) + 0.004 * trial.seed
    results = ("test", "score", score), ("validation", "distance", loss[-1]), ("train", "mechanism.share", share)
    curves = {
        ("train", "loss"): loss,
        ("train", "mechanism.share"): [share * step / steps for step in at],
        ("validation", "score"): [score - 5 + 5 * step / steps for step in at],
    }
    epochs, seconds = [step / 10 for step in at], [0.01 * step for step in at]
    series = (MetricSeries(*names, at, epochs, values, seconds) for names, values in curves.items())
    return finished(trial, "env-1", (Score(*result) for result in results), series)


def fill(database: Path, reported: Sequence[Reported], *, tie: str = HOSTILE, fail_one: bool = True) -> None:
    """Write runs, trials, verdicts and mechanism checks of the plans."""
    with Writer(database) as writer:
        packages = {"packages": {"torch": "2.14.1", "numpy": "2.4.0"}, "class": {"torch": "2.14.1"}}
        computer = {"python": "3.11.2", "cpu": "A processor", "cores": 2, "memory_gb": 8, "gpu": ""}
        writer.record(events.EnvironmentEvent(environment_id="env-1", info=computer | packages))
        for item in reported:
            _run(writer, item, tie, fail_one)
            _beside(writer, item)
        _sweep(writer)
        writer.flush()
    for item in reported:
        with open_reader(database) as reader:
            judgement = judge(item.suite, item.plan, reader, judged_at=JUDGED_AT)
        with Writer(database) as writer:
            record_judgement(writer.record, item.suite.name, item.plan.scale, completed(judgement))
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
    writer.record(events.RunEvent(run=row))
    writer.record(events.ClaimsEvent(suite=suite.name, claims=claim_rows(suite)))
    names = ("trial_id", "benchmark", "arm")
    links = [{name: getattr(link, name) for name in names} | {"reused": False} for link in plan.links]
    writer.record(planned_trials(run, plan.trials, links))


def _run(writer: Writer, item: Reported, tie: str, fail_one: bool) -> None:
    run = f"{RUN}-{item.plan.scale}"
    record_run(writer, item.suite, item.plan, run, "env-1", "harness run demo --exclusive")
    for trial in item.plan.trials:
        artifacts = left_behind(trial, writer.paths.database.parent / "artifacts")
        ended = replace(outcome(trial, trial.benchmark == tie), artifacts=artifacts)
        if fail_one and trial.arm == "other" and trial.seed == 4:
            error = f"loss is nan at step 7 {SCRIPT}"
            ended = replace(ended, status=Status.DIVERGED, results=(), series=(), error=error)
        writer.record(events.OutcomeEvent(ended, RUN))


def _beside(writer: Writer, item: Reported) -> None:
    """A determinism check, joules of every trial, and an added seed."""
    run = f"{RUN}-{item.plan.scale}"
    twice = next(trial for trial in item.plan.trials if trial.arm == "plain")
    equal = {"status": "done", "numbers": 3, "differing": [], "equal": True, "results": []}
    writer.record(events.LogEvent("determinism", {"trial_id": twice.trial_id, "label": twice.label, **equal}, run))
    for trial in item.plan.trials:
        joules = {"cpu": 30.0 + len(trial.arm)}
        writer.record(events.LogEvent("energy", {"trial_id": trial.trial_id, "joules": joules}, run))
    added = AddedSeeds("demo-gain", "digits-known", ("plain", "ours"), 4, 0.1, ((SCRIPT, 0.05),), n=4)
    writer.record(added.as_event(run))


def left_behind(trial: Trial, folder: Path) -> tuple[Artifact, ...]:
    """Per-item outputs, translations and a picture, as tasks leave them; nothing of other arms than two."""
    if trial.arm not in ("plain", "ours") or trial.benchmark != "digits-known":
        return ()
    from PIL import Image

    own = folder / trial.trial_id
    own.mkdir(parents=True, exist_ok=True)
    label = np.arange(20) % 3
    text = np.where(np.arange(20) < 4 + trial.seed, (label + 1) % 3, label)
    classes = np.array(["cat", SCRIPT, "ox"])
    np.savez(own / "items.npz", item=np.arange(20), label=label, predicted=text, classes=classes)
    row = {"source": f"ein Satz {SCRIPT}", "reference": "a sentence", "translation": f"{trial.arm} says", "chrf": 51.5}
    (own / "translations.json").write_text(json.dumps([row]))
    Image.new("RGB", (24, 16), (trial.seed * 40, 90, 120)).save(own / "neighbours.png")
    return (
        Artifact("items", "npz", own / "items.npz", "per item"),
        Artifact("translations", "samples", own / "translations.json", "sentences"),
        Artifact("neighbours", "picture", own / "neighbours.png", f"rows {SCRIPT}"),
    )


RATES = tuple(
    RateEntry(
        factor=factor,
        rates={"digits-known": {"ours": rate, "plain": rate}},
        n=3,
        difference=difference,
        low=difference - 1.0,
        high=difference + 1.0,
        holds=difference > 1,
        reason=None,
        measured=True,
        diverged=0,
    )
    for factor, rate, difference in ((1 / 3, 0.033, 0.2), (1.0, 0.1, 1.5), (3.0, 0.3, 2.5))
)
SEARCH = TunedSearch(
    sweep_id="sweep-1",
    budget=8,
    seeds=1,
    told={"ours": 8, "plain": 8},
    chosen={"ours": {"optimizer.lr": 0.1}, "plain": {"optimizer.lr": 0.3}},
    ends={"plain": {"optimizer.lr": "largest"}},
)
CHECK = {"name": "demo_check", "ours": 1.25, "theirs": 1.5, "tolerance": 0.5, "unit": "points", "relation": "equal"}
"""Checks come with shipped suites only."""


def completed(judgement: Judgement) -> Judgement:
    """Add a checked identity and a tuned protocol that loses the effect."""
    rows = {row.claim_id: row for row in judgement.verdicts}
    gain, files = rows["demo-gain"], rows["demo-files"]
    question = replace(gain.detail.question, protocol="tuned")
    tuning = replace(gain.detail, question=question, tuning={"digits-known": (SEARCH,)})
    numbers = {"difference": 0.125, "ci_low": -0.5, "ci_high": 0.75, "adjusted_p": 0.4}
    tuned = replace(gain, protocol="tuned", verdict="inconclusive", detail=tuning, **numbers)
    rows["demo-gain"] = replace(gain, detail=replace(gain.detail, rate_curve=RATES))
    identity = from_json({"kind": "identity", "mode": "check", "check": CHECK, "reason": "both were computed"})
    rows["demo-files"] = replace(files, verdict="holds", difference=-0.25, detail=identity)
    return replace(judgement, verdicts=(tuned, *rows.values()))


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
    chosen = {
        arm: {"number": at, "params": {"optimizer.lr": lrs[at]}, "value": values[arm][at]} for arm, at in best.items()
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
        "chosen": chosen,
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
    writer.record(events.SweepEvent(row=row))
    for arm, own in values.items():
        for number, value in enumerate(own):
            point = {"sweep_id": "sweep-1", "arm": arm, "number": number, "params": {"optimizer.lr": lrs[number]}}
            writer.record(events.SweepPointEvent(row={**point, "value": value, "status": "told", "trial_ids": []}))
