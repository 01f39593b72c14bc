"""Claims about domains: seeds averaged within a domain, the test over domains."""

from pathlib import Path

import pytest
from judge_support import World, around, benchmark, binding, fact, flat, judge_stored, write_suite

from harness import stats
from harness.errors import SuiteError
from harness.judge.bindings import claim_designs
from harness.judge.seeds import pending_of
from harness.suite import Suite

ROOMS = ("r0", "r1", "r2", "r3", "r4")
MEANS = (2.0, 1.0, -0.5, 3.0, 1.5)


def rooms(folder: Path, **more: object) -> Suite:
    where = "".join(benchmark(name, paper=True, level=60 + i) for i, name in enumerate(ROOMS))
    bound = {"benchmarks": list(ROOMS), "scope": "mean", "domains": "benchmarks", **more}
    return write_suite(folder, [fact("c")], [binding("c", **bound)], benchmarks=where)


def world(suite: Suite, seeds: int, spread: float = 0.05) -> World:
    scores: dict[tuple[str, str], list[float]] = {}
    for name, mean in zip(ROOMS, MEANS, strict=True):
        scores |= {(name, "ours"): around(mean, spread, seeds), (name, "base"): flat(seeds)}
    return World(suite, scores, "paper")


@pytest.mark.parametrize("seeds", [3, 12])
def test_the_sample_is_the_domains(tmp_path: Path, seeds: int) -> None:
    row = world(rooms(tmp_path), seeds).verdicts()["c"]
    expected = stats.paired_t(list(MEANS))
    assert [row["n"], row["difference"], row["ci_low"], row["ci_high"], row["p"]] == pytest.approx(
        [5, expected.estimate, expected.low, expected.high, expected.p]
    )
    assert row["verdict"] == "inconclusive"  # however many seeds
    assert row["design"]["numbers"]["replicated_over"] == "domains"
    assert [entry["n"] for entry in row["design"]["per_benchmark"]] == [seeds] * 5


def test_over_seeds_the_same_scores_would_reproduce(tmp_path: Path) -> None:
    row = world(rooms(tmp_path, domains=None), 12).verdicts()["c"]
    assert row["verdict"] == "reproduced"
    assert row["ci_high"] - row["ci_low"] < 0.1


def test_bought_seeds_do_not_enter(tmp_path: Path) -> None:
    suite = rooms(tmp_path)
    few, many = world(suite, 3, 1.0), world(suite, 12, 1.0)
    for name in ROOMS:
        many.scores[name, "ours"][:3] = few.scores[name, "ours"]  # type: ignore[index]
    first, later = (item.verdicts(sequential=True)["c"] for item in (few, many))
    assert (first["difference"], first["p"]) == (later["difference"], later["p"])
    designs = claim_designs(suite, few.plan, sequential=True)
    assert pending_of(designs, few.evidence(), 20) == []


def test_a_verdict_over_domains_recomputes(tmp_path: Path, database: Path) -> None:
    result = world(rooms(tmp_path), 3)
    result.store(database)
    assert set(judge_stored(result, database)) == {"c"}


@pytest.mark.parametrize("changes", [{"scope": "each"}, {"benchmarks": ["r0"]}, {"domains": "rooms"}])
def test_domains_need_a_mean_over_benchmarks(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(SuiteError, match="domains"):
        rooms(tmp_path, **changes)
