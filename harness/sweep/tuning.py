"""What a sweep tunes: arms, spaces, sampler and seeds, from the suite's section and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.data.checksums import sha256_of
from harness.errors import HarnessError, choices
from harness.execute.session import SessionRequest
from harness.plan.planning import Selection, make_plan
from harness.suite import Suite
from harness.suite.cells import setting
from harness.suite.models import Arm, Sweep
from harness.sweep.space import Space, spaces_of
from harness.sweep.study import PRUNERS, SAMPLERS, Drawing

TUNING_SEED = 10_000  # tuning seeds begin here, so that the seeds of the comparison are fresh
SHARES = (1 / 9, 1 / 3, 1.0)  # of the training, for hyperband's rungs


@dataclass(frozen=True, slots=True)
class SweepRequest(SessionRequest):
    """The options of ``harness sweep``; None takes the suite's own."""

    benchmark: str
    budget: int
    arms: tuple[str, ...] = ()
    scale: str = "mini"
    sampler: str | None = None
    pruner: str | None = None
    seeds: int | None = None
    fresh: int | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tuning:
    """Everything that decides which configurations a sweep tries, whatever its budget.

    ``metric`` is compared on test; ``selection_metric`` chooses on validation, ``better`` in its direction.

    ``sweep_id`` is made of content and code: points of a changed implementation are never taken for those of the
    present one. The budget is not in it: a larger one goes on from a smaller. ``study_id`` is made of the search alone,
    so that a changed implementation is tried on the same random draws.
    """

    suite: Suite
    benchmark: str
    scale: str
    arms: Mapping[str, Arm]
    spaces: Mapping[str, Space]
    fill: Mapping[str, Any]
    sampler: str
    pruner: str
    seeds: int
    batch: int
    metric: str
    selection_metric: str
    better: str
    overrides: Mapping[str, Any]
    fresh: int
    study_id: str
    sweep_id: str

    def drawing(self, arm: str) -> Drawing:
        """How an arm's points are drawn."""
        return Drawing(self.study_id, arm, self.spaces[arm], self.sampler, self.better == "higher")

    def rungs(self) -> list[tuple[tuple[int, ...], float]]:
        """(seeds, share of the training) of a point's trials; without a pruner they all run at once."""
        if self.pruner == "hyperband":
            return [((TUNING_SEED,), share) for share in SHARES]
        seeds = tuple(TUNING_SEED + k for k in range(self.seeds))
        return [(seeds, 1.0)] if self.pruner == "none" else [((seed,), 1.0) for seed in seeds]

    @property
    def trials(self) -> int:
        """Trials of a configuration that is not pruned."""
        return sum(len(seeds) for seeds, _ in self.rungs())


def make_tuning(suite: Suite, request: SweepRequest) -> Tuning:
    """What is to be tuned, checked before anything runs.

    Raises:
        HarnessError: an unknown benchmark, arm, sampler or pruner, a scale that the benchmark lacks, no space.
    """
    own = suite.model.sweep or Sweep()
    for what, name, known in (("benchmark", request.benchmark, suite.benchmarks),
                              *(("arm", arm, suite.model.arms) for arm in request.arms)):  # fmt: skip
        if name not in known:
            raise HarnessError(f"no {what} '{name}' in this suite; {choices(list(known), name)}")
    base = setting(suite, request.benchmark, request.scale)
    if base is None:
        raise HarnessError(f"benchmark '{request.benchmark}' has no scale '{request.scale}'")
    listed = base.arms if base.arms is not None else tuple(suite.model.arms)
    names = request.arms or tuple(name for name in own.arms if name in listed)
    names = names if len(names) > 1 else request.arms or _compared(suite, request.benchmark)
    if len(set(names)) < 2:
        raise HarnessError("a sweep compares at least two arms; name them with --arm, or under 'sweep: arms:'")
    sampler, pruner = request.sampler or own.sampler, request.pruner or own.pruner
    if sampler not in SAMPLERS or pruner not in PRUNERS:
        raise HarnessError(f"valid samplers: {', '.join(SAMPLERS)}; valid pruners: {', '.join(PRUNERS)}")
    if sampler in ("random", "grid") and pruner != "none":
        raise HarnessError(f"--pruner {pruner}: budget curves need independent draws that all end; use --sampler tpe")
    if request.budget < 1:
        raise HarnessError(f"--budget {request.budget}: at least 1 configuration is expected")
    arms = {name: suite.model.arms[name] for name in names}
    fill = base.recipe.get("slots") or {}
    metrics = suite.benchmarks[request.benchmark].model.metrics
    metric = own.metric if own.metric in metrics else next(iter(metrics))
    selected = own.selection_metric or metric
    better = own.selection_better if own.selection_metric else metrics[metric].better
    seeds, overrides = request.seeds or own.seeds, {**own.set, **request.overrides}
    spaces = spaces_of(arms, fill, own.spaces)
    search = {
        "suite": suite.name, "benchmark": request.benchmark, "scale": request.scale, "sampler": sampler,
        "pruner": pruner, "seeds": seeds, "batch": own.batch, "metric": selected,
        "spaces": {n: {k: r.model_dump() for k, r in s.items()} for n, s in spaces.items()},
    }  # fmt: skip
    content = {**search, "arms": _trials_of(suite, request, arms, overrides)}
    return Tuning(
        suite, request.benchmark, request.scale, arms, spaces, fill, sampler, pruner, seeds, own.batch, metric,
        selected, better, overrides, request.fresh or own.fresh, sha256_of(search)[:16], sha256_of(content)[:16],
    )  # fmt: skip


def _compared(suite: Suite, benchmark: str) -> tuple[str, ...]:
    """Without a list: the arms of the first claim that is bound to the benchmark."""
    for binding in suite.model.claims:
        if benchmark in binding.benchmarks and binding.arm is not None and binding.against:
            return (binding.against[0], binding.arm)
    return ()


def _trials_of(
    suite: Suite, request: SweepRequest, arms: Mapping[str, Arm], overrides: Mapping[str, Any]
) -> dict[str, str]:
    """The trial that each arm is as it stands: its identity holds task, data, recipe, prerequisites and code."""
    chosen = Selection(
        scale=request.scale, benchmarks=(request.benchmark,), arms=(), seeds=(TUNING_SEED,), overrides=overrides,
        added_arms=arms,
    )  # fmt: skip
    return {link.arm: link.trial_id for link in make_plan(suite, chosen).links}
