"""From a suite's bindings to designs: which trials answer which claim."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness import registry
from harness.judge import fairness
from harness.judge.comparisons import cell_key, name_comparisons
from harness.judge.design import (
    ClaimDesign,
    DesignBlock,
    Estimand,
    Family,
    Mode,
    Multiplicity,
    Pairing,
    Question,
    StatisticalRules,
    Stop,
)
from harness.plan.imported import TASK
from harness.plan.planning import Plan, Trial
from harness.plan.programs import without_places
from harness.suite import Suite
from harness.suite.cells import Setting, content, setting
from harness.suite.models import Claim, Metric, PaperClaim, Threshold
from harness.trial.spec import TrialSpec
from harness.vocabulary import Verdict

UNJUDGED = ("provenance", "reference")
"""Kinds that are listed with their source, drawn as context, never judged."""

FLOORS = {"percent": 0.1, "bleu": 0.1, "ap": 0.1, "db": 0.05}
"""Smallest differences of interest by unit, where neither claim nor metric gives one (docs/verdicts.md)."""

RELATIVE_FLOORS = {"perplexity": 0.005}
RATIOS = re.compile(r"_(decay|growth)(\.|$)")
"""Metrics whose values are ratios: compared on logs, as times are."""
TIMES = frozenset({"seconds", "second", "s", "ms", "milliseconds", "minutes", "minute", "hours"})

Cells = Mapping[str, Mapping[int, str]]
"""arm → seed → trial_id, on one benchmark."""


def claim_designs(suite: Suite, plan: Plan, *, sequential: bool) -> list[ClaimDesign]:
    """A design for every evaluated claim, in paper order."""
    bindings = {binding.id: binding for binding in suite.model.claims}
    trials = {trial.trial_id: trial for trial in plan.trials}
    return name_comparisons(
        [
            DesignBuilder(suite, plan, trials, fact, bindings[name]).design(sequential)
            for name, fact in suite.facts.items()
            if fact.kind not in UNJUDGED and name in bindings
        ]
    )


@dataclass(frozen=True, slots=True)
class DesignBuilder:
    """One claim of a suite on the trials of a plan."""

    suite: Suite
    plan: Plan
    trials: Mapping[str, Trial]
    fact: PaperClaim
    binding: Claim

    def design(self, sequential: bool) -> ClaimDesign:
        """The claim's design; stopped where no trial can answer it."""
        binding, fact = self.binding, self.fact
        judging, seeds, question = self.suite.model.judge, self.suite.model.seeds, self._question()
        baselines = tuple(binding.baselines) if len(binding.baselines) == 2 else ()
        design = ClaimDesign(
            scale=self.plan.scale,
            question=question,
            pairing=Pairing(baselines, fact.unit.lower() in TIMES, binding.on_divergence, self._seeds_of_search()),
            estimand=Estimand(
                direction=fact.direction,
                metric=binding.metric or fact.metric,
                unit=fact.unit,
                delta=None if fact.effect is None else abs(fact.effect),
                m=binding.m,
                margin=binding.margin,
                target=fact.published.method,
                stated=fact.kind != "comparison",
            ),
            rules=StatisticalRules(
                **judging.model_dump(), seeds=(seeds.min, seeds.primary or seeds.min, seeds.max), sequential=sequential
            ),
            multiplicity=Multiplicity(self._family(question)),
            gates=tuple(binding.gates),
        )
        if binding.unbound is not None:
            return replace(_stopped(design, binding.unbound), question=replace(question, mode="none"))
        if binding.check is not None:
            return design
        if question.mode == "difference" and not question.against:
            return _stopped(design, "the binding names no arm to compare with ('against')")
        return self._with_blocks(design)

    def _seeds_of_search(self) -> int | None:
        tuned = self.suite.model.tuned
        repeated = self.binding.protocol == "tuned" and tuned is not None and tuned.decides
        return tuned.judged if tuned is not None and repeated else None

    def _family(self, question: Question) -> Family:
        """Keep near-certain claims out of the correction of score claims."""
        if self.binding.check is not None:
            return "identity"
        if question.mode == "absolute":
            return "absolute"
        if question.kind == "mechanism":
            return "mechanism"
        if question.kind == "intervention":
            return "intervention"
        if question.kind == "comparison" and self.suite.model.paper is not None:
            return "own"  # a user's question beside a paper's claims
        if self.binding.primary:
            return "primary"
        arms = {**self.suite.model.arms, **self.plan.arms}
        deciding = (self.binding.arm, *self.binding.deciding(self.fact.kind))
        ablated = any(arm in arms and arms[arm].role == "ablation" for arm in deciding)
        return "ablation" if ablated else "secondary"

    def _question(self) -> Question:
        binding, fact, scope = self.binding, self.fact, self.binding.scope
        deciding = binding.deciding(fact.kind)
        beside = dict.fromkeys((*binding.against[len(deciding) :], *binding.shown))
        mode: Mode = "absolute" if fact.kind == "absolute" and fact.published.method is not None else "difference"
        return Question(
            claim_id=fact.id,
            suite=self.suite.name,
            kind=fact.kind,
            mode="check" if binding.check is not None else mode,
            benchmarks=tuple(binding.benchmarks),
            arm=binding.arm,
            against=tuple(binding.against),
            others=tuple(beside),
            scope=f"at_least: {scope.at_least}" if isinstance(scope, Threshold) else scope,
            k=scope.at_least if isinstance(scope, Threshold) else None,
            order=binding.order or ("chain" if fact.kind == "ordering" else None),
            protocol=binding.protocol,
            domains=binding.domains,
            check=binding.check,
            note=binding.note,
        )

    def _with_blocks(self, design: ClaimDesign) -> ClaimDesign:
        blocks: dict[tuple[Any, ...], DesignBlock] = {}
        absent: list[str] = []
        for name in self.binding.benchmarks:
            base = self.plan.settings.get(name) or setting(self.suite, name, self.plan.scale)
            if base is None:
                absent.append(name)
                continue
            measured = self._metric(base)
            if measured is None:
                metric = design.estimand.metric
                return _stopped(design, f"the benchmark '{name}' has no metric '{metric}'; name one with 'metric:'")
            block = self._block(base, *measured, design)
            # equal for benchmarks that one stand-in serves: their arms are the same trials
            key = tuple(cell_key(block, arm) for arm in (*block.chain, *design.pairing.own_baselines))
            first = blocks.get(key)
            blocks[key] = block if first is None else replace(first, shares=(*first.shares, name))
        stand_in = tuple(dict.fromkeys(part for block in blocks.values() for part in block.stand_in))
        design = replace(design, blocks=tuple(blocks.values()), absent=tuple(absent), stand_in=stand_in)
        if not blocks:
            which = f"'{absent[0]}' has no" if len(absent) == 1 else f"none of {', '.join(absent)} has a"
            return _stopped(design, f"{which} block at the scale {self.plan.scale}")
        if design.is_stand_in and not self.binding.stand_in:
            reason = "the claim is about these very networks and data, which a stand-in does not have"
            return _stopped(replace(design, blocks=()), reason, Verdict.NOT_COMPARABLE)
        estimand, question = self._measured(design), design.question
        log_ratio = _on_logs(estimand)
        design = replace(design, estimand=estimand, pairing=replace(design.pairing, log_ratio=log_ratio))
        if question.k is not None and question.k > len(blocks):
            distinct = f"{len(blocks)} distinct benchmarks at the scale {self.plan.scale}"
            return _stopped(design, f"scope {question.scope} cannot be shown: {distinct}")
        return _with_margin(design)

    def _metric(self, base: Setting) -> tuple[str, Metric | None] | None:
        """Name and description of the measured metric: the claim's, else the benchmark's first."""
        name = self.binding.metric or self.fact.metric
        metrics = [self.suite.benchmarks[benchmark].model.metrics for benchmark in (base.served_by, base.benchmark)]
        for existing in metrics:
            if name in existing:
                return name, existing[name]
        if name.startswith("mechanism."):
            return name, None
        first = next(filter(None, metrics), None)
        return None if first is None or self.binding.metric is not None else next(iter(first.items()))

    def _block(self, base: Setting, name: str, metric: Metric | None, design: ClaimDesign) -> DesignBlock:
        question, fact = design.question, self.fact
        deciding = self.binding.deciding(fact.kind)
        chain = (str(self.binding.arm), *(() if question.mode == "absolute" else deciding))
        competent = base.competent.get(name)
        bar = competent if isinstance(competent, str) else None
        bars = () if bar is None else (bar,)
        needed = dict.fromkeys((*chain, *question.others, *design.pairing.own_baselines, *design.mechanism_arms, *bars))
        cells = {arm: self.plan.trial_ids(base.benchmark, arm) for arm in needed}
        unit, better = (fact.unit, fact.better) if metric is None else (metric.unit, metric.better)
        overrides = self.suite.benchmarks[base.benchmark].used.set
        unequal, invalid = self._fairness(cells, chain, design.pairing.own_baselines)
        stated, unpaired = self._stated(cells[chain[0]])
        stand_in = self._stand_in(base, cells)
        teacher_trials = self._teachers(cells, chain)
        # what is measured may be better the other way round than the paper's metric
        flipped = name != fact.metric and better != fact.better
        floor = metric.floor if metric is not None else None
        return DesignBlock(
            benchmark=base.benchmark,
            shares=(),
            metric=name,
            split=metric.split if metric is not None else None,
            better=better,
            unit=unit,
            direction=-fact.direction if flipped else fact.direction,
            chain=chain,
            best=question.order == "best",
            cells=cells,
            stand_in=stand_in,
            named=base.named(stand_in),
            floor=FLOORS.get(unit.lower()) if floor is None else floor,
            relative_floor=RELATIVE_FLOORS.get(unit.lower()),
            smallest=metric.smallest if metric is not None else None,
            relative_smallest=metric.relative_smallest if metric is not None else None,
            perfect=_perfect(metric),
            competent=None if isinstance(competent, str) else competent,
            bar=bar,
            trivial=metric.trivial if metric is not None else None,
            teacher="teacher" if teacher_trials else None,
            teacher_trials=teacher_trials,
            unequal=unequal,
            invalid=unpaired or invalid,
            stated=stated,
            deterministic=tuple(arm for arm in needed if self._deterministic(arm, metric)),
            resampled=self.plan.resampled(base.benchmark, (*chain, *design.pairing.own_baselines)),
            # equal for benchmarks whose trials are the same
            place=f"{base.served_by} {sorted(overrides.items())}" if overrides else base.served_by,
        )

    def _deterministic(self, arm: str, metric: Metric | None) -> bool:
        """True if an arm may give one score at every seed; what a mechanism's diagnostic measures may be exact."""
        arms = {**self.suite.model.arms, **self.plan.arms}
        return metric is None or metric.deterministic or (arm in arms and arms[arm].deterministic)

    def _fairness(
        self, cells: Cells, chain: tuple[str, ...], own_baselines: tuple[str, ...]
    ) -> tuple[tuple[str, ...], str | None]:
        """Differences of the first arm from the others, and a forbidding reason."""
        unequal: list[str] = []
        invalid: str | None = None
        upper = self._spec(cells[chain[0]])
        first, second = (self._spec(cells[arm]) for arm in own_baselines) if own_baselines else (None, None)
        own = (first, second) if first is not None and second is not None else None
        for arm in chain[1:]:
            lower = self._spec(cells[arm])
            if upper is not None and lower is not None and (upper.task == TASK) != (lower.task == TASK):
                ran, taken = (arm, chain[0]) if upper.task == TASK else (chain[0], arm)
                invalid = invalid or f"{ran} ran here and {taken} is imported: no pair is made of the two"
            elif upper is not None and lower is not None:
                differing, reason = fairness.compare(upper, lower, own)
                if upper == lower:
                    reason = f"the arms {chain[0]} and {arm} are one: they have the same content"
                if own is not None:  # each gain is a difference that has to be fair by itself
                    reason = reason or fairness.compare(upper, own[0])[1] or fairness.compare(lower, own[1])[1]
                unequal += [f"{arm}: {text}" if len(chain) > 2 else text for text in differing]
                invalid = invalid or reason
        return tuple(unequal), invalid

    def _stated(self, cell: Mapping[int, str]) -> tuple[str, str | None]:
        """A warning about a program's pairs, and a forbidding reason."""
        spec = self._spec(cell)
        if spec is None or not registry.entry("task", spec.task).metadata.program:
            return "", None
        if spec.recipe.get("paired") == "none":
            return (
                "",
                "the script's runs of equal seeds share nothing ('paired: none'), and unpaired runs are not judged",
            )
        return "paired by seed as the script states: what equal seeds share is not checked here", None

    def _spec(self, cell: Mapping[int, str]) -> TrialSpec | None:
        return self.trials[cell[min(cell)]].spec if cell else None

    def _teachers(self, cells: Cells, chain: tuple[str, ...]) -> tuple[str, ...]:
        """Teachers of the deciding arm whose baseline is the student alone."""
        if len(chain) < 2:
            return ()
        taught, alone = ([self.trials[trial].needs for trial in cells[arm].values()] for arm in chain[:2])
        if any("teacher" in needs for needs in alone):
            return ()
        return tuple(dict.fromkeys(needs["teacher"] for needs in taught if "teacher" in needs))

    def _stand_in(self, base: Setting, cells: Cells) -> tuple[str, ...]:
        """Differences from the paper, by the scale and by overrides."""
        parts = dict.fromkeys(base.stand_in)
        for arm, cell in cells.items():
            spec = self._spec(cell)
            if spec is None or arm not in self.plan.arms or spec.task == TASK:  # of an import nothing more is known
                continue
            own = content(base, self.plan.arms[arm])
            recipes = (without_places(own.recipe), without_places(spec.recipe))
            parts |= {"recipe": None} if recipes[0] != recipes[1] else {}
            parts |= {"model": None} if own.model != spec.model else {}
            if own.data != spec.data:
                parts.setdefault("data:real" if "data:generated" not in parts else "data:generated", None)
        return tuple(parts)

    def _measured(self, design: ClaimDesign) -> Estimand:
        """The estimand in the measured metric, which may differ from the paper's."""
        fact, estimand, blocks, gains = self.fact, design.estimand, design.blocks, design.pairing.own_baselines
        unit = blocks[0].unit if len({block.unit for block in blocks}) == 1 else "several units"
        metric = blocks[0].metric if len({block.metric for block in blocks}) == 1 else estimand.metric
        estimand = replace(estimand, metric=metric, unit=unit)
        own = [gains and block.unit == fact.unit and not block.metric.startswith("mechanism.") for block in blocks]
        if not all(block.metric == fact.metric or same for block, same in zip(blocks, own, strict=True)):
            return replace(estimand, direction=blocks[0].direction, delta=None)
        if not _on_logs(estimand):
            return estimand
        method, baseline = fact.published.method, fact.published.baseline
        if method is None or baseline is None or min(method, baseline) <= 0:
            return replace(estimand, delta=None)
        return replace(estimand, delta=abs(math.log(method / baseline)) or None)


def _on_logs(estimand: Estimand) -> bool:
    return estimand.unit.lower() in TIMES or RATIOS.search(estimand.metric) is not None


def _stopped(design: ClaimDesign, reason: str, verdict: Verdict = Verdict.NOT_RUN) -> ClaimDesign:
    return replace(design, stopped=Stop(verdict, reason))


def _perfect(metric: Metric | None) -> float | None:
    if metric is None or metric.perfect is not None:
        return None if metric is None else metric.perfect
    return 0.0 if metric.better == "lower" else 100.0 if metric.unit == "percent" else None


def _with_margin(design: ClaimDesign) -> ClaimDesign:
    """The design with its margin; at the paper's setting an effect below the floor is judged as ``no_worse``."""
    question, estimand = design.question, design.estimand
    floors = [block.floor for block in design.blocks if block.floor is not None]
    floor = min(floors) if len(floors) == len(design.blocks) else None
    if question.mode == "difference" and not design.is_stand_in and question.scope in ("each", "no_worse"):
        below = estimand.delta is not None and floor is not None and estimand.delta < floor and estimand.m is None
        if below and question.kind in ("difference", "mechanism"):
            question = replace(question, scope="no_worse")
            estimand = replace(estimand, margin=estimand.margin or floor)
    if question.scope != "no_worse":
        return design
    margin = estimand.margin if estimand.margin is not None else estimand.m if estimand.m is not None else floor
    design = replace(design, question=question, estimand=replace(estimand, margin=margin))
    if margin is None:
        return _stopped(design, "scope no_worse needs a 'margin' in the metric's unit", Verdict.INVALID)
    return design
