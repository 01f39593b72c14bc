"""The sentences of a page: what a suite's verdicts say in ten seconds, and what would change one."""

from __future__ import annotations

from collections.abc import Mapping

from reports import words
from reports.forest import label
from reports.reading import Claim, Gathered


def headline(found: Gathered) -> str:
    """One sentence for the top of a suite's page."""
    judged, checked = found.judged, found.checked
    if not judged and not checked:
        return f"No claim has been judged at scale {found.scale} yet."
    by_tone: dict[str, int] = {}
    for claim in judged:
        by_tone[claim.tone.name] = by_tone.get(claim.tone.name, 0) + 1
    direction = " in direction" if found.stand_in else ""
    said = {
        "holds": (f"holds{direction}", f"hold{direction}"),
        "part": ("holds in direction with a smaller effect", "hold in direction with a smaller effect"),
        "open": ("stays open", "stay open"),
        "null": ("shows no effect worth having", "show no effect worth having"),
        "against": ("points the other way", "point the other way"),
        "idle": ("has a mechanism that did not act", "have a mechanism that did not act"),
        "void": ("could not be judged", "could not be judged"),
    }
    tallied = [(by_tone[tone], text) for tone, text in said.items() if by_tone.get(tone)]
    parts = [f"{words.number(many)} {text[many > 1]}" for many, text in tallied]
    first = f"Of {words.count(len(judged), 'claim')} judged from trials, {words.listed(parts)}." if judged else ""
    held = sum(claim.tone.name == "holds" for claim in checked)
    exact = f" {held} of {words.count(len(checked), 'identity', 'identities')} checked hold{'s' if held == 1 else ''}."
    silent = len(found.claims) - len(judged) - len(checked)
    first = (first + (exact if checked else "")).strip()
    return first + (f" {words.count(silent, 'more claim')} of the paper {'is' if silent == 1 else 'are'} not run here."
                    if silent else "")  # fmt: skip


def leading(found: Gathered, limit: int = 3) -> list[tuple[Claim, tuple[str, str]]]:
    """The claims that a reader wants first, primary ones before others, each as a name and its numbers."""
    titles = {name: bench.title for name, bench in found.benches.items()}
    ranked = sorted(found.judged, key=lambda claim: (not claim.primary, claim.tone.order))
    shown = [claim for claim in ranked if claim.primary] or ranked
    return [(claim, sentence(claim, titles)) for claim in shown[:limit]]


def sentence(claim: Claim, titles: Mapping[str, str]) -> tuple[str, str]:
    """A claim's name, and its difference with its interval: a sentence without the verdict's word."""
    difference = words.finite(claim.value("difference"))
    if difference is None:
        return f"{label(claim, titles)}", "."
    size = f"{words.number(difference, sign=True)} {claim.unit}".strip()
    adjusted = words.finite(claim.value("adjusted_p"))
    told = f", adjusted p {words.probability(adjusted)}" if adjusted is not None else ""
    return label(claim, titles), (
        f": {size}, 95 % interval {words.interval(claim.value('ci_low'), claim.value('ci_high'))}"
        f" over {words.count(int(claim.value('n') or 0), 'paired seed')}{told}."
    )


def change(claim: Claim) -> str:
    """What would change a verdict."""
    design, tone = claim.design, claim.tone.name
    n = int(claim.value("n") or 0)
    alpha = words.finite(design.get("alpha")) or 0.05
    adjusted = words.finite(claim.value("adjusted_p"))
    if tone == "idle":
        failed = [gate["metric"] for gate in claim.gates if not gate["passed"]]
        return f"A setting in which the mechanism acts: {words.listed(failed) or 'its gate'} is beyond the threshold."
    if tone == "open":
        return _more_seeds(claim, n)
    if tone in ("holds", "part", "against") and words.finite(claim.value("difference")) is not None:
        nearest = words.finite(claim.value("ci_low" if tone != "against" else "ci_high"))
        margin = (
            f"The interval ends {words.number(abs(nearest))} {claim.unit} from zero. " if nearest is not None else ""
        )
        strict = f"An α below {words.number(adjusted)} would leave it open. " if adjusted and adjusted < alpha else ""
        size = "Only scale paper can judge the published size." if claim.stand_in else ""
        return f"{margin}{strict}{size}".strip()
    if tone == "null":
        smallest = words.finite(design.get("smallest"))
        told = f" below {words.number(smallest)} {claim.unit}" if smallest is not None else ""
        return f"A smaller effect counted as worth having{told}, or more seeds that widen nothing but move the mean."
    return claim.reason


def _more_seeds(claim: Claim, n: int) -> str:
    needed, detectable = (words.finite(claim.design.get(key)) for key in ("seeds_needed", "mde"))
    told = []
    if detectable is not None:
        told.append(f"With {words.count(n, 'seed')} an effect of {words.number(detectable)} {claim.unit} would be seen "
                    "with 80 % power.")  # fmt: skip
    if needed is not None:
        told.append(f"About {words.count(int(needed), 'paired seed')} would decide an effect of the measured size.")
    return " ".join(told) or claim.reason or "More paired seeds."
