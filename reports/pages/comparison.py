"""The page of a table's verdicts: one file with everything that they rest on, and the notebook's view of it."""

import html
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.imports.over_datasets import OverDatasets
from harness.imports.table_verdicts import TableVerdict, TableVerdicts, differences
from harness.judge.comparing import ArmScore
from harness.judge.detail import EffectSize
from harness.vocabulary import Verdict
from reports import formatting
from reports.figures.axis import Axis, Mark, axis_of
from reports.pages.render import Page, Site

MOST_PAIRS = 60
"""Differences that are drawn on a line; a table below has them all."""
MOST_TESTS = 60
"""Comparisons of data sets that are drawn; of more only those with the best method."""
MOST_ROWS = 2_000
"""Pairs whose numbers the page lists."""

MISSING = {
    "invalid": "failed: at most one of five of an arm's, and the verdict must not change if they had lost their pairs",
    "worst": "lost pairs: only signs are tested",
}


@dataclass(frozen=True, slots=True)
class ComparisonLine:
    """A test on the page; ``pairs`` are the places of single differences on the axis."""

    verdict: TableVerdict
    tone: str
    mark: Mark
    pairs: Sequence[float]
    text: str
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ArmLine:
    """An arm on a benchmark: what the table has of it."""

    benchmark: str
    arm: str
    n: int
    lost: int
    mean: str
    ends: str


@dataclass(frozen=True, slots=True)
class RankLine:
    """A method at its average rank, or methods without a difference."""

    label: str
    text: str
    low: float
    high: float


def write_comparison(verdicts: TableVerdicts, path: Path) -> Path:
    """Write the page as one HTML file without requests to other hosts; HarnessError if it cannot."""
    page = comparison_page(verdicts)
    text = Site({page.path: page}, single=True).one_file(page)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"{path}: the page cannot be written: {error.strerror}") from None
    return path


def fragment(verdicts: TableVerdicts) -> str:
    """The page in a frame for notebooks, so that styles stay separate."""
    page = comparison_page(verdicts)
    text = Site({page.path: page}, single=True).one_file(page)
    height = min(900, 420 + 34 * len(verdicts))
    style = f"width:100%;height:{height}px;border:0"
    return f'<iframe title="{html.escape(page.title)}" style="{style}" srcdoc="{html.escape(text)}"></iframe>'


def comparison_page(verdicts: TableVerdicts) -> Page:
    """The page's content."""
    drawn = _drawn(verdicts)
    axis = axis_of([(item.difference, item.low, item.high) for item in drawn])
    lines = [_line(verdicts, item, axis) for item in drawn]
    content = {
        "verdicts": verdicts,
        "lines": lines,
        "ranks": [] if verdicts.over is None else rank_lines(verdicts.over),
        "rank_axis": None if verdicts.over is None else Axis(0.5, len(verdicts.over.methods) + 0.5),
        "axis": axis,
        "measured": measured(verdicts),
        "headline": headline(verdicts),
        "arms": arm_lines(verdicts),
        "pairs": _pair_rows(verdicts),
        "most": MOST_ROWS,
        "several": len({score.benchmark for score in verdicts.scores}) > 1,
        "footer": "Written by harness judge from the table alone; nothing else was read.",
        "how": _how(verdicts),
        "verdicts_pair": verdicts.pair,
        "words": [word for word in Verdict if word in {Verdict.of(item.word) for item in verdicts}],
    }
    content["heading"] = heading = _heading(verdicts)
    return Page("index.html", "comparison.html", heading, content)


def _heading(verdicts: TableVerdicts) -> str:
    question = verdicts.question
    if question.methods == question.against:
        over = "" if verdicts.over is None else f" over {len(verdicts.over.datasets)} data sets"
        return f"{verdicts.metric}: {len(question.methods)} methods{over}"
    methods, others = (formatting.listed(list(names)) for names in (question.methods, question.against))
    return f"{verdicts.metric}: {methods} against {others}"


def measured(verdicts: TableVerdicts) -> str:
    """Label of the axis."""
    if any(item.row.detail.pairing.log_ratio for item in verdicts):
        return f"mean logarithm of the ratio of {verdicts.metric}, right = better"
    unit = formatting.unit_of_difference(verdicts.unit)
    return f"difference in {verdicts.metric}{f', {unit}' if unit else ''}, right = better"


def headline(verdicts: TableVerdicts) -> list[str]:
    """Sentences with the number of tests by verdict, reversed first."""
    words = [item.word for item in verdicts]
    ranked = sorted(set(words), key=lambda word: (formatting.shown(word).order, word))
    if verdicts.over is not None:
        best, *others = verdicts.over.methods
        first = f"{best.arm} has the best average rank, {best.rank:.2f} of {len(others) + 1} methods"
        alike = next((last for begin, last in verdicts.over.groups if begin == 0), 0)
        rest = f"{alike} others do not differ from it" if alike else "every other method differs from it"
        return [f"{first}, over {len(verdicts.over.datasets)} data sets; by the corrected tests {rest}."]
    if len(words) == 1:
        item = verdicts[0]
        size = f": {_size(verdicts, item)}" if item.difference is not None else ""
        return [f"{item.method} against {item.against}, {verdicts.metric}: {item.word}{size}."]
    counted = [f"{words.count(word)} {word}" for word in ranked]
    return [f"Of {len(words)} tests: {formatting.listed(counted)}."]


def _how(verdicts: TableVerdicts) -> list[tuple[str, str]]:
    """The table, the rules and their values, as (name, text)."""
    requested, table = verdicts.question, verdicts.table
    smallest = (
        "none was named" if requested.smallest is None else f"{formatting.setting(requested.smallest)} {verdicts.unit}"
    )
    announced = formatting.listed(list(requested.primary)) if requested.primary else "none: every test counts alike"
    pairs = [
        ("table", table.name),
        ("sha256", table.sha256),
        ("read as", verdicts.layout),
        ("metric", f"{verdicts.metric}{f', {verdicts.unit}' if verdicts.unit else ''}, {verdicts.better} is better"),
        ("rows", "; ".join(f"{column} = {value}" for column, value in verdicts.question.where) or "all"),
        ("test", _test(verdicts)),
        ("α", formatting.setting(requested.alpha)),
        ("correction", verdicts.correction),
        ("announced tests", announced),
        ("smallest effect size of interest", smallest.strip()),
        ("scores that are missing or not finite", MISSING[requested.on_divergence]),
    ]
    return [(name, message) for name, message in pairs if message]


def _test(verdicts: TableVerdicts) -> str:
    tests = formatting.listed(list(dict.fromkeys(item.decided_by for item in verdicts if item.decided_by)))
    if verdicts.over is not None:
        return f"{tests}; the estimate is that of Hodges and Lehmann"
    return f"{tests or 'none'}; where the exact sign-flip test disagrees with t, the verdict is inconclusive"


def rank_lines(over: OverDatasets) -> list[RankLine]:
    """The critical-difference diagram: methods by average rank, then the groups."""
    axis = Axis(0.5, len(over.methods) + 0.5)
    names = [method.arm for method in over.methods]
    places = [axis.place(method.rank) or 0.0 for method in over.methods]
    lines = [
        RankLine(method.arm, f"{method.rank:.2f}", place, place)
        for method, place in zip(over.methods, places, strict=True)
    ]
    groups = [
        RankLine(f"{names[first]} to {names[last]}", "no difference", places[first], places[last])
        for first, last in over.groups
    ]
    return [*lines, *groups]


def _drawn(verdicts: TableVerdicts) -> list[TableVerdict]:
    """Announced tests first; of very many over data sets those with the best method."""
    if verdicts.over is not None and len(verdicts) > MOST_TESTS:
        best = verdicts.over.methods[0].arm
        return [item for item in verdicts if best in (item.method, item.against)]
    announced = bool(verdicts.question.primary)
    return sorted(verdicts, key=lambda tested: announced and tested.family != "primary")


def _size(verdicts: TableVerdicts, tested: TableVerdict) -> str:
    unit = formatting.unit_of_difference(verdicts.unit)
    return (
        f"{formatting.number(tested.difference, sign=True)} {unit}".strip()
        + f" {formatting.interval(tested.low, tested.high)}"
    )


def _line(verdicts: TableVerdicts, tested: TableVerdict, axis: Axis) -> ComparisonLine:
    single = [value for _, _, value in differences(verdicts, tested) if math.isfinite(value)]
    places = [axis.place(value) or 0.0 for value in single] if len(single) <= MOST_PAIRS else []
    mark = Mark.of(axis, tested.difference, tested.low, tested.high)
    return ComparisonLine(
        tested, formatting.shown(tested.word).tone, mark, places, _size(verdicts, tested), _facts(verdicts, tested)
    )


def _facts(verdicts: TableVerdicts, tested: TableVerdict) -> list[tuple[str, str]]:
    detail, present, probability = tested.row.detail, formatting.present, formatting.probability
    effect = detail.effect or EffectSize()
    reduction, boot, needed = effect.relative_error_reduction, effect.bootstrap, effect.seeds_needed
    facts: list[tuple[str, str | None]] = [
        (f"{tested.method}, mean of the pairs", _mean([entry.method_mean for entry in detail.per_benchmark])),
        (f"{tested.against}, mean of the pairs", _mean([entry.baseline_mean for entry in detail.per_benchmark])),
        ("p", None if tested.p is None else probability(tested.p)),
        ("adjusted p", None if tested.adjusted_p is None else probability(tested.adjusted_p)),
        ("d_z, exact 95 % interval", formatting.effect_size(effect)),
        ("pairs won", f"{effect.seeds_won} of {tested.n}" if detail.effect and tested.n else None),
        ("this direction again, same design", None if effect.again is None else f"{100 * effect.again:.0f} %"),
        ("P(method better), 95 % interval", tested.share_text),
        ("practical loss, neither, gain", None if tested.shares is None else _shares(tested.shares)),
        ("sign-flip p", present(effect.sign_flip_p, probability)),
        (
            "studentised bootstrap, 95 %",
            None if boot is None or boot.low is None else formatting.interval(boot.low, boot.high),
        ),
        (
            "relative error reduction",
            None if reduction is None else f"{formatting.number(100 * reduction, sign=True)} %",
        ),
        ("correlation of the pairs", present(effect.correlation)),
        ("seen with 80 % power", present(tested.detectable, unit=formatting.unit_of_difference(verdicts.unit))),
        ("pairs needed, at the corrected level", None if needed is None else str(needed)),
        ("without a partner, failed", formatting.counts(detail.numbers.missing, detail.numbers.failed)),
    ]
    return [(name, message) for name, message in facts if message]


def _shares(shares: tuple[float, float, float]) -> str:
    return ", ".join(f"{share:.2f}" for share in shares)


def _mean(means: Sequence[float | None]) -> str | None:
    """Over the benchmarks; None where one has none."""
    existing = [mean for mean in means if mean is not None]
    return formatting.score(statistics.fmean(existing)) if existing and len(existing) == len(means) else None


def arm_lines(verdicts: TableVerdicts) -> list[ArmLine]:
    """Every arm on every benchmark: mean and standard deviation of all that the table has, paired or not."""
    result: dict[tuple[str, str], list[ArmScore]] = {}
    for score in verdicts.scores:
        result.setdefault((score.benchmark, score.arm), []).append(score)
    lines = []
    for (benchmark, arm), scores in result.items():
        values = [score.value for score in scores if math.isfinite(score.value)]
        spread = f" ± {formatting.number(statistics.stdev(values), 2)}" if len(values) > 1 else ""
        mean = f"{formatting.score(statistics.fmean(values))}{spread}" if values else "–"
        ends = f"{formatting.score(min(values))} to {formatting.score(max(values))}" if values else "–"
        lines.append(ArmLine(benchmark, arm, len(values), len(scores) - len(values), mean, ends))
    return lines


def _pair_rows(verdicts: TableVerdicts) -> list[tuple[str, str, str, str, str]]:
    """Test, pair, both scores and the difference."""
    scores = {(score.benchmark, score.arm, score.pair): score.value for score in verdicts.scores}
    rows: list[tuple[str, str, str, str, str]] = []
    for item in verdicts:
        for benchmark, pair, value in differences(verdicts, item)[: MOST_ROWS - len(rows)]:
            ours, theirs = (formatting.score(scores[benchmark, arm, pair]) for arm in (item.method, item.against))
            rows.append((item.test, pair, ours, theirs, formatting.number(value, 4, sign=True)))
    return rows
