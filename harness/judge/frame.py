"""What is fixed before any result is looked at: a claim's question, as plain data that is stored with its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness.data.checksums import sha256_of

Mode = Literal["difference", "absolute", "check", "none"]
Family = Literal["primary", "secondary", "exploratory", "identity"]

PREFIX = 16
"""Digits of a trial_id in a stored design; ``verdict_trials`` has the whole ids."""

REGISTERED = (
    "kind", "mode", "direction", "metric", "unit", "benchmarks", "arm", "against", "own_baselines", "scope", "order",
    "alpha", "kappa", "g", "delta", "m", "margin", "target", "on_divergence", "protocol", "family", "gates",
    "tolerated_failures", "stand_in_smallest_sd", "seeds", "members",
)  # fmt: skip
"""Fields whose change after results exist is a changed design."""


@dataclass(frozen=True, slots=True)
class GateRule:
    """Does the cause act? ``metric`` of ``arm``, as a ratio to ``relative_to`` or less ``minus``, against ``value``."""

    metric: str
    arm: str
    relative_to: str | None
    minus: str | None
    op: str
    value: float

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that it looks at."""
        return tuple(arm for arm in (self.arm, self.relative_to, self.minus) if arm is not None)

    @property
    def of(self) -> str:
        """Whose metric it is, in words."""
        return f"{self.arm} / {self.relative_to}" if self.relative_to else " − ".join(self.arms)


@dataclass(frozen=True, slots=True)
class Block:
    """One benchmark of a claim, or several that one stand-in serves.

    Attributes:
        chain: arms whose neighbours are compared, the first one above the next (signed by the claim's direction);
            with ``best`` the first one is compared with every other.
        cells: arm → seed → trial_id, for every arm that the claim needs here.
        direction: the sign that makes the claimed direction positive in this metric.
        floor: smallest difference worth having, in the metric's unit; ``relative_floor`` as a share of the baseline.
        place: names the stand-in that serves the benchmark, planned or not.
        unequal: what the two deciding arms differ in beyond the claim; ``invalid`` says why they cannot be compared.
        contrast: id of the test, where each benchmark has its own.
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
    perfect: float | None = None
    competent: float | None = None
    teacher: str | None = None
    teacher_trials: tuple[str, ...] = ()
    unequal: tuple[str, ...] = ()
    invalid: str | None = None
    contrast: str = ""
    place: str = ""

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The comparisons that decide: (upper arm, lower arm)."""
        if self.best:
            return tuple((self.chain[0], other) for other in self.chain[1:])
        return tuple(zip(self.chain, self.chain[1:], strict=False))


@dataclass(frozen=True, slots=True)
class Frame:
    """A claim's question and its pre-registered design.

    ``direction`` is the sign that makes the claimed direction positive, for the metric that is measured (each block
    has its own).
    ``delta`` is the published effect in that direction, None where none is printed or the metric is another one.
    ``others``: comparators that are shown and do not decide.
    ``domains``: the blocks are the sample, seeds are averaged within each.
    ``k``: in how many blocks the effect must exist (``at_least``); None means all.
    """

    claim_id: str
    suite: str
    scale: str
    kind: str
    mode: Mode
    direction: int
    metric: str
    unit: str
    benchmarks: tuple[str, ...]
    arm: str | None
    against: tuple[str, ...]
    own_baselines: tuple[str, ...]
    scope: str
    k: int | None
    order: str | None
    alpha: float
    kappa: float
    g: float
    delta: float | None
    m: float | None
    margin: float | None
    target: float | None
    log_ratio: bool
    on_divergence: str
    protocol: str
    family: Family
    tolerated_failures: float
    stand_in_smallest_sd: float
    seeds: tuple[int, int, int]
    sequential: bool
    gates: tuple[GateRule, ...] = ()
    blocks: tuple[Block, ...] = ()
    others: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    stand_in: tuple[str, ...] = ()
    contrast: str = ""
    contrast_claims: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    check: str | None = None
    stopped: tuple[str, str] | None = None
    note: str = ""
    domains: str | None = None

    @property
    def is_stand_in(self) -> bool:
        """Whether anything differs from the paper's setting: the published size means nothing then."""
        return bool(self.stand_in)

    @property
    def registered(self) -> str:
        """sha256 of what must not change once results exist."""
        whole = asdict(self)
        fixed = {name: whole[name] for name in REGISTERED}
        # only where it is given: designs that were registered before it existed have not changed
        return sha256_of(fixed | ({"domains": self.domains} if self.domains is not None else {}))

    def trial_ids(self) -> dict[str, str]:
        """Every trial that the claim looks at, with its side; a trial has the first of its sides."""
        sides: dict[str, str] = {}
        for block in self.blocks:
            for name, arms in (("method", block.chain[:1]), ("baseline", block.chain[1:])):
                for arm in arms:
                    for trial in block.cells.get(arm, {}).values():
                        sides.setdefault(trial, name)
        for block in self.blocks:
            for name, arms in (("own baseline", self.own_baselines), ("shown", self.others), ("gate", self.gate_arms)):
                for arm in arms:
                    for trial in block.cells.get(arm, {}).values():
                        sides.setdefault(trial, name)
            for trial in block.teacher_trials:
                sides.setdefault(trial, "teacher")
        return sides

    @property
    def gate_arms(self) -> tuple[str, ...]:
        """Arms that the gates look at."""
        named = [arm for gate in self.gates for arm in gate.arms]
        return tuple(dict.fromkeys(named))

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data; trial_ids are cut to ``PREFIX`` digits."""
        whole = asdict(self)
        for block in whole["blocks"]:
            block["cells"] = {
                arm: {str(seed): trial[:PREFIX] for seed, trial in cell.items()} for arm, cell in block["cells"].items()
            }
            block["teacher_trials"] = [trial[:PREFIX] for trial in block["teacher_trials"]]
        return whole


def frame_from(design: Mapping[str, Any], trial_ids: Mapping[str, str]) -> Frame:
    """A frame from a stored design and whole trial_ids by their first ``PREFIX`` digits.

    Raises:
        KeyError: the design names a trial that is not among ``trial_ids``, or lacks a field.
    """
    values = {"domains": None, **design}
    values = {name: values[name] for name in Frame.__dataclass_fields__}
    blocks = tuple(_block(one, trial_ids) for one in values["blocks"])
    gates = tuple(GateRule(**one) for one in values["gates"])
    plain = {name: _tuples(value) for name, value in values.items() if name not in ("blocks", "gates")}
    return Frame(**plain, blocks=blocks, gates=gates)


def _block(stored: Mapping[str, Any], trial_ids: Mapping[str, str]) -> Block:
    cells = {
        arm: {int(seed): trial_ids[trial] for seed, trial in cell.items()} for arm, cell in stored["cells"].items()
    }
    plain = {name: _tuples(value) for name, value in stored.items() if name not in ("cells", "teacher_trials")}
    return Block(**plain, cells=cells, teacher_trials=tuple(trial_ids[one] for one in stored["teacher_trials"]))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Stored:
    """The two sides of an identity's check, as stored; ``code`` is the fingerprint of what computed them."""

    ours: float
    theirs: float
    tolerance: float
    unit: str = ""
    detail: str = ""
    relation: str = "equal"
    holds: bool = False
    code: str = ""
    error: str | None = None
