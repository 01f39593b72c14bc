"""The sentences of a page: what a suite's verdicts say in ten seconds, and what would change one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from harness.vocabulary import Tone
from reports.data.claims import Claim
from reports.data.suite_results import SuiteResults
from reports.formatting import UNKNOWN, count, finite, interval, listed, number, probability

SAID: Mapping[str, tuple[str, str]] = {
    Tone.HOLDS: ("holds{}", "hold{}"),
    Tone.PART: ("holds in direction with a smaller effect", "hold in direction with a smaller effect"),
    Tone.OPEN: ("stays open", "stay open"),
    Tone.NULL: ("shows no effect worth having", "show no effect worth having"),
    Tone.AGAINST: ("points the other way", "point the other way"),
    Tone.IDLE: ("has a mechanism that did not act", "have a mechanism that did not act"),
    Tone.VOID: ("could not be judged", "could not be judged"),
    UNKNOWN: ("has a verdict unknown to this version", "have verdicts unknown to this version"),
}
"""What one claim of a tone does, and what several do; in the place of {} stands the scope."""


def headline(results: SuiteResults) -> str:
    """The first words of a suite's page: how many claims hold, stay open, were checked, are not run."""
    judged, checked = results.judged, results.checked
    if not judged and not checked:
        return f"No claim has been judged at scale {results.scale} yet."
    tones = Counter(claim.tone for claim in judged)
    direction = " in direction" if results.stand_in else ""
    parts = [
        f"{number(tones[tone])} {said[tones[tone] > 1].format(direction)}" for tone, said in SAID.items() if tones[tone]
    ]
    told = []
    if judged:
        told.append(f"Of {count(len(judged), 'claim')} judged from trials, {listed(parts)}.")
    if checked:
        held = sum(claim.tone == Tone.HOLDS for claim in checked)
        identities = count(len(checked), "identity", "identities")
        told.append(f"{held} of {identities} checked hold{'s' if held == 1 else ''}.")
    if silent := len(results.claims) - len(judged) - len(checked):
        more = count(silent, "more claim")
        told.append(f"{more} of the paper {'is' if silent == 1 else 'are'} not run here.")
    return " ".join(told)


def leading(results: SuiteResults, limit: int = 3) -> list[tuple[Claim, tuple[str, str]]]:
    """The claims that a reader wants first, primary ones before others, each as a name and its numbers."""
    ranked = sorted(results.judged, key=lambda claim: claim.rank)
    shown = [claim for claim in ranked if claim.primary] or ranked
    return [(claim, sentence(claim, results.titles)) for claim in shown[:limit]]


def sentence(claim: Claim, titles: Mapping[str, str]) -> tuple[str, str]:
    """A claim's name, and its difference with its interval: a sentence without the verdict's word."""
    difference = finite(claim.value("difference"))
    if difference is None:
        return claim.label(titles), "."
    size = f"{number(difference, sign=True)} {claim.unit}".strip()
    adjusted = finite(claim.value("adjusted_p"))
    told = f", adjusted p {probability(adjusted)}" if adjusted is not None else ""
    return claim.label(titles), (
        f": {size}, 95 % interval {interval(claim.value('ci_low'), claim.value('ci_high'))}"
        f" over {count(int(claim.value('n') or 0), 'paired seed')}{told}."
    )


def change(claim: Claim) -> str:
    """What would change a verdict."""
    design, tone = claim.design, claim.tone
    n = int(claim.value("n") or 0)
    alpha = finite(design.get("alpha")) or 0.05
    adjusted = finite(claim.value("adjusted_p"))
    if tone == Tone.IDLE:
        failed = [gate["metric"] for gate in claim.gates if not gate["passed"]]
        return f"A setting in which the mechanism acts: {listed(failed) or 'its gate'} is beyond the threshold."
    if tone == Tone.OPEN:
        return _more_seeds(claim, n)
    if tone in (Tone.HOLDS, Tone.PART, Tone.AGAINST) and finite(claim.value("difference")) is not None:
        nearest = finite(claim.value("ci_low" if tone != Tone.AGAINST else "ci_high"))
        margin = f"The interval ends {number(abs(nearest))} {claim.unit} from zero. " if nearest is not None else ""
        strict = f"An α below {number(adjusted)} would leave it open. " if adjusted and adjusted < alpha else ""
        size = "Only scale paper can judge the published size." if claim.stand_in else ""
        return f"{margin}{strict}{size}".strip()
    if tone == Tone.NULL:
        smallest = finite(design.get("smallest"))
        told = f" below {number(smallest)} {claim.unit}" if smallest is not None else ""
        return f"A smaller effect counted as worth having{told}, or more seeds that widen nothing but move the mean."
    return claim.reason


def _more_seeds(claim: Claim, n: int) -> str:
    needed, detectable = (finite(claim.design.get(key)) for key in ("seeds_needed", "mde"))
    told = []
    if detectable is not None:
        told.append(f"With {count(n, 'seed')} an effect of {number(detectable)} {claim.unit} would be seen "
                    "with 80 % power.")  # fmt: skip
    if needed is not None:
        seeds = count(int(needed), "paired seed")
        told.append(f"About {seeds} would decide an effect as small as the interval allows.")
    return " ".join(told) or claim.reason or "More paired seeds."
