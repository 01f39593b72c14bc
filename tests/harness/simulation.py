"""Whole-system simulation: suites whose truth is known, from plan to verdict, with fixed seeds and with added seeds.

``python tests/harness/simulation.py`` judges ten suites of four primary comparisons each (a true effect of Δ, of 0.25
Δ, none, and reversed) at the paper's scale, again and again with other noise, and prints how often verdicts are right
and what they cost. A few of the suites really run through ``harness run``; what they store must be what is simulated
for them.
"""

import json
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import click

from harness.errors import HarnessError
from harness.judge.bindings import claim_designs
from harness.judge.design import ClaimDesign
from harness.judge.evidence import Evidence, StoredTrial
from harness.judge.judging import judge_designs
from harness.judge.seeds import next_seeds, pending_of
from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite
from harness.trial.seeds import Streams
from harness.vocabulary import Verdict

SUITES, MINIMUM, CAP, LEVEL = 10, 3, 20, 50.0
SPREADS = {"quarter": 0.25, "half": 0.5}
"""sd of a paired difference, in Δ."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A comparison: its true effect in Δ, and the verdict that is right."""

    name: str
    share: float
    right: Verdict


TRUTHS = (
    Truth("effect", 1.0, Verdict.REPRODUCED),
    Truth("quarter", 0.25, Verdict.DIRECTION_ONLY),
    Truth("null", 0.0, Verdict.NOT_REPRODUCED),
    Truth("reversed", -1.0, Verdict.CONTRADICTED),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One suite in one repeat. Suites differ in Δ and in which way is better."""

    number: int
    repeat: int
    spread: float

    @property
    def delta(self) -> float:
        """The published effect, in the metric's unit."""
        return 0.5 * (self.number + 1)

    @property
    def sign(self) -> int:
        """+1 where higher is better."""
        return 1 if self.number % 2 == 0 else -1

    def task(self, truth: Truth, side: str) -> dict[str, Any]:
        """An arm's keys of the synthetic task; the two arms' own noise makes the sd of their difference."""
        effect = self.sign * truth.share * self.delta if side == "method" else 0.0
        own_sd = self.spread * self.delta / 2**0.5
        key = f"{self.number}/{self.repeat}/{truth.name}/{side}"
        return {"level": LEVEL, "pair_sd": 1.0, "effect": effect, "own_sd": own_sd, "noise_key": key}


def score(task: Mapping[str, Any], seed: int) -> float:
    """The score that the synthetic task reports on ``test`` (its formula, without curvature)."""
    streams = Streams(seed)
    shared = streams.numpy("evaluation", "test").standard_normal()
    own = streams.numpy("evaluation", "test", f"own/{task['noise_key']}").standard_normal()
    return float(task["level"] + task["effect"] + task["pair_sd"] * shared + task["own_sd"] * own)


def suite_text(case: Case) -> str:
    """The suite file of a case."""
    name = f"simulated-{case.number}"
    metric = {"unit": "percent", "better": "higher" if case.sign > 0 else "lower"}
    source = {"trust": "derived", "place": "simulation"}
    paper = {"data": {"name": "nothing"}, "model": {"name": "scalar"}, "recipe": {"steps": 1, "evaluations": 1}}
    sources = {"recipe.steps": source, "recipe.evaluations": source}
    define = {"task": "synthetic", "paper": paper, "metrics": {"score": metric}, "sources": sources}
    fact = {"suite": name, "metric": "score", "kind": "difference", **metric}
    fact["published"] = {"difference": case.sign * case.delta}
    suite: dict[str, Any] = {"suite": name, "title": name, "seeds": {"min": MINIMUM, "max": CAP}}
    suite |= {"arms": {}, "benchmarks": {}, "facts": [], "claims": []}
    for truth in TRUTHS:
        sides = {"method": f"{truth.name}-method", "baseline": f"{truth.name}-baseline"}
        for side, arm in sides.items():
            optimizer = {"name": "sgd", "lr": 0.1}
            suite["arms"][arm] = {"role": side, "optimizer": optimizer, "set": case.task(truth, side)}
        own = {"benchmark": truth.name, "title": truth.name, **define}
        suite["benchmarks"][truth.name] = {"arms": list(sides.values()), "define": own}
        statement = f"truth: {truth.share} of it"
        suite["facts"].append({"id": truth.name, "benchmark": truth.name, "statement": statement, **fact, **sides})
        claim = {"id": truth.name, "benchmarks": [truth.name], "primary": True}
        suite["claims"].append({**claim, "arm": sides["method"], "against": [sides["baseline"]]})
    return json.dumps(suite)


@lru_cache(maxsize=SUITES * 2)
def planned(number: int, spread: float) -> tuple[tuple[ClaimDesign, ...], tuple[ClaimDesign, ...]]:
    """Designs of a suite for added and for fixed seeds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "suite.yaml"
        path.write_text(suite_text(Case(number, 0, spread)), encoding="utf-8")
        suite = load_suite(path)
    plan = make_plan(suite, Selection(scale="paper", seeds=tuple(range(CAP))))
    sequential, fixed = (tuple(claim_designs(suite, plan, sequential=way)) for way in (True, False))
    return sequential, fixed


def evidence_of(case: Case, designs: Iterable[ClaimDesign]) -> dict[str, StoredTrial]:
    """The stored trials of a case."""
    records = {}
    for design in designs:
        truth = next(item for item in TRUTHS if item.name == design.claim_id)
        for side, arm in zip(("method", "baseline"), design.blocks[0].chain, strict=True):
            task = case.task(truth, side)
            for seed, trial in design.blocks[0].cells[arm].items():
                records[trial] = StoredTrial(trial, "done", "", {("test", "score"): score(task, seed)}, 1.0)
    return records


def cut(design: ClaimDesign, seeds: int) -> ClaimDesign:
    """The design of a plan that has only the first seeds."""
    (block,) = design.blocks
    cells = {arm: {seed: trial for seed, trial in cell.items() if seed < seeds} for arm, cell in block.cells.items()}
    return replace(design, blocks=(replace(block, cells=cells),))


class JudgedComparison(NamedTuple):
    """Verdict, pairs and estimate of a comparison."""

    verdict: str
    n: int
    difference: float


Judged = Mapping[str, JudgedComparison]
"""Comparisons of a suite by name."""


def judged(designs: Sequence[ClaimDesign], evidence: Evidence) -> Judged:
    """Verdicts from exactly the trials of the designs."""
    rows = [row for _, row in judge_designs(designs, evidence, {}, datetime.now(UTC).replace(tzinfo=None))]
    return {row.claim_id: JudgedComparison(row.verdict, row.n, row.difference or 0.0) for row in rows}


def buy(designs: Sequence[ClaimDesign], evidence: Evidence) -> Judged:
    """Seeds added by the policy to the end, then judged."""
    own = {design.blocks[0].benchmark: design.claim_id for design in designs}
    bought = {design.claim_id: MINIMUM for design in designs}
    while True:
        requested = [cut(design, bought[design.claim_id]) for design in designs]
        purchases = next_seeds(pending_of(requested, evidence, CAP))
        if not purchases:
            return judged(requested, evidence)
        for purchase in purchases:
            bought[own[purchase.benchmark]] += 1


def simulate(case: Case) -> tuple[Judged, Judged]:
    """One suite in one repeat: with added and with fixed seeds."""
    sequential, fixed = planned(case.number, case.spread)
    evidence = evidence_of(case, fixed)
    return buy(sequential, evidence), judged(fixed, evidence)


def really(case: Case, folder: Path, executor: str) -> list[str]:
    """Run a case through ``harness run``; return the differences from the simulation.

    The order of added seeds depends on measured seconds, so the simulation gets the pairs.
    """
    path = folder / f"simulated-{case.number}-{case.repeat}.yaml"
    path.write_text(suite_text(case), encoding="utf-8")
    options = f"--scale paper --seeds {MINIMUM}..{CAP} --executor {executor} --no-report --json"
    command = [sys.executable, "-m", "harness", "run", str(path), *shlex.split(options)]
    command += ["--db", str(path.with_suffix(".duckdb"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HarnessError(f"'harness run' of {path.name} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    (run,) = json.loads(done.stdout.strip().splitlines()[-1])["runs"]
    stored = {row["claim_id"]: row for row in run["verdicts"]}
    sequential, fixed = planned(case.number, case.spread)
    designs = [cut(design, stored[design.claim_id]["n"]) for design in sequential]
    expected = judged(designs, evidence_of(case, fixed))
    wrong = []
    for name, row in stored.items():
        verdict, _, difference = expected[name]
        if row["verdict"] != verdict:
            wrong.append(f"{path.stem}, {name}: '{row['verdict']}', simulated '{verdict}'")
        if abs(row["difference"] - difference) > 1e-9:
            wrong.append(f"{path.stem}, {name}: {row['difference']}, simulated {difference}")
        if row["stand_in"] or not MINIMUM <= row["n"] <= CAP:
            wrong.append(f"{path.stem}, {name}: {row['n']} pairs, stand-in for {row['stand_in']}")
    return wrong


@dataclass(slots=True)
class SimulationTable:
    """Verdicts and costs over suites."""

    suites: int = 0
    words: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    trials: Counter[str] = field(default_factory=Counter)
    false_suites: Counter[str] = field(default_factory=Counter)

    def add(self, suite: Mapping[str, Judged]) -> None:
        """One suite, judged by each design."""
        self.suites += 1
        for design, comparisons in suite.items():
            self.trials[design] += 2 * sum(comparison.n for comparison in comparisons.values())
            for name, comparison in comparisons.items():
                self.words.setdefault((name, design), Counter())[comparison.verdict] += 1
            false = any(comparisons[name].verdict == Verdict.REPRODUCED for name in ("null", "reversed"))
            self.false_suites[design] += false

    def shares(self, design: str) -> tuple[float, float, float]:
        """Shares of right, inconclusive and wrong verdicts."""
        total = self.suites * len(TRUTHS)
        right = sum(self.words[truth.name, design][truth.right] for truth in TRUTHS)
        every = sum((self.words[truth.name, design] for truth in TRUTHS), Counter[str]())
        inconclusive = sum(count for word, count in every.items() if Verdict.of(word) == Verdict.INCONCLUSIVE)
        return right / total, inconclusive / total, (total - right - inconclusive) / total

    def answered(self, design: str) -> float:
        """Share of comparisons with the right answer to "is it reproduced?".

        The right answer is yes for the true Δ alone. An inconclusive claim counts as no.
        """
        total = self.suites * len(TRUTHS)
        called = {truth.name: self.words[truth.name, design][Verdict.REPRODUCED] for truth in TRUTHS}
        yes = {truth.name for truth in TRUTHS if truth.right == Verdict.REPRODUCED}
        return sum(count if name in yes else self.suites - count for name, count in called.items()) / total

    @property
    def cost(self) -> float:
        """Trials with added seeds, as a share of those with fixed seeds."""
        return self.trials["sequential"] / self.trials["fixed"]

    def lines(self) -> list[str]:
        """As text."""
        message = [f"{'truth':<10}{'right verdict':<17}{'design':<12}verdicts"]
        for truth in TRUTHS:
            for design in ("sequential", "fixed"):
                words = self.words[truth.name, design].most_common()
                shares = ", ".join(f"{word} {100 * count / self.suites:.1f} %" for word, count in words)
                message.append(f"{truth.name:<10}{truth.right:<17}{design:<12}{shares}")
        message += [
            "",
            "right: the very word of the truth; yes/no: reproduced or not, an inconclusive claim counting as not",
            f"{'':<12}{'right':>8}{'inconclusive':>14}{'wrong':>8}{'yes/no':>9}{'trials':>9}"
            "  suites with a false reproduction",
        ]
        for design in ("sequential", "fixed"):
            right, inconclusive, wrong = (f"{100 * share:.1f} %" for share in self.shares(design))
            false = f"{100 * self.false_suites[design] / self.suites:.2f} %"
            answered = f"{100 * self.answered(design):.1f} %"
            counts = f"{right:>8}{inconclusive:>14}{wrong:>8}{answered:>9}{self.trials[design]:>9}"
            message.append(f"{design:<12}{counts}  {false}")
        return [*message, f"sequential seeds use {100 * self.cost:.1f} % of the trials of {CAP} fixed seeds"]


def tabulate(cases: Sequence[Case], processes: int, report: Callable[[str], None]) -> SimulationTable:
    """Simulate every case."""
    table = SimulationTable()
    with ProcessPoolExecutor(processes) as pool:
        judged_cases = pool.map(simulate, cases, chunksize=4) if processes > 1 else map(simulate, cases)
        for sequential, fixed in judged_cases:
            table.add({"sequential": sequential, "fixed": fixed})
            if table.suites % 100 == 0:
                report(f"{table.suites} of {len(cases)} suites")
    return table


@click.command(epilog="Example: python tests/harness/simulation.py --repeats 20 --sd half")
@click.option("--repeats", type=click.IntRange(1), default=200, show_default=True, help="Repeats of the ten suites.")
@click.option("--sd", type=click.Choice(list(SPREADS)), default=None, help="sd of a pair, in Δ.  [default: both]")
@click.option(
    "--real",
    type=click.IntRange(0, SUITES),
    default=3,
    show_default=True,
    help="Suites of the first repeat that really run: two on Ray, the rest in this process.",
)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, help="Simulate side by side.")
def main(repeats: int, sd: str | None, real: int, processes: int) -> None:
    """Judge suites whose truth is known; print right verdicts and cost."""
    for name in [sd] if sd else list(SPREADS):
        cases = [Case(number, repeat, SPREADS[name]) for repeat in range(repeats) for number in range(SUITES)]
        click.echo(f"\nsd of a paired difference: Δ/{1 / SPREADS[name]:.0f}; {repeats} × {SUITES} suites")
        with tempfile.TemporaryDirectory() as folder:
            for place, case in enumerate(cases[:real]):
                wrong = really(case, Path(folder), "ray" if place < 2 else "inline")
                if wrong:
                    raise HarnessError("the run differs from its simulation:\n" + "\n".join(wrong))
        if real:
            click.echo(f"{min(real, len(cases))} suites ran through 'harness run', as simulated")
        table = tabulate(cases, processes, lambda text: click.echo(text, err=True))
        click.echo("\n".join(table.lines()))


if __name__ == "__main__":
    main()
