"""The registration of a claim, later changes, and its interim analyses.

A claim registers with the first verdict that has results: question, levels, mechanism checks, smallest effects,
thresholds, and the recipes of the deciding arms. Later verdicts list every difference.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from harness.judge.design import ClaimDesign, DesignBlock
from harness.judge.detail import RegisteredChange, Registration, VerdictDetail
from harness.judge.evidence import Evidence
from harness.judge.tests import FEWEST
from harness.plan.planning import Plan
from harness.store.queries import Queries
from harness.trial.options import Values
from harness.trial.spec import TrialSpec
from harness.vocabulary import FINAL, UNFINISHED

OF_BLOCKS = (
    "metric",
    "unit",
    "better",
    "split",
    "smallest",
    "relative_smallest",
    "floor",
    "relative_floor",
    "competent",
    "perfect",
)
"""Fields of a benchmark that are registered."""


@dataclass(frozen=True, slots=True)
class EarlierVerdict:
    """A stored verdict; ``look`` is None below the fewest pairs of a verdict."""

    n: int
    sequential: bool
    look: int | None
    changed_since: str | None
    registration: Registration | None


def earlier_verdicts(reader: Queries, designs: Sequence[ClaimDesign], scale: str) -> dict[str, list[EarlierVerdict]]:
    """Earlier verdicts of a suite's claims at a scale, oldest first.

    Verdicts of another name on the same trials count too: a test is its trials, whatever the claim is called.
    """
    protocols = {design.claim_id: (design.question.protocol, design.pairing.seeds_of_search) for design in designs}
    suites = sorted({design.question.suite for design in designs})
    rows = reader.query(
        """
        SELECT claim_id, protocol, n, sequential, CAST(design->>'look' AS INTEGER),
               design->>'changed_since', design->'registration', CAST(design->'pairing'->>'seeds_of_search' AS INTEGER)
        FROM verdicts WHERE claim_id = ANY(?) AND scale = ? AND suite = ANY(?) ORDER BY judged_at
        """,
        [list(protocols), scale, suites],
    ).rows
    earlier: dict[str, list[EarlierVerdict]] = {}
    named_otherwise = _other_names(reader, list(protocols), scale)
    for claim, trials in _deciding_trials(designs).items():
        earlier[claim] = [verdict for others, verdict in named_otherwise if others <= trials]
    for claim, protocol, n, sequential, look, changed, registration, size in rows:
        if (protocol, size) == protocols[claim]:
            existing = json.loads(registration) if registration else None
            earlier[claim].append(EarlierVerdict(n or 0, bool(sequential), look, changed, existing))
    return earlier


def _deciding_trials(designs: Sequence[ClaimDesign]) -> dict[str, set[str]]:
    return {
        design.claim_id: {trial for block in design.blocks for trial in block.trials_of(block.chain)}
        for design in designs
    }


def _other_names(reader: Queries, claims: Sequence[str], scale: str) -> list[tuple[set[str], EarlierVerdict]]:
    """Interim analyses of other claims, each with its deciding trials."""
    rows = reader.query(
        """
        SELECT v.n, v.sequential, CAST(v.design->>'look' AS INTEGER) AS look, list(DISTINCT t.trial_id), v.judged_at
        FROM verdicts v JOIN verdict_trials t USING (claim_id, scale, judged_at, protocol)
        WHERE NOT v.claim_id = ANY(?) AND v.scale = ? AND t.side IN ('method', 'baseline') AND look IS NOT NULL
        GROUP BY v.claim_id, v.protocol, v.n, v.sequential, look, v.judged_at ORDER BY v.judged_at
        """,
        [list(claims), scale],
    ).rows
    return [
        (set(trials), EarlierVerdict(n or 0, bool(sequential), look, None, None))
        for n, sequential, look, trials, _ in rows
    ]


@dataclass(frozen=True, slots=True)
class InterimAnalyses:
    """Sizes of a claim's interim analyses.

    ``pairs``: whose deciding arms have all ended, of those that are ``planned``.
    """

    earlier: tuple[int, ...]
    pairs: int
    planned: int

    @property
    def now(self) -> int | None:
        """The size of this interim analysis; None below the fewest pairs of a verdict."""
        return self.pairs if self.pairs >= FEWEST else None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Every size once, in order."""
        return tuple(dict.fromkeys((*self.earlier, *(() if self.now is None else (self.now,)))))

    @property
    def again(self) -> bool:
        """True if the sequential rule holds: before the planned end, or after another size."""
        unfinished = self.pairs < self.planned and self.pairs not in self.earlier
        return self.pairs >= FEWEST and (unfinished or any(size != self.pairs for size in self.earlier))


def interim_analyses_of(design: ClaimDesign, evidence: Evidence, earlier: Sequence[EarlierVerdict]) -> InterimAnalyses:
    """The interim analyses of a claim at sizes that could decide it."""
    before = tuple(dict.fromkeys(each.look for each in earlier if each.look is not None))
    planned = ended = 0
    for block in design.blocks:
        seeds = {seed for arm in block.chain for seed in block.cells.get(arm, {})}
        size = design.pairing.seeds_of_search or 1
        open_pairs = {
            seed // size for seed in seeds if not all(_ended(block, arm, seed, evidence) for arm in block.chain)
        }
        pairs = {seed // size for seed in seeds}
        planned += len(pairs)
        ended += len(pairs - open_pairs)
    return InterimAnalyses(before, ended, planned)


def _ended(block: DesignBlock, arm: str, seed: int, evidence: Evidence) -> bool:
    trial = evidence.get(block.cells.get(arm, {}).get(seed, ""))
    return trial is not None and trial.status in (FINAL | UNFINISHED)


def as_looked_at(design: ClaimDesign, looks: InterimAnalyses, earlier: Sequence[EarlierVerdict]) -> ClaimDesign:
    """The design, sequential from the second size of interim analysis on."""
    if looks.again or (earlier and earlier[-1].sequential):
        return replace(design, rules=replace(design.rules, sequential=True))
    return design


def registration_of(design: ClaimDesign, plan: Plan) -> Values:
    """The fixed values of a claim by name."""
    specs = {trial.trial_id: trial.spec for trial in plan.trials}
    fixed = {name: value for name, value in design.fixed().items() if name != "gates"}
    fixed |= {f"gate {number + 1}": str(gate) for number, gate in enumerate(design.gates)}
    for block in design.blocks:
        plain = asdict(block)
        fixed |= {f"{block.benchmark}: {name}": plain[name] for name in OF_BLOCKS}
        for arm in dict.fromkeys((*block.chain, *design.pairing.own_baselines)):
            cell = block.cells.get(arm, {})
            if cell:
                recipe = _recipe(specs[cell[min(cell)]])
                fixed |= {f"{block.benchmark}/{arm}: {name}": value for name, value in recipe.items()}
    kept = json.loads(json.dumps(fixed))  # as it will be read back
    return Values({name: value for name, value in kept.items() if value not in (None, [], {})})


def _recipe(spec: TrialSpec) -> Values:
    plain = spec.to_json()
    started = plain.get("prerequisites") or {}
    parts = {name: plain[name] for name in ("task", "data", "model", "recipe")} | plain["slots"]
    starts = {
        f"prerequisite {name}": {key: value for key, value in start.items() if key != "trial_id"}
        for name, start in started.items()
    }
    return Values(_leaves({**parts, **starts}))


def _leaves(value: Any, name: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        return [leaf for key, below in value.items() for leaf in _leaves(below, f"{name}.{key}" if name else str(key))]
    return [(name, value)]


def registered_changes(before: Registration, now: Registration) -> list[RegisteredChange]:
    """Differences by name, without arms and benchmarks of one side alone (``against``, ``benchmarks`` show them)."""
    places = [{name.partition(": ")[0] for name in side if ": " in name} for side in (before, now)]
    existing = places[0] & places[1]
    return [
        RegisteredChange(name, before.get(name), now.get(name))
        for name in dict.fromkeys((*before, *now))
        if before.get(name) != now.get(name) and (": " not in name or name.partition(": ")[0] in existing)
    ]


def with_interim_analyses(
    detail: VerdictDetail,
    registration: Registration,
    earlier: Sequence[EarlierVerdict],
    looks: InterimAnalyses,
    judged_at: datetime,
) -> VerdictDetail:
    """The detail with its interim analyses and its registration or the changes."""
    unfinished = looks.planned if looks.now is not None and looks.pairs < looks.planned else None
    detail = replace(detail, look=looks.now, look_sizes=looks.sizes, planned=unfinished)
    first = next((each.registration for each in earlier if each.registration), None)
    if first is None:
        return replace(detail, registration=registration)
    changes = tuple(registered_changes(first, registration))
    since = earlier[-1].changed_since or (judged_at.isoformat(timespec="seconds") if changes else None)
    return replace(detail, changed=changes, changed_since=since)
