"""Warnings before a run: what is probably not meant, and the cost of added seeds."""

from __future__ import annotations

from harness import stats
from harness.judge.bindings import claim_designs
from harness.judge.design import ClaimDesign
from harness.judge.registration import earlier_verdicts
from harness.plan.planning import Plan, Selection
from harness.store.queries import Queries
from harness.suite import Suite
from harness.suite.warnings import warnings_of

MOST_SEEDS = 200
"""Numbers of seeds that are tried for a finite interval."""
SHOWN = 4
"""Claims that one warning names."""


def notices_of(suite: Suite, plan: Plan, selection: Selection, reader: Queries) -> tuple[str, ...]:
    """The warnings of ``harness validate``, and those of :func:`added_seeds`, one sentence each."""
    warnings = list(map(str, warnings_of(suite)))
    if selection.cap is None:
        warnings += added_seeds(suite, plan, reader)
    return tuple(warnings)


def added_seeds(suite: Suite, plan: Plan, reader: Queries) -> list[str]:
    """Warn of claims that get the sequential test, since pairs were added.

    A claim that is evaluated sequentially already is left out: it costs nothing more.
    """
    evaluated = reader.query("SELECT 1 FROM verdicts WHERE suite = ? AND scale = ? LIMIT 1", [suite.name, plan.scale])
    if not evaluated.rows:
        return []
    designs = claim_designs(suite, plan, sequential=False)
    earlier = earlier_verdicts(reader, designs, plan.scale)
    claims: dict[tuple[tuple[int, ...], int, int, int | None], list[str]] = {}
    for design in designs:
        before = earlier.get(design.claim_id, [])
        sizes = tuple(sorted({verdict.look for verdict in before if verdict.look is not None}))
        pairs, seeds = _planned(design)
        if pairs and sizes and sizes != (pairs,) and not before[-1].sequential:
            key = (sizes, pairs, seeds, seeds_for_an_interval(design))
            claims.setdefault(key, []).append(design.claim_id)
    return [_message(names, *key) for key, names in claims.items()]


def _planned(design: ClaimDesign) -> tuple[int, int]:
    """Return a claim's pairs and the fewest seeds of a benchmark."""
    seeds = [len({seed for arm in block.chain for seed in block.cells.get(arm, {})}) for block in design.blocks]
    return sum(seeds), min(seeds, default=0)


def seeds_for_an_interval(design: ClaimDesign) -> int | None:
    """The fewest seeds at which the sequential test has a finite interval; None above ``MOST_SEEDS``.

    Corrections for several claims of a family may need more.
    """
    rule = stats.SequentialRule(design.rules.g, design.rules.seeds[2])
    spread = [(-1.0) ** k for k in range(MOST_SEEDS)]
    for seeds in range(3, MOST_SEEDS + 1):
        inference = rule.inference(spread[:seeds], design.rules.alpha)
        if abs(inference.low) != float("inf") and abs(inference.high) != float("inf"):
            return seeds
    return None


def _message(claims: list[str], sizes: tuple[int, ...], pairs: int, seeds: int, needed: int | None) -> str:
    names = ", ".join(claims[:SHOWN]) + (f" and {len(claims) - SHOWN} more" if len(claims) > SHOWN else "")
    before = ", ".join(map(str, sizes))
    message = f"{names}: evaluated at {before} pairs before and at {pairs} now, so that the sequential test applies"
    if needed is None:
        return f"{message}; its interval is not finite at any number of seeds up to {MOST_SEEDS}"
    if seeds < needed:
        return f"{message}; its interval is infinite below {needed} seeds: use --seeds {needed} or more"
    return f"{message}, whose interval is wider than that of a fixed number of seeds"
