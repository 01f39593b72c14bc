"""The page of a suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.judge import ablations as effects_of
from harness.store import Reader
from reports import ablations, doses, overview, sql, summary, words
from reports.addresses import bench_path, suite_path, sweep_path
from reports.costs import costs
from reports.factorials import heat_maps
from reports.figure import Figure
from reports.forest import Mark, axis_of, forests, label
from reports.provenance import provenance
from reports.reading import Claim, Gathered
from reports.render import Page

CONTEXT = ("provenance", "reference")
"""Kinds of claims that are listed with their source and never judged."""

SHOWN_TRIALS = 24
"""Trials that a claim lists; its statement gives all of them."""


def suite_page(
    reader: Reader, found: Gathered, removed: Sequence[ablations.Ablation], tuned: Sequence[Figure] = ()
) -> Page:
    """Everything of a suite at a scale.

    Args:
        reader: of the store.
        found: what was gathered.
        removed: its ablations.
        tuned: figures of its sweeps that show what a learning rate does.
    """
    rows = list(removed)
    titles = {name: bench.title for name, bench in found.benches.items()}
    judged = sorted(found.judged, key=lambda claim: (not claim.primary, claim.tone.order))
    silent = [claim for claim in found.claims if not claim.judged]
    plots, results = forests(found), doses.read_results(reader, found)
    marks = {name: (mark, plot.axis.zero) for plot in plots for name, mark in plot.marks.items()}
    content: dict[str, Any] = {
        "suite": found.suite.model,
        "scale": found.scale,
        "stand_in": found.stand_in,
        "headline": summary.headline(found),
        "leading": summary.leading(found),
        "verdicts": found.verdicts,
        "forests": plots,
        "marks": marks,
        "checked": [detail(found, claim, titles) | {"removed": [], "scatter": None} for claim in found.checked],
        "claims": [
            detail(found, claim, titles)
            | {"removed": overview.removed(claim, rows), "scatter": doses.scatter(found, results, claim)}
            for claim in judged
        ],
        "wins": overview.wins(found),
        "silent": [_silent(claim) for claim in silent if claim.fact["kind"] not in CONTEXT],
        "context": [_silent(claim) for claim in silent if claim.fact["kind"] in CONTEXT],
        "sweeps": [(row, sweep_path(str(row["sweep_id"]))) for row in found.sweeps],
        "ablations": sorted(rows, key=lambda row: (row.benchmark, -abs(row.difference))),
        "ablation_figures": [*ablations.pictures(found, rows), *heat_maps(reader, found)],
        "most": ablations.most(rows),
        "effects": _effects(reader, found),
        "tuned": tuned,
        "costs": costs(reader, found),
        "bought": sql.ask(reader, sql.bought_of(found.name, found.scale)),
        "arms": found.plan.arms,
        "benches": [_bench(found, name) for name in found.benches],
        "absent": found.plan.absent,
        "titles": titles,
        "sql": {name: answer.sql for name, answer in found.asked.items()},
        "provenance": provenance(found),
        "meanings": {word: words.tone_of(word).meaning for word, _ in found.verdicts},
    }
    title = f"{found.name}, {found.scale}"
    return Page(suite_path(found.name, found.scale), "suite.html", title, content, (("index.html", "Report"),))


def _effects(reader: Reader, found: Gathered) -> list[dict[str, Any]]:
    """Main effects and interactions of the factorials that the suite declares, as the judge computes them."""
    if not found.suite.model.ablate:
        return []
    rows = [row for row in effects_of(found.suite, found.plan, reader) if row["effect"] != "change"]
    known = [row for row in rows if words.finite(row["difference"]) is not None]
    axis = axis_of([(row["difference"], row["ci_low"], row["ci_high"]) for row in known])
    return [
        {**row, "unit": words.unit_of_difference(str(row["unit"])), "zero": axis.zero,
         "tone": words.side(row["ci_low"], row["ci_high"]),
         "mark": Mark.of(axis, row["difference"], row["ci_low"], row["ci_high"])}
        for row in known
    ]  # fmt: skip


def _identity(claim: Claim) -> str:
    """The two numbers of a check of what the released code or the formulas do."""
    check = claim.design.get("check")
    check = check if isinstance(check, Mapping) else {}
    ours, theirs, tolerance = (words.finite(check.get(key)) for key in ("ours", "theirs", "tolerance"))
    if ours is None or theirs is None:
        return ""
    sign = {"equal": "=", "below": "<", "above": ">"}.get(str(check.get("relation")), str(check.get("relation") or "="))
    within = f", tolerance {words.setting(tolerance)}" if tolerance is not None else ""
    return f"{words.score(ours)} {sign} {words.score(theirs)} {check.get('unit') or ''}".strip() + within


def _silent(claim: Claim) -> dict[str, Any]:
    return {"id": claim.claim_id, "kind": claim.fact["kind"], "statement": claim.fact["statement"], "word": claim.word,
            "reason": claim.reason or _why(claim), "source": claim.fact["source"]}  # fmt: skip


def _why(claim: Claim) -> str:
    if claim.fact["kind"] in CONTEXT:
        return f"{claim.fact['kind']}: listed with its source, never judged"
    return "not judged yet: run the suite, then 'harness claims'" if claim.verdict is None else ""


def _bench(found: Gathered, name: str) -> dict[str, Any]:
    cells = [cell for cell in found.cells if cell.benchmark == name]
    setting = found.plan.settings[name]
    bench = found.benches[name]
    return {
        "name": name, "title": bench.title, "path": bench_path(found.name, found.scale, name), "cells": cells,
        "about": setting.about,
        "stand_in": setting.stand_in, "task": setting.task, "troubled": len(bench.troubled),
        "words": list(Counter(claim.word for claim in found.judged if name in claim.benchmarks).items()),
        "done": sum(cell.done for cell in cells), "planned": sum(cell.planned for cell in cells),
    }  # fmt: skip


def detail(found: Gathered, claim: Claim, titles: Mapping[str, str]) -> dict[str, Any]:
    """A claim's line and what it opens to."""
    design = claim.design
    judged_at = claim.value("judged_at")
    benches = [
        {**entry, "title": titles.get(str(entry.get("benchmark")), str(entry.get("benchmark"))),
         "path": bench_path(found.name, found.scale, str(entry.get("benchmark")))}
        for entry in design.get("per_benchmark") or () if isinstance(entry, Mapping)
    ]  # fmt: skip
    return {
        "claim": claim,
        "label": label(claim, titles),
        "family": str(design.get("family") or ("primary" if claim.primary else "secondary")),
        "per_benchmark": benches,
        "shown": [entry for entry in design.get("shown") or () if isinstance(entry, Mapping)],
        "facts": _facts(claim),
        "gates": gate_views(claim),
        "gates_sql": sql.gates(claim.claim_id, claim.scale) if claim.gates else "",
        "change": summary.change(claim),
        "sides": claim.sides[:SHOWN_TRIALS],
        "more_sides": max(0, len(claim.sides) - SHOWN_TRIALS),
        "benchmark_paths": [
            (titles.get(one, one), bench_path(found.name, found.scale, one)) for one in claim.benchmarks
        ],
        "sql": sql.verdict(claim.claim_id, claim.scale),
        "trials_sql": sql.verdict_trials(claim.claim_id, claim.scale, str(judged_at)) if claim.sides else "",
        "sides_of_check": _identity(claim) if claim.identity else "",
    }


def gate_views(claim: Claim) -> list[dict[str, Any]]:
    """Gates as read on each benchmark, each with its place on a short bar that reaches beyond value and threshold."""
    readings = claim.design.get("gate_readings")
    given = readings if isinstance(readings, list) and readings else claim.gates
    views = []
    for gate in given:
        value, threshold = words.finite(gate.get("value")), words.finite(gate.get("threshold"))
        reach = max(abs(value or 0.0), abs(threshold or 0.0), 1e-12) * 1.25
        place = [None if one is None else round(100 * min(1.0, max(0.0, one / reach)), 1) for one in (value, threshold)]
        views.append({
            "metric": gate.get("metric"), "arm": gate.get("arm"), "value": value, "threshold": threshold,
            "passed": bool(gate.get("passed")), "op": gate.get("op") or _op(claim, gate), "place": place,
            "relative_to": gate.get("relative_to"), "minus": gate.get("minus"),
            "benchmark": gate.get("benchmark"), "reason": gate.get("reason"),
        })  # fmt: skip
    return views


def _op(claim: Claim, gate: Mapping[str, Any]) -> str:
    """A gate's comparison from the suite, for verdicts that were stored without it."""
    given = claim.binding.mechanism if claim.binding else None
    rules = given if isinstance(given, list) else [given] if given else []
    return next((one.op for one in rules if (one.metric, one.arm) == (gate.get("metric"), gate.get("arm"))), "")


def _facts(claim: Claim) -> list[tuple[str, str]]:
    """What was computed, as pairs of a word and a number; absent ones are left out."""
    design, value = claim.design, claim.value
    sharing = _many(design.get("contrast_claims"))
    won, n = design.get("seeds_won"), value("n")
    reduction = words.finite(design.get("relative_error_reduction"))
    pairs: list[tuple[str, Any]] = [
        ("difference", f"{words.number(value('difference'), sign=True)} {claim.unit}"
         if value("difference") is not None else None),
        ("95 % interval", words.interval(value("ci_low"), value("ci_high")) if value("ci_low") is not None else None),
        ("paired seeds", n),
        ("p", words.probability(value("p")) if value("p") is not None else None),
        ("adjusted p", words.probability(value("adjusted_p")) if value("adjusted_p") is not None else None),
        ("e-value", _number(value("e_value"))),
        ("d_z", _number(design.get("d_z"))),
        ("relative error reduction", _number(100 * reduction, "%") if reduction is not None else None),
        ("seeds won", f"{won} of {n}" if isinstance(won, int) else words.plain(won) if won is not None else None),
        ("sign-flip p", _probability(design.get("sign_flip_p"))),
        ("seen with 80 % power", _number(design.get("mde"), claim.unit)),
        ("seeds needed", _setting(design.get("seeds_needed"))),
        ("correlation of the pairs", _number(design.get("correlation"))),
        ("design", "sequential, valid at any time" if value("sequential") else "fixed number of seeds"),
        ("family", _family(design)),
        ("claims that share this test", sharing if sharing > 1 else None),
        ("scope", design.get("scope")),
        ("protocol", design.get("protocol")),
        ("α, κ, g", ", ".join(_setting(design.get(key)) or "–" for key in ("alpha", "kappa", "g"))
         if design.get("alpha") is not None else None),
        ("smallest effect of interest", _number(design.get("smallest"), claim.unit)),
        ("missing pairs, failed, diverged, mixed environments", _troubles(design)),
    ]  # fmt: skip
    return [(name, str(found)) for name, found in pairs if found is not None]


def _family(design: Mapping[str, Any]) -> str | None:
    """``primary, Holm over 4 tests``."""
    told = [str(design["family"])] if design.get("family") else []
    if design.get("correction") and design.get("family_size"):
        told.append(f"{design['correction']} over {words.count(int(design['family_size']), 'test')}")
    return ", ".join(told) or None


def _troubles(design: Mapping[str, Any]) -> str | None:
    """Pairs without a side, trials that failed or diverged, pairs of two environments; None where there are none."""
    counts = [_many(design.get(key)) for key in ("missing", "failed", "diverged", "mismatched")]
    return ", ".join(map(str, counts)) if any(counts) else None


def _many(value: Any) -> int:
    return len(value) if isinstance(value, (list, tuple, dict)) else int(value or 0)


def _number(value: Any, unit: str = "") -> str | None:
    found = words.finite(value)
    return None if found is None else f"{words.number(found)} {unit}".strip()


def _setting(value: Any) -> str | None:
    found = words.finite(value)
    return None if found is None else words.setting(found)


def _probability(value: Any) -> str | None:
    found = words.finite(value)
    return None if found is None else words.probability(found)
