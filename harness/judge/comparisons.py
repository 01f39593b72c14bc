"""Shared tests of claims, and the families of tests."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from harness.judge.design import ClaimDesign, DesignBlock, Family

STRICTEST_FIRST: tuple[Family, ...] = get_args(Family)
"""Families in the order in which they claim a shared test."""


def name_comparisons(designs: Sequence[ClaimDesign]) -> list[ClaimDesign]:
    """Name equal tests alike and fill in the members of each family.

    A claim has one test, under scope ``each`` one by benchmark. A shared test belongs to the strictest family;
    the other tests of its claims stay in theirs.
    """
    names: dict[Any, str] = {}
    claims: dict[str, list[str]] = {}
    named: list[ClaimDesign] = []
    for design in designs:
        blocks = design.blocks
        if design.question.mode in ("check", "none") or not blocks:
            named.append(design)
            continue
        keys = [_test_key(design, (block,)) for block in blocks]
        if design.question.scope != "each" and len(blocks) > 1:
            keys = [_test_key(design, blocks)]
        for key, text in zip(keys, _texts(design, len(keys)), strict=True):
            if key not in names:
                taken = sum(name.partition(" #")[0] == text for name in names.values())
                names[key] = text if not taken else f"{text} #{taken + 1}"
            claims.setdefault(names[key], []).append(design.claim_id)
        contrasts = [names[key] for key in keys]
        per_block = contrasts if len(contrasts) == len(blocks) else contrasts * len(blocks)
        blocks = tuple(replace(block, contrast=name) for block, name in zip(blocks, per_block, strict=True))
        multiplicity = replace(design.multiplicity, contrast=contrasts[0])
        named.append(replace(design, blocks=blocks, multiplicity=multiplicity))
    members: dict[Family, tuple[str, ...]] = {}
    for family in STRICTEST_FIRST:
        tests = _comparisons(design for design in named if design.multiplicity.family == family)
        earlier = {name for others in members.values() for name in others}
        members[family] = tuple(name for name in tests if name not in earlier)
    return [_with_family(design, members, claims) for design in named]


def _comparisons(designs: Iterable[ClaimDesign]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(block.contrast for design in designs for block in design.blocks if block.contrast))


def _with_family(
    design: ClaimDesign, members: Mapping[Family, tuple[str, ...]], claims: Mapping[str, list[str]]
) -> ClaimDesign:
    place = design.multiplicity
    if not place.contrast:
        return design
    contrasts = dict.fromkeys(block.contrast for block in design.blocks)
    families = {contrast: name for name, tests in members.items() for contrast in tests if contrast in contrasts}
    family = place.family if place.family in families.values() else families[place.contrast]
    blocks = tuple(replace(block, family=families[block.contrast]) for block in design.blocks)
    sharing = tuple(dict.fromkeys(claim for name in contrasts for claim in claims[name]))
    place = replace(place, family=family, contrast_claims=sharing, members=members[family])
    return replace(design, blocks=blocks, multiplicity=place)


def _texts(design: ClaimDesign, tests: int) -> list[str]:
    blocks = design.blocks
    if tests == len(blocks):
        return [f"{block.benchmark}: {_comparison(design, block)} ({block.metric})" for block in blocks]
    over = " domains" if design.question.domains is not None else ""
    compared = f"{_comparison(design, blocks[0])} ({blocks[0].metric})"
    return [f"{design.question.scope} of {len(blocks)}{over}: {compared}"]


def _comparison(design: ClaimDesign, block: DesignBlock) -> str:
    if design.question.mode == "absolute":
        return f"{block.chain[0]} = published"
    return " − ".join(block.chain) if not block.best else f"{block.chain[0]} − each of {', '.join(block.chain[1:])}"


def _test_key(design: ClaimDesign, blocks: tuple[DesignBlock, ...]) -> tuple[Any, ...]:
    """The identity of a test: trials, metric and question, without the sign of a two-sided test."""
    question, estimand, pairing = design.question, design.estimand, design.pairing
    one_pair = all(len(block.chain) == 2 for block in blocks)
    each = [
        (
            (frozenset if one_pair else tuple)(cell_key(block, arm) for arm in block.chain),
            tuple(cell_key(block, arm) for arm in pairing.own_baselines),
            block.metric,
            block.split,
        )
        for block in blocks
    ]
    no_worse, absolute = question.scope == "no_worse", question.mode == "absolute"
    directed = not one_pair or len(blocks) > 1 or no_worse
    requested = (
        question.mode,
        question.scope if len(blocks) > 1 or no_worse else "",
        estimand.margin if no_worse or absolute else None,
        estimand.target if absolute else None,
        pairing.log_ratio,
        pairing.ranked,
        pairing.on_divergence,
        question.order,
        estimand.direction if directed else None,
        question.domains,
    )
    return (*requested, tuple(sorted(each, key=repr)))


def cell_key(block: DesignBlock, arm: str) -> tuple[Any, ...]:
    """Equal where an arm's trials are the same ones, planned or not."""
    cell = block.cells.get(arm, {})
    return tuple(sorted(cell.items())) if cell else ("not planned", block.place, arm)
