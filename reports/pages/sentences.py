"""The sentences of a page: what a suite's verdicts say in ten seconds, and what would change one."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest

from harness.results.headlines import headline_text
from harness.vocabulary import Tone
from reports.data.claims import JudgedClaim
from reports.data.suite_results import SuiteResults
from reports.formatting import count, finite, interval, listed, number, probability, shown


def headline(results: SuiteResults) -> list[tuple[str, tuple[tuple[str, int], ...]]]:
    """The first words of a suite's page: what its tests say, group by group, each with its words and their numbers."""
    if not results.judged and not results.checked:
        return [(f"No claim has been judged at scale {results.scale} yet.", ())]
    lines = results.headline
    message = list(headline_text(lines, bool(results.stand_in)))
    words = [()] * (len(message) - len(lines)) + [line.words for line in lines]
    return list(zip_longest(message, words))


def leading(results: SuiteResults, limit: int = 3) -> list[tuple[JudgedClaim, tuple[str, str]]]:
    """Every primary claim as a name and its numbers, what goes the other way first; without any the first few."""
    ranked = sorted(results.judged, key=lambda claim: claim.rank)
    chosen = results.primary or ranked[:limit]
    return [(claim, sentence(claim, results.titles, results.sharing(claim))) for claim in chosen]


def sentence(claim: JudgedClaim, titles: Mapping[str, str], sharing: int = 1) -> tuple[str, str]:
    """A claim's name, and its difference with its interval and what it was measured on, without the verdict's word."""
    verdict = claim.verdict
    more = f"; {count(sharing, 'claim')} share this test" if sharing > 1 else ""
    if claim.tuned is not None:
        more += f"; tuned: {shown(claim.tuned.word).text}"
    more += f"; {claim.rates_told}" * bool(claim.rates_told)
    more += f"; on {claim.stand_in_name}" * bool(claim.stand_in_name)
    if verdict.difference is None:
        reason = f": {claim.reason}" if claim.reason else ""
        return claim.label(titles), f"{reason}{more}."
    size = f"{number(verdict.difference, sign=True)} {claim.unit}".strip()
    message = f", adjusted p {probability(verdict.adjusted_p)}" if verdict.adjusted_p is not None else ""
    return claim.label(titles), (
        f": {size}, 95 % interval {interval(verdict.ci_low, verdict.ci_high)}"
        f" over {count(verdict.n, 'paired seed')}{message}{more}."
    )


def change(claim: JudgedClaim) -> str:
    """What would change a verdict."""
    detail, verdict, tone = claim.detail, claim.verdict, claim.tone
    alpha, adjusted = detail.rules.alpha, verdict.adjusted_p
    if tone == Tone.IDLE:
        failed = [gate.rule.metric for gate in claim.gates if not gate.passed]
        return f"A setting in which the mechanism acts: {listed(failed) or 'its gate'} is beyond the threshold."
    if tone == Tone.OPEN:
        return _more_seeds(claim)
    if tone in (Tone.HOLDS, Tone.PART, Tone.AGAINST) and verdict.difference is not None:
        nearest = finite(verdict.ci_low if tone != Tone.AGAINST else verdict.ci_high)
        margin = f"The interval ends {number(abs(nearest))} {claim.unit} from zero. " if nearest is not None else ""
        strict = f"An α below {number(adjusted)} would leave it open. " if adjusted and adjusted < alpha else ""
        size = "Only scale paper can judge the published size." if claim.stand_in else ""
        return f"{margin}{strict}{size}".strip()
    if tone == Tone.NULL:
        smallest = detail.numbers.smallest
        message = f" below {number(smallest)} {claim.unit}" if smallest is not None else ""
        return f"A smaller effect counted as worth having{message}, or more seeds that widen nothing but move the mean."
    return claim.reason


def _more_seeds(claim: JudgedClaim) -> str:
    needed, effect = claim.seeds_needed, claim.detail.effect
    detectable = None if effect is None else effect.mde
    message = []
    if detectable is not None:
        seeds, size = count(claim.verdict.n, "seed"), f"{number(detectable)} {claim.unit}"
        message.append(f"With {seeds} an effect of {size} would be seen with 80 % power.")
    if needed is not None:
        message.append(
            f"{count(needed, 'paired seed')} would decide an effect as small as the interval allows, "
            "with 80 % power at the corrected level."
        )
    return " ".join(message) or claim.reason or "More paired seeds."
