"""The shipped suites: valid, whole, affordable, and no two of their benchmarks the same thing twice."""

import itertools
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from contract_cells import suite_of

from harness import registry
from harness.data.checksums import canonical
from harness.judge.bindings import claim_designs
from harness.plan.planning import Plan, Selection, make_plan
from harness.registry.shipped import suite_files
from harness.suite.cells import block_of, served_by, setting
from harness.suite.models import ScaleBlock

SUITES = sorted(suite_files())
FOLDER = Path(__file__).parents[2] / "suites"
SCALES = ("mini", "small", "paper")


@cache
def plan_of(name: str, scale: str) -> Plan:
    return make_plan(suite_of(name), Selection(scale=scale))


@pytest.mark.parametrize("name", SUITES)
def test_every_claim_is_bound_or_unbound(name: str) -> None:
    suite = suite_of(name)
    assert Counter(binding.id for binding in suite.model.claims) == Counter(list(suite.facts))


@pytest.mark.parametrize("name", SUITES)
def test_context_is_never_judged(name: str) -> None:
    """Provenance and reference claims get no verdict; identities are computed."""
    suite = suite_of(name)
    for binding in suite.model.claims:
        kind = suite.facts[binding.id].kind
        if kind in ("provenance", "reference"):
            assert binding.unbound is not None, binding.id
        if kind == "identity":
            assert binding.check is not None or binding.unbound is not None, binding.id


@pytest.mark.parametrize("name", SUITES)
def test_claims_are_bound_to_their_own_benchmark_and_metric(name: str) -> None:
    suite = suite_of(name)
    for binding in suite.model.claims:
        fact = suite.facts[binding.id]
        if len(binding.benchmarks) == 1 and fact.benchmark in suite.benchmarks:
            assert binding.benchmarks == [fact.benchmark] or fact.kind == "mechanism", binding.id
        for benchmark in binding.benchmarks:
            metric = binding.metric or fact.metric
            existing = suite.benchmarks[benchmark].model.metrics
            if len(binding.benchmarks) == 1:
                assert metric in existing or metric.startswith("mechanism."), binding.id
            if metric in existing and len(binding.benchmarks) == 1:
                assert (existing[metric].better, existing[metric].unit) == (fact.better, fact.unit), binding.id


@pytest.mark.parametrize("name", SUITES)
def test_differences_on_a_mechanism_have_a_gate(name: str) -> None:
    """A claim that a method wins says by which cause."""
    suite = suite_of(name)
    methods = {arm for arm, item in suite.model.arms.items() if item.role == "method"}
    for binding in suite.model.claims:
        if suite.facts[binding.id].kind == "difference" and binding.arm in methods:
            assert binding.gates, binding.id


@pytest.mark.parametrize("name", SUITES)
def test_at_most_five_primary_contrasts_run_more_seeds(name: str) -> None:
    suite, plan = suite_of(name), plan_of(name, "mini")
    primary = [binding for binding in suite.model.claims if binding.primary]
    assert 1 <= len(primary) <= 5
    seeds = suite.model.seeds
    for binding in primary:
        for arm in (binding.arm, *binding.deciding(suite.facts[binding.id].kind)):
            assert len(plan.trial_ids(binding.benchmarks[0], str(arm))) == seeds.primary


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", SUITES)
def test_no_two_benchmarks_are_the_same(name: str, scale: str) -> None:
    suite = suite_of(name)
    contents: dict[str, str] = {}
    for benchmark in suite.benchmarks:
        base = setting(suite, benchmark, scale)
        if base is None or base.served_by != benchmark:
            continue
        recipe = {key: value for key, value in base.recipe.items() if key != "timeout_seconds"}
        before = {key: wanted.model_dump() for key, wanted in base.prerequisites.items()}
        content = canonical([base.task, dict(base.data), dict(base.model), recipe, before])
        assert content not in contents, (benchmark, contents.get(content))
        contents[content] = benchmark


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", SUITES)
def test_stand_ins_run_once(name: str, scale: str) -> None:
    """A benchmark that another one serves has that one's trials."""
    suite, plan = suite_of(name), plan_of(name, scale)
    for benchmark, loaded in suite.benchmarks.items():
        block: ScaleBlock | None = block_of(loaded, scale)
        for other in block.stands_for if block is not None else ():
            assert served_by(suite, other, scale) == benchmark
            shared = [arm for b, arm in plan.cells if b == other and (benchmark, arm) in plan.cells]
            assert shared
            for arm in shared:
                theirs = plan.trial_ids(other, arm)
                ours = plan.trial_ids(benchmark, arm)
                assert {seed: ours[seed] for seed in theirs if seed in ours} == {
                    s: theirs[s] for s in theirs if s in ours
                }


@pytest.mark.parametrize("task", ["classification", "retrieval", "language-modelling"])
def test_the_spine_of_adamp_has_all_three_scales(task: str) -> None:
    suite = suite_of("adamp")
    spine = [name for name, item in suite.benchmarks.items() if item.model.task == task]
    assert spine
    for benchmark, scale in itertools.product(spine, SCALES):
        assert setting(suite, benchmark, scale) is not None, (benchmark, scale)


@pytest.mark.parametrize("name", SUITES)
def test_every_benchmark_runs_as_published_and_as_a_stand_in_that_says_what_it_changes(name: str) -> None:
    suite = suite_of(name)
    for benchmark in suite.benchmarks:
        at_paper, at_mini = setting(suite, benchmark, "paper"), setting(suite, benchmark, "mini")
        assert at_paper is not None, benchmark
        assert at_mini is not None, benchmark
        assert at_paper.stand_in == ()
        assert at_mini.stand_in[0].startswith("data:")


@pytest.mark.parametrize("name", SUITES)
def test_mini_needs_no_download_and_no_other_package(name: str) -> None:
    plan = plan_of(name, "mini")
    for base in plan.settings.values():
        info = registry.entry("data", str(base.data["name"])).metadata
        assert info.fetch == "shipped", base.benchmark
    for trial in plan.trials:
        assert "package" not in str(trial.spec.slots.methods["optimizer"].name)


def test_four_retrieval_sets_are_four_experiments_at_small() -> None:
    suite, mini = suite_of("adamp"), plan_of("adamp", "mini")
    for loss in ("triplet", "proxyanchor"):
        named = [f"{data}-{loss}" for data in ("cub", "cars196", "sop", "inshop")]
        at_small = [setting(suite, name, "small") for name in named]
        assert len({base.data["name"] for base in at_small if base is not None}) == 4
        for item, other in itertools.combinations(named, 2):
            if served_by(suite, item, "mini") == served_by(suite, other, "mini"):
                for arm in ("adam", "adamw", "adamp"):
                    assert mini.trial_ids(item, arm) == mini.trial_ids(other, arm)


@pytest.mark.parametrize("name", SUITES)
def test_every_contrast_of_a_suite_may_be_judged(name: str) -> None:
    """Arms of one claim have equal budgets and environments; else its verdict would always be `invalid`."""
    designs = claim_designs(suite_of(name), plan_of(name, "mini"), sequential=False)
    blocks = [(design.claim_id, block) for design in designs for block in design.blocks]
    assert len(blocks) > 5
    assert {(claim, block.benchmark): block.invalid for claim, block in blocks if block.invalid} == {}


@pytest.mark.parametrize(
    ("suite", "place", "arm", "seeds"),
    [
        ("adamp", "imagenet-resnet18", "adamp", 6),
        ("adamp", "imagenet-resnet18", "adamw", 6),
        ("adamp", "imagenet-resnet18", "adam", 6),  # AdamW and Adam decide alike
        ("adamp", "sop-proxyanchor", "adam", 6),  # one experiment with inshop-proxyanchor, which is primary
        ("adamp", "imagenet-resnet18", "adamp-no-projection", 3),
        ("knn_mmd", "wifall-fall", "knn-mmd", 6),
        ("knn_mmd", "wifall-fall", "dann", 6),  # an ordering is decided by every comparator
        ("knn_mmd", "wifall-fall", "in-domain", 3),
    ],
)
def test_cells_of_primary_contrasts_run_six_seeds(suite: str, place: str, arm: str, seeds: int) -> None:
    plan = make_plan(suite_of(suite), Selection("mini", benchmarks=(place,)))
    assert len(plan.trial_ids(place, arm)) == seeds
