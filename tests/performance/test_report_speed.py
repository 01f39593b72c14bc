"""What a large report costs: 200 claims, 10,000 trials, 10 million metric rows, on whatever this machine has.

    python tests/performance/test_report_speed.py FOLDER     # writes store and site there and prints the times
    pytest tests/performance/test_report_speed.py -s         # the same, and what must not depend on the machine

The trials go through the owner as a run's would; the metrics, a table of ten million rows, are made by DuckDB itself.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.app.session import trial_row
from harness.judge import claim_rows
from harness.plan.planning import Plan, Selection, make_plan
from harness.results.reporting import Reported
from harness.stats import paired_t
from harness.store import Owner
from harness.store.events import ClaimsEvent, EnvironmentEvent, PlannedEvent, RunEvent, VerdictsEvent, read_event
from harness.suite import Suite, load_suite
from reports.site import write_site

BENCHMARKS, ARMS, SEEDS, STEPS = 20, 10, 50, 200
SERIES = ("train loss", "train learning_rate", "validation score", "train mechanism.share", "train mechanism.norm")
CLAIMS = BENCHMARKS * ARMS
RUN, JUDGED_AT = "20260304T050000-0a1b2c3d", "2026-03-04T05:06:07"
OWN_WEIGHT = 3 * 2**20
"""Bytes that a page may have beside the shared script."""


def write_suite(folder: Path) -> Suite:
    """Twenty benchmarks and ten arms of a known truth, two hundred claims."""
    arms = ["plain", *(f"ours-{number}" for number in range(ARMS - 1))]
    lines = ["suite: large", "title: A large suite", "seeds: {min: 3, max: 60}", "arms:"]
    for place, arm in enumerate(arms):
        role = "baseline" if place == 0 else "method" if place < 4 else "ablation"
        lines.append(
            f"  {arm}: {{role: {role}, optimizer: {{name: sgd, lr: 0.1}}, "
            f"set: {{noise_key: '{arm}', effect: {place / 4}}}}}"
        )
    lines.append("benchmarks:")
    for number in range(BENCHMARKS):
        metrics = "task: synthetic, metrics: {score: {unit: points, better: higher}}"
        mini = f"mini: {{data: {{name: nothing}}, model: {{name: scalar}}, recipe: {{steps: {20 + number}}}}}"
        named = f"benchmark: bench-{number}, title: 'Benchmark {number}'"
        lines.append(f"  bench-{number}: {{define: {{{named}, {metrics}, {mini}}}}}")
    facts, claims = ["facts:"], ["claims:"]
    for number in range(BENCHMARKS):
        for place in range(ARMS):
            arm = arms[1 + place % (ARMS - 1)]
            name = f"large-{number}-{place}"
            facts.append(
                f"  - {{id: {name}, suite: large, benchmark: b{number}, metric: score, unit: points, "
                f"better: higher, method: M{place}, baseline: Plain, published: {{difference: 1.0}}, "
                f"kind: difference, statement: 'M{place} is one point above Plain on benchmark {number}, as "
                f"table {place} of the paper has it.', source: 'table {place}'}}"
            )
            claims.append(
                f"  - {{id: {name}, benchmarks: [bench-{number}], arm: {arm}, against: [plain], mechanism: "
                f"{{metric: mechanism.share, arm: {arm}, op: '>=', value: 0.1}}}}"
            )
    path = folder / "large.yaml"
    path.write_text("\n".join([*lines, *facts, *claims]) + "\n", encoding="utf-8")
    return load_suite(path)


def fill(database: Path, suite: Suite, plan: Plan) -> None:
    """Every trial done, every claim judged by the paired t interval of its own numbers."""
    draw = random.Random(1)
    scores = {trial.trial_id: 50 + float(trial.spec.recipe["effect"]) + draw.gauss(0, 1) for trial in plan.trials}
    with Owner(database, RUN) as owner:
        info = {"python": "3.11", "cpu": "test", "cores": 2, "packages": {"torch": "2"}, "class": {"torch": "2"}}
        owner.record(EnvironmentEvent(environment_id="env-1", info=info))
        run = {
            "run_id": RUN,
            "suite": suite.name,
            "scale": plan.scale,
            "started_at": "2026-03-04T05:00:00",
            "finished_at": "2026-03-04T05:06:00",
            "status": "done",
            "git_commit": "0" * 40,
            "git_dirty": False,
            "command": "harness run large.yaml",
            "environment_id": "env-1",
            "spec": {"path": str(suite.path)},
        }
        owner.record(RunEvent(run=run))
        owner.record(ClaimsEvent(suite=suite.name, claims=claim_rows(suite)))
        links = [
            {"trial_id": one.trial_id, "benchmark": one.benchmark, "arm": one.arm, "reused": False}
            for one in plan.links
        ]
        rows = [trial_row(trial) for trial in plan.trials]
        owner.record(PlannedEvent(run_id=RUN, trials=rows, links=links))
        for trial in plan.trials:
            results = [
                {"split": "test", "metric": "score", "value": scores[trial.trial_id]},
                {"split": "train", "metric": "mechanism.share", "value": draw.random()},
            ]
            owner.record(
                read_event(
                    {
                        "v": 1,
                        "kind": "outcome",
                        "run_id": RUN,
                        "trial_id": trial.trial_id,
                        "status": "done",
                        "attempts": 1,
                        "wall_seconds": 2.0,
                        "peak_memory_mb": 300.0,
                        "device": "cpu",
                        "environment_id": "env-1",
                        "results": results,
                    }
                )
            )
        owner.record(VerdictsEvent(suite=suite.name, scale=plan.scale, **verdicts(suite, plan, scores)))
    _metrics(database)


def verdicts(suite: Suite, plan: Plan, scores: dict[str, float]) -> dict[str, list[dict[str, Any]]]:
    """Verdicts with their sides and gates, as far as a page reads them."""
    found: dict[str, list[dict[str, Any]]] = {"verdicts": [], "trials": [], "gates": []}
    for binding in suite.model.claims:
        benchmark, arm = binding.benchmarks[0], str(binding.arm)
        ours, theirs = plan.trial_ids(benchmark, arm), plan.trial_ids(benchmark, "plain")
        differences = {seed: scores[ours[seed]] - scores[theirs[seed]] for seed in ours}
        test = paired_t(list(differences.values()))
        base = {"claim_id": binding.id, "scale": plan.scale, "judged_at": JUDGED_AT}
        entry = {
            "benchmark": benchmark,
            "n": test.n,
            "difference": test.estimate,
            "low": test.low,
            "high": test.high,
            "differences": {str(seed): value for seed, value in differences.items()},
        }
        design = {
            "direction": 1,
            "metric": "score",
            "unit": "points",
            "benchmarks": [benchmark],
            "arm": arm,
            "against": ["plain"],
            "alpha": 0.05,
            "kappa": 0.5,
            "g": 2.0,
            "family": "secondary",
            "d_z": 0.3,
            "mde": 0.6,
            "relative_error_reduction": test.estimate / 50,
            "per_benchmark": [entry],
        }
        word = "direction confirmed" if test.low > 0 else "undecided"
        found["verdicts"].append(
            {
                **base,
                "n": test.n,
                "difference": test.estimate,
                "ci_low": test.low,
                "ci_high": test.high,
                "p": test.p,
                "adjusted_p": test.p,
                "verdict": word,
                "stand_in": ["recipe"],
                "sequential": False,
                "design": design,
            }
        )
        for side, ids in (("method", ours), ("baseline", theirs)):
            found["trials"] += [{**base, "trial_id": trial, "side": side} for trial in ids.values()]
        found["gates"].append(
            {
                "claim_id": binding.id,
                "scale": plan.scale,
                "metric": "mechanism.share",
                "arm": arm,
                "value": 0.5,
                "threshold": 0.1,
                "passed": True,
            }
        )
    return found


def _metrics(database: Path) -> None:
    """A thousand rows a trial, in the order in which trials end."""
    import duckdb

    rows = ", ".join(f"('{one.split()[0]}', '{one.split()[1]}')" for one in SERIES)
    with duckdb.connect(str(database)) as connection:
        connection.execute("SET threads = 2")
        connection.execute(
            "INSERT INTO metrics_with_deleted SELECT t.trial_id, s.split, s.name, k.step, k.step / 10.0, "
            "3 * exp(-k.step / 60.0) + (hash(t.trial_id) % 100) / 200.0, k.step * 0.01, NULL "
            f"FROM trials t CROSS JOIN (VALUES {rows}) s(split, name) CROSS JOIN range(1, {STEPS + 1}) k(step) "
            "ORDER BY t.trial_id"
        )
        connection.execute("CHECKPOINT")


def make(folder: Path) -> tuple[Path, Suite]:
    """The store, unless it is there, and its suite."""
    folder.mkdir(parents=True, exist_ok=True)
    suite, database = write_suite(folder), folder / "large.duckdb"
    if not database.exists():
        fill(database, suite, make_plan(suite, Selection(seeds=tuple(range(SEEDS)))))
    return database, suite


def measure(folder: Path) -> dict[str, float]:
    """Seconds and bytes of the site."""
    database, suite = make(folder)
    out = folder / "site"
    shutil.rmtree(out, ignore_errors=True)
    before, busy = time.perf_counter(), time.process_time()
    plan = make_plan(suite, Selection(seeds=tuple(range(SEEDS))))
    planned = time.perf_counter() - before
    before, busy = time.perf_counter(), time.process_time()
    write_site(database, [Reported(suite, plan)], out)
    found = {
        "plan seconds": planned,
        "write seconds": time.perf_counter() - before,
        "write processor seconds": time.process_time() - busy,
    }
    pages = sorted(out.rglob("*.html"), key=lambda path: path.stat().st_size)
    page = out / "suites" / "large" / "mini" / "index.html"
    found |= {
        "pages": len(pages),
        "suite page MB": page.stat().st_size / 2**20,
        "largest page MB": pages[-1].stat().st_size / 2**20,
    }
    return found | opened(page)


def opened(page: Path) -> dict[str, float]:
    """Seconds until Chromium has painted a page, loaded it and shows the forest plot; nothing without Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return {}
    from playwright.sync_api import sync_playwright

    found: dict[str, float] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for turn in ("first", "second"):
            visit = browser.new_page(viewport={"width": 1280, "height": 900})
            before = time.perf_counter()
            visit.goto(page.as_uri(), wait_until="load")
            found[f"{turn} load seconds"] = time.perf_counter() - before
            visit.wait_for_selector("a.f-line")
            found[f"{turn} forest seconds"] = time.perf_counter() - before
            painted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
            found[f"{turn} paint seconds"] = visit.evaluate(painted) / 1000
            visit.close()
        browser.close()
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_large_report_is_light_and_complete(tmp_path: Path) -> None:
    found = measure(tmp_path)
    print(json.dumps({name: round(value, 2) for name, value in found.items()}, indent=1))
    page = tmp_path / "site" / "suites" / "large" / "mini" / "index.html"
    assert page.stat().st_size < OWN_WEIGHT
    text = page.read_text(encoding="utf-8")
    assert text.count('<details class="claim"') == CLAIMS
    assert f"{BENCHMARKS * ARMS * SEEDS // 1000}\u202f000 done" in text
    for bench in (tmp_path / "site" / "suites" / "large" / "mini").glob("on-*.html"):
        assert bench.stat().st_size < OWN_WEIGHT


if __name__ == "__main__":
    print(json.dumps({name: round(value, 2) for name, value in measure(Path(sys.argv[1])).items()}, indent=1))
