"""A claim's design, fixed before results and stored with its verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from harness import stats
from harness.data.checksums import sha256_of
from harness.suite.cells import stand_in_names
from harness.suite.models import MechanismCheck
from harness.vocabulary import Protocol, Verdict

Mode = Literal["difference", "absolute", "check", "none"]
Family = Literal[
    "primary", "secondary", "absolute", "own", "mechanism", "intervention", "ablation", "exploratory", "identity"
]

PREFIX = 16
"""Digits of a trial_id in a stored design; ``verdict_trials`` has the whole ids."""

REGISTERED = (
    "kind",
    "mode",
    "direction",
    "metric",
    "unit",
    "benchmarks",
    "arm",
    "against",
    "own_baselines",
    "scope",
    "order",
    "alpha",
    "kappa",
    "g",
    "delta",
    "m",
    "margin",
    "target",
    "on_divergence",
    "protocol",
    "family",
    "tolerated_failures",
    "seeds",
    "members",
)
"""Fields whose change after results exist is a changed design; mechanism checks (``gates``) are added to them."""


class Stop(NamedTuple):
    """A verdict without a test, and the reason."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class DesignBlock:
    """One benchmark of a claim, or several that one stand-in serves.

    Attributes:
        chain: arms whose neighbours are compared, upper arm first; with ``best`` the first with every other.
        cells: arm → seed → trial_id, for every arm that the claim needs here.
        direction: the sign that makes the claimed direction positive in this metric.
        floor: smallest effect size of interest at paper scale, in the metric's unit; ``relative_floor`` as a share of
            the baseline's mean. ``smallest`` and ``relative_smallest`` are the registered ones on a stand-in.
        competent: baseline threshold, or ``bar``, the arm that sets it.
        trivial: score of the dummy baseline, where trials do not report it.
        place: names the stand-in that serves the benchmark.
        unequal: differences of the deciding arms beyond the claim; ``invalid`` forbids their comparison.
        contrast: id of the test, where each benchmark has one; ``family`` corrects it (None: the claim's).
        named: the stand-in in a few words.
        stated: a warning about numbers that others reported; empty for our trials.
        deterministic: arms that may give one score at every seed.
        resampled: n_test/n_train where the pairs are splits of one data set; 0: the pairs are independent.
    """

    benchmark: str
    shares: tuple[str, ...]
    metric: str
    split: str | None
    better: str
    unit: str
    direction: int
    chain: tuple[str, ...]
    best: bool
    cells: Mapping[str, Mapping[int, str]]
    stand_in: tuple[str, ...] = ()
    floor: float | None = None
    relative_floor: float | None = None
    smallest: float | None = None
    relative_smallest: float | None = None
    perfect: float | None = None
    competent: float | None = None
    bar: str | None = None
    trivial: float | None = None
    teacher: str | None = None
    teacher_trials: tuple[str, ...] = ()
    unequal: tuple[str, ...] = ()
    invalid: str | None = None
    contrast: str = ""
    place: str = ""
    named: str = ""
    stated: str = ""
    deterministic: tuple[str, ...] = ()
    family: Family | None = None
    resampled: float = 0.0

    @property
    def comparisons(self) -> tuple[tuple[str, str], ...]:
        """The comparisons that decide: (upper arm, lower arm)."""
        if self.best:
            return tuple((self.chain[0], other) for other in self.chain[1:])
        return tuple(zip(self.chain, self.chain[1:], strict=False))

    def trials_of(self, arms: tuple[str, ...]) -> list[str]:
        return [trial for arm in arms for trial in self.cells.get(arm, {}).values()]


@dataclass(frozen=True, slots=True)
class Question:
    """The comparison of a claim.

    ``others`` are shown and do not decide. ``k`` blocks must have the effect (scope ``at_least``); None: all.
    ``domains``: the blocks are the sample, seeds are averaged within each.
    """

    claim_id: str
    suite: str
    kind: str
    mode: Mode
    benchmarks: tuple[str, ...] = ()
    arm: str | None = None
    against: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    scope: str = "each"
    k: int | None = None
    order: str | None = None
    protocol: str = Protocol.PUBLISHED
    domains: str | None = None
    check: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Rule that turns two scores of one seed into a difference; ``on_divergence: worst`` counts a lost pair.

    ``seeds_of_search``: the seeds that judge one search; their mean is one pair. None: a pair is a seed. ``ranked``: a
    pair is a data set, tested by signed ranks.
    """

    own_baselines: tuple[str, ...] = ()
    log_ratio: bool = False
    on_divergence: str = "invalid"
    seeds_of_search: int | None = None
    ranked: bool = False


@dataclass(frozen=True, slots=True)
class Estimand:
    """The estimated effect, in the unit of the measured metric.

    Attributes:
        direction: the sign that makes the claimed direction positive (each block has one).
        delta: published effect in that direction; None where none is printed or the metric differs.
        m: smallest effect size of interest, where the claim gives it.
        margin: of "not worse" and of equivalence.
        target: the published value of an absolute claim.
        stated: False if only the direction is judged because no sentence states a size.
    """

    direction: int
    metric: str
    unit: str
    delta: float | None = None
    m: float | None = None
    margin: float | None = None
    target: float | None = None
    stated: bool = True


@dataclass(frozen=True, slots=True)
class StatisticalRules:
    """Levels and tolerances of a suite; ``seeds`` is (fewest, of primary claims, maximum)."""

    alpha: float
    kappa: float
    g: float
    tolerated_failures: float
    seeds: tuple[int, int, int]
    sequential: bool

    @property
    def stopping(self) -> stats.SequentialRule | None:
        """The sequential rule for added seeds; None for a fixed number of seeds."""
        return stats.SequentialRule(self.g, self.seeds[2]) if self.sequential else None


@dataclass(frozen=True, slots=True)
class Multiplicity:
    """The family of a claim: ``members`` are its tests, ``contrast`` the claim's first.

    A test that a stricter family shares is corrected there (:meth:`ClaimDesign.family_of`).

    ``contrast_claims`` share a test with this claim. Near-certain claims (mechanisms, interventions, ablations) have
    separate families: they would loosen the correction of the score claims.
    """

    family: Family
    contrast: str = ""
    contrast_claims: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimDesign:
    """A claim's question and pre-registered design; ``stopped`` is a verdict without results."""

    scale: str
    question: Question
    pairing: Pairing
    estimand: Estimand
    rules: StatisticalRules
    multiplicity: Multiplicity
    gates: tuple[MechanismCheck, ...] = ()
    blocks: tuple[DesignBlock, ...] = ()
    absent: tuple[str, ...] = ()
    stand_in: tuple[str, ...] = ()
    stopped: Stop | None = None

    @property
    def claim_id(self) -> str:
        return self.question.claim_id

    def family_of(self, contrast: str) -> Family:
        """The family that corrects one of the claim's tests."""
        own = (block.family for block in self.blocks if block.contrast == contrast)
        return next(filter(None, own), self.multiplicity.family)

    @property
    def is_stand_in(self) -> bool:
        """True if anything differs from the paper's setting."""
        return bool(self.stand_in)

    @property
    def sizeless(self) -> bool:
        """True if only the direction is judged."""
        return self.is_stand_in or not self.estimand.stated

    @property
    def stand_in_name(self) -> str:
        """The stand-ins in a few words; empty at the paper's setting."""
        return stand_in_names(block.named for block in self.blocks)

    @property
    def mechanism_arms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(arm for gate in self.gates for arm in gate.arms))

    def trial_ids(self) -> dict[str, str]:
        """Every trial of the claim with its first side."""
        own, others, gates = self.pairing.own_baselines, self.question.others, self.mechanism_arms
        parts: list[tuple[str, Sequence[str]]] = []
        for block in self.blocks:
            parts += [("method", block.trials_of(block.chain[:1])), ("baseline", block.trials_of(block.chain[1:]))]
        for block in self.blocks:
            bars = () if block.bar is None else (block.bar,)
            beside = {"own baseline": own, "shown": (*others, *bars), "gate": gates}
            parts += [(side, block.trials_of(arms)) for side, arms in beside.items()]
            parts.append(("teacher", block.teacher_trials))
        sides: dict[str, str] = {}
        for side, trials in parts:
            sides |= {trial: side for trial in trials if trial not in sides}
        return sides

    def fixed(self) -> dict[str, Any]:
        """Values that must not change once results exist, by name."""
        parts = (self.question, self.pairing, self.estimand, self.rules, self.multiplicity)
        values = {name: value for part in parts for name, value in asdict(part).items() if name in REGISTERED}
        # only where there are some: designs that were registered before these keys existed have not changed
        later = {"domains": self.question.domains, "seeds_of_search": self.pairing.seeds_of_search}
        gates = [gate.model_dump() for gate in self.gates]
        return values | {"gates": gates} | {name: value for name, value in later.items() if value is not None}

    def digest(self) -> str:
        """sha256 of what must not change once results exist."""
        return sha256_of(self.fixed())
