"""From a suite's bindings to frames: which trials answer which claim, and which claims share one test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.judge import fairness
from harness.judge.frame import Block, Frame, GateRule
from harness.plan.planning import Plan, Trial
from harness.suite import Suite
from harness.suite.cells import Setting, content, setting
from harness.suite.models import Binding, Fact, Gate, Metric, Threshold

UNJUDGED = ("provenance", "reference")
"""Kinds that are listed with their source, drawn as context, never judged."""

FLOORS = {"percent": 0.1, "bleu": 0.1, "ap": 0.1, "db": 0.05}
"""Smallest differences of interest by unit, where neither claim nor metric gives one (statistics.md)."""

RELATIVE_FLOORS = {"perplexity": 0.005}
TIMES = frozenset({"seconds", "second", "s", "ms", "milliseconds", "minutes", "minute", "hours"})


def frames_of(suite: Suite, plan: Plan, *, sequential: bool) -> list[Frame]:
    """A frame for every claim that gets a verdict, in the order of the facts, with contrasts and families named."""
    bindings = {binding.id: binding for binding in suite.model.claims}
    trials = {trial.trial_id: trial for trial in plan.trials}
    frames = [
        _frame(suite, plan, trials, fact, bindings[name], sequential)
        for name, fact in suite.facts.items()
        if fact.kind not in UNJUDGED and name in bindings
    ]
    return name_contrasts(frames)


def _frame(
    suite: Suite, plan: Plan, trials: Mapping[str, Trial], fact: Fact, binding: Binding, sequential: bool
) -> Frame:
    judging, seeds = suite.model.judge, suite.model.seeds
    scope = binding.scope
    against = tuple(binding.against)
    ordering = fact.kind == "ordering"
    frame = Frame(
        claim_id=fact.id, suite=suite.name, scale=plan.scale, kind=fact.kind, mode=_mode(fact, binding),
        direction=fact.direction, metric=binding.metric or fact.metric, unit=fact.unit,
        benchmarks=tuple(binding.benchmarks), arm=binding.arm, against=against,
        own_baselines=tuple(binding.baselines) if len(binding.baselines) == 2 else (),
        scope=f"at_least: {scope.at_least}" if isinstance(scope, Threshold) else scope,
        k=scope.at_least if isinstance(scope, Threshold) else None,
        order=(binding.order or "chain") if ordering else None,
        alpha=judging.alpha, kappa=judging.kappa, g=judging.g, delta=None if fact.effect is None else abs(fact.effect),
        m=binding.m, margin=binding.margin, target=fact.published.method, log_ratio=fact.unit.lower() in TIMES,
        on_divergence=binding.on_divergence, protocol=binding.protocol,
        family="identity" if binding.check is not None else "primary" if binding.primary else "secondary",
        tolerated_failures=judging.tolerated_failures, stand_in_smallest_sd=judging.stand_in_smallest_sd,
        seeds=(seeds.min, seeds.primary or seeds.min, seeds.max), sequential=sequential,
        gates=tuple(
            GateRule(one.metric, one.arm, one.relative_to, one.minus, one.op, one.value) for one in gates_of(binding)
        ),
        others=() if ordering else against[1:], check=binding.check, note=binding.note, domains=binding.domains,
    )  # fmt: skip
    if binding.unbound is not None:
        return replace(frame, mode="none", stopped=("not run", binding.unbound))
    if binding.check is not None:
        return frame
    if frame.mode == "difference" and not against:
        return replace(frame, stopped=("not run", "the binding names no arm to compare with ('against')"))
    return _with_blocks(suite, plan, trials, fact, binding, frame)


def gates_of(binding: Binding) -> list[Gate]:
    """The gates of a binding."""
    found = binding.mechanism
    return list(found) if isinstance(found, list) else [] if found is None else [found]


def _mode(fact: Fact, binding: Binding) -> Any:
    if binding.check is not None:
        return "check"
    return "absolute" if fact.kind == "absolute" and fact.published.method is not None else "difference"


def _with_blocks(
    suite: Suite, plan: Plan, trials: Mapping[str, Trial], fact: Fact, binding: Binding, frame: Frame
) -> Frame:
    blocks: dict[tuple[Any, ...], Block] = {}
    absent: list[str] = []
    stand_in: dict[str, None] = {}
    for name in binding.benchmarks:
        base = plan.settings.get(name) or setting(suite, name, plan.scale)
        if base is None:
            absent.append(name)
            continue
        measured = _metric(suite, base, fact, binding)
        if measured is None:
            reason = f"the benchmark '{name}' has no metric '{frame.metric}'; name one with 'metric:'"
            return replace(frame, stopped=("not run", reason))
        block = _block(suite, plan, trials, base, measured, fact, binding, frame)
        key = _signature(frame, block)
        if key in blocks:
            first = blocks[key]
            blocks[key] = replace(first, shares=(*first.shares, name))
            continue
        blocks[key] = block
        stand_in.update(dict.fromkeys(block.stand_in))
    frame = replace(frame, blocks=tuple(blocks.values()), absent=tuple(absent), stand_in=tuple(stand_in))
    if not blocks:
        return replace(frame, stopped=("not run", _absence(plan, absent)))
    direction, metric, unit, delta = _measured(fact, list(blocks.values()), frame)
    frame = replace(
        frame, direction=direction, metric=metric, unit=unit, delta=delta, log_ratio=unit.lower() in TIMES
    )  # fmt: skip
    if frame.k is not None and frame.k > len(blocks):
        reason = f"scope {frame.scope} cannot be shown: {len(blocks)} distinct benchmarks at the scale {plan.scale}"
        return replace(frame, stopped=("not run", reason))
    return _margins(frame)


def _absence(plan: Plan, absent: list[str]) -> str:
    which = f"'{absent[0]}' has" if len(absent) == 1 else f"none of {', '.join(absent)} has"
    return f"{which} {'no' if len(absent) == 1 else 'a'} block at the scale {plan.scale}"


def _metric(suite: Suite, base: Setting, fact: Fact, binding: Binding) -> tuple[str, Metric | None] | None:
    """Name and description of what is measured; mechanisms need no description.

    A claim over benchmarks of several kinds ("all gains are positive") names no metric that they have: each is then
    measured on its first.
    """
    name = binding.metric or fact.metric
    own = [suite.benchmarks[benchmark].model.metrics for benchmark in (base.served_by, base.benchmark)]
    for metrics in own:
        if name in metrics:
            return name, metrics[name]
    if name.startswith("mechanism."):
        return name, None
    first = next((metrics for metrics in own if metrics), None)
    if first is None or binding.metric is not None:
        return None
    return next(iter(first.items()))


def _block(
    suite: Suite,
    plan: Plan,
    trials: Mapping[str, Trial],
    base: Setting,
    measured: tuple[str, Metric | None],
    fact: Fact,
    binding: Binding,
    frame: Frame,
) -> Block:
    name, metric = measured
    deciding = frame.against if frame.kind == "ordering" else frame.against[:1]
    chain = (str(binding.arm), *(() if frame.mode == "absolute" else deciding))
    needed = dict.fromkeys((*chain, *frame.others, *frame.own_baselines, *frame.gate_arms))
    cells = {arm: plan.trial_ids(base.benchmark, arm) for arm in needed}
    unit = metric.unit if metric is not None else fact.unit
    unequal, invalid = _fairness(trials, cells, chain, frame)
    teacher_trials = _teachers(trials, cells, chain)
    return Block(
        benchmark=base.benchmark, shares=(), metric=name, split=metric.split if metric is not None else None,
        better=metric.better if metric is not None else fact.better, unit=unit,
        direction=_direction(fact, name, metric), chain=chain,
        best=frame.order == "best", cells=cells, stand_in=_stand_in(base, plan, trials, cells),
        floor=_floor(metric, unit), relative_floor=RELATIVE_FLOORS.get(unit.lower()),
        smallest=metric.smallest if metric is not None else None, perfect=_perfect(metric, unit),
        competent=base.competent.get(name), teacher="teacher" if teacher_trials else None,
        teacher_trials=teacher_trials, unequal=unequal, invalid=invalid, place=_place(suite, base),
    )  # fmt: skip


def _place(suite: Suite, base: Setting) -> str:
    """Equal for benchmarks whose trials are the same: the serving benchmark and the suite's own overrides."""
    overrides = suite.benchmarks[base.benchmark].used.set
    return f"{base.served_by} {sorted(overrides.items())}" if overrides else base.served_by


def _floor(metric: Metric | None, unit: str) -> float | None:
    if metric is not None and metric.floor is not None:
        return metric.floor
    return FLOORS.get(unit.lower())


def _perfect(metric: Metric | None, unit: str) -> float | None:
    if metric is None:
        return None
    if metric.perfect is not None:
        return metric.perfect
    if metric.better == "lower":
        return 0.0
    return 100.0 if unit == "percent" else None


def _fairness(
    trials: Mapping[str, Trial], cells: Mapping[str, Mapping[int, str]], chain: tuple[str, ...], frame: Frame
) -> tuple[tuple[str, ...], str | None]:
    told: list[str] = []
    invalid: str | None = None
    for upper, lower in zip(chain[:1] * (len(chain) - 1), chain[1:], strict=False):
        one, other = _spec(trials, cells[upper]), _spec(trials, cells[lower])
        if one is None or other is None:
            continue
        differing, reason = fairness.compare(one, other)
        label = f"{lower}: " if len(chain) > 2 else ""
        told += [f"{label}{text}" for text in differing]
        invalid = invalid or reason
    return tuple(told), invalid


def _spec(trials: Mapping[str, Trial], cell: Mapping[int, str]) -> Mapping[str, Any] | None:
    return trials[cell[min(cell)]].spec if cell else None


def _teachers(
    trials: Mapping[str, Trial], cells: Mapping[str, Mapping[int, str]], chain: tuple[str, ...]
) -> tuple[str, ...]:
    """Teachers of the deciding arm whose baseline is the student alone."""
    if len(chain) < 2:
        return ()
    taught = [trials[one].needs for one in cells[chain[0]].values()]
    alone = [trials[one].needs for one in cells[chain[1]].values()]
    if any("teacher" in needs for needs in alone):
        return ()
    return tuple(dict.fromkeys(needs["teacher"] for needs in taught if "teacher" in needs))


def _stand_in(
    base: Setting, plan: Plan, trials: Mapping[str, Trial], cells: Mapping[str, Mapping[int, str]]
) -> tuple[str, ...]:
    """What differs from the paper: by the scale, and by overrides given for this plan alone."""
    found = dict.fromkeys(base.stand_in)
    for arm, cell in cells.items():
        spec = _spec(trials, cell)
        if spec is None or arm not in plan.arms:
            continue
        own = content(base, plan.arms[arm])
        if dict(own.recipe) != dict(spec["recipe"]):
            found["recipe"] = None
        if dict(own.model) != dict(spec["model"]):
            found["model"] = None
        if dict(own.data) != {key: value for key, value in spec["data"].items() if key != "content"}:
            found.setdefault("data:real" if "data:generated" not in found else "data:generated", None)
    return tuple(found)


def _signature(frame: Frame, block: Block) -> tuple[Any, ...]:
    """Equal for benchmarks that one stand-in serves: their arms are the same trials."""
    arms = (*block.chain, *frame.own_baselines)
    return tuple(_cell_key(block, arm) for arm in arms)


def _cell_key(block: Block, arm: str) -> tuple[Any, ...]:
    cell = block.cells.get(arm, {})
    return tuple(sorted(cell.items())) if cell else ("not planned", block.place, arm)


def _direction(fact: Fact, measured: str, metric: Metric | None) -> int:
    """The claim's sign, turned where what is measured is better the other way round than the paper's metric."""
    flipped = metric is not None and measured != fact.metric and metric.better != fact.better
    return -fact.direction if flipped else fact.direction


def _measured(fact: Fact, blocks: list[Block], frame: Frame) -> tuple[int, str, str, float | None]:
    """Sign, metric, unit and published size for what is measured, which may be another metric than the paper's.

    A published change against own baselines is a gain of the plain metric, in its unit.
    """
    first = blocks[0]
    unit = first.unit if len({block.unit for block in blocks}) == 1 else "several units"
    metric = first.metric if len({block.metric for block in blocks}) == 1 else frame.metric
    same = all(block.metric == fact.metric or (frame.own_baselines and block.unit == fact.unit) for block in blocks)
    if not same:
        return first.direction, metric, unit, None
    if unit.lower() not in TIMES:
        return frame.direction, metric, unit, frame.delta
    both = fact.published.method, fact.published.baseline
    if both[0] is None or both[1] is None or min(both[0], both[1]) <= 0:
        return frame.direction, metric, unit, None
    return frame.direction, metric, unit, abs(math.log(both[0] / both[1])) or None


def _margins(frame: Frame) -> Frame:
    """``no_worse`` needs a margin; at the paper's setting a published effect below the floor is judged so."""
    floors = [block.floor for block in frame.blocks if block.floor is not None]
    floor = min(floors) if len(floors) == len(frame.blocks) else None
    if frame.mode == "difference" and not frame.is_stand_in and frame.scope in ("each", "no_worse"):
        below = frame.delta is not None and floor is not None and frame.delta < floor and frame.m is None
        if below and frame.kind in ("difference", "mechanism"):
            frame = replace(frame, scope="no_worse", margin=frame.margin or floor)
    if frame.scope != "no_worse":
        return frame
    margin = frame.margin if frame.margin is not None else frame.m if frame.m is not None else floor
    if margin is None:
        return replace(frame, stopped=("invalid", "scope no_worse needs a 'margin' in the metric's unit"))
    return replace(frame, margin=margin)


def name_contrasts(frames: list[Frame]) -> list[Frame]:
    """Give equal tests one name, and each frame the claims that share its test and the members of its family.

    A claim of scope ``each`` has one test a benchmark; any other scope is one test. A test is primary where one of
    its claims is.
    """
    names: dict[Any, str] = {}
    claims: dict[str, list[str]] = {}
    named: list[Frame] = []
    for frame in frames:
        if frame.mode in ("check", "none") or not frame.blocks:
            named.append(frame)
            continue
        keys = [_test_key(frame, (block,)) for block in frame.blocks]
        if frame.scope != "each" and len(frame.blocks) > 1:
            keys = [_test_key(frame, frame.blocks)]
        for key, text in zip(keys, _texts(frame, len(keys)), strict=True):
            if key not in names:
                taken = sum(name.partition(" #")[0] == text for name in names.values())
                names[key] = text if not taken else f"{text} #{taken + 1}"
            claims.setdefault(names[key], []).append(frame.claim_id)
        own = [names[key] for key in keys]
        per_block = own if len(own) == len(frame.blocks) else own * len(frame.blocks)
        blocks = tuple(replace(block, contrast=one) for block, one in zip(frame.blocks, per_block, strict=True))
        named.append(replace(frame, blocks=blocks, contrast=own[0]))
    families = families_of(named)
    return [_with_family(frame, families, claims) for frame in named]


def _with_family(frame: Frame, families: Mapping[str, Mapping[str, None]], claims: Mapping[str, list[str]]) -> Frame:
    if not frame.contrast:
        return frame
    own = {block.contrast for block in frame.blocks}
    family = "primary" if own & families["primary"].keys() else frame.family
    sharing = [claim for name in dict.fromkeys(block.contrast for block in frame.blocks) for claim in claims[name]]
    members = tuple(families["primary" if family == "primary" else "secondary"])
    return replace(frame, family=family, contrast_claims=tuple(dict.fromkeys(sharing)), members=members)


def families_of(frames: list[Frame]) -> dict[str, dict[str, None]]:
    """Tests by family; a test that a primary claim and others share is primary."""
    primary: dict[str, None] = {}
    secondary: dict[str, None] = {}
    for frame in frames:
        for block in frame.blocks:
            if block.contrast:
                (primary if frame.family == "primary" else secondary)[block.contrast] = None
    return {"primary": primary, "secondary": {name: None for name in secondary if name not in primary}}


def _texts(frame: Frame, tests: int) -> list[str]:
    if tests == len(frame.blocks):
        return [f"{block.benchmark}: {_comparison(frame, block)} ({block.metric})" for block in frame.blocks]
    block = frame.blocks[0]
    over = " domains" if frame.domains is not None else ""
    return [f"{frame.scope} of {len(frame.blocks)}{over}: {_comparison(frame, block)} ({block.metric})"]


def _comparison(frame: Frame, block: Block) -> str:
    if frame.mode == "absolute":
        return f"{block.chain[0]} = published"
    return " − ".join(block.chain) if not block.best else f"{block.chain[0]} − each of {', '.join(block.chain[1:])}"


def _test_key(frame: Frame, blocks: tuple[Block, ...]) -> tuple[Any, ...]:
    """What makes two claims one test: trials, metric and question; the sign is not part of a two-sided test."""
    one_pair = all(len(block.chain) == 2 for block in blocks)
    each = [
        (
            (frozenset if one_pair else tuple)(_cell_key(block, arm) for arm in block.chain),
            tuple(_cell_key(block, arm) for arm in frame.own_baselines),
            block.metric,
            block.split,
        )
        for block in blocks
    ]
    directed = not one_pair or len(blocks) > 1 or frame.scope == "no_worse"
    question = (
        frame.mode, frame.scope if len(blocks) > 1 or frame.scope == "no_worse" else "",
        frame.margin if frame.scope == "no_worse" or frame.mode == "absolute" else None,
        frame.target if frame.mode == "absolute" else None, frame.log_ratio, frame.order,
        frame.direction if directed else None, frame.domains,
    )  # fmt: skip
    return (*question, tuple(sorted(each, key=repr)))
