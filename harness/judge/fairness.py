"""Rules of a fair comparison: contents, budgets, and the baseline threshold."""

from collections.abc import Sequence

from harness.judge.design import DesignBlock
from harness.judge.evidence import Evidence
from harness.judge.pairs import Pairs
from harness.trial.options import Values
from harness.trial.recipe import RUNNING_KEYS
from harness.trial.spec import TrialSpec

BUDGET = ("steps", "epochs", "max_steps", "batch_size")
ENVIRONMENT = ("threads", "precision", "devices")
Changed = dict[str, tuple[object, object]]
"""Values of both sides by key."""
_NOT_COMPARED = ("slots", "optimizer", "norm", "objective", "adaptation", "diagnostics", *RUNNING_KEYS)


def compare(
    method_spec: TrialSpec, baseline_spec: TrialSpec, own: tuple[TrialSpec, TrialSpec] | None = None
) -> tuple[tuple[str, ...], str | None]:
    """Differences of two trials beyond the claim, and a forbidding reason.

    The claim is about the slot that differs or, where no slot differs, the only recipe, data or model key that does.
    Unequal budgets (steps, epochs, batch, data) or environments (threads, precision) forbid the comparison unless they
    are that key. Where gains are compared, ``own`` are the baselines of both: their differences are on both sides.
    """
    method, baseline = method_spec.to_json(), baseline_spec.to_json()
    slots = _slots(method["slots"], baseline["slots"])
    likewise = {} if own is None else _differing_keys(own[0].to_json(), own[1].to_json())
    keys = {name: pair for name, pair in _differing_keys(method, baseline).items() if likewise.get(name) != pair}
    before, after = set(baseline["prerequisites"]), set(method["prerequisites"])
    extra = [
        f"prerequisite {name}: {'only the method' if name in after else 'only the baseline'}"
        for name in sorted(before ^ after)
    ]
    one_key = not slots and len(keys) == 1
    message = [] if one_key else [_differs(name, *pair) for name, pair in sorted(keys.items())]
    for slot, (other_method, hyper) in sorted(slots.items()):
        if len(slots) > 1 and other_method:
            message.append(f"slot {slot}: another method")
        if other_method or len(slots) > 1:
            message += [_differs(f"{slot}.{key}", *pair) for key, pair in sorted(hyper.items())]
    forbidden = "" if one_key else ", ".join(_differs(name, *keys[name]) for name in sorted(keys) if _forbids(name))
    reason = f"the arms do not have equal budgets or environments: {forbidden}" if forbidden else None
    return (*message, *extra), reason


def changes(spec: TrialSpec, other_spec: TrialSpec) -> list[str]:
    """Every difference of two trials' contents, the first against the second."""
    item, other = spec.to_json(), other_spec.to_json()
    message = [_differs(name, *pair) for name, pair in _differing_keys(item, other).items()]
    for slot in sorted(set(item["slots"]) | set(other["slots"])):
        pairs = _mapping(Values(item["slots"].get(slot) or {}), Values(other["slots"].get(slot) or {}))
        message += [_differs(f"{slot}.{key}", *pair) for key, pair in pairs.items()]
    return message


def _differs(name: str, value: object, other: object) -> str:
    return f"{name}: {value} against {other}"


def _forbids(name: str) -> bool:
    part, _, key = name.partition(".")
    return part == "data" or (part == "recipe" and key in (*BUDGET, *ENVIRONMENT))


def _mapping(own: Values, other: Values) -> Changed:
    keys = sorted(set(own) | set(other))
    return {key: (own.get(key), other.get(key)) for key in keys if own.get(key) != other.get(key)}


def _differing_keys(own: Values, other: Values) -> Changed:
    return {
        f"{part}.{key}": pair
        for part in ("recipe", "data", "model")
        for key, pair in _mapping(own[part], other[part]).items()
        if part != "recipe" or key not in _NOT_COMPARED
    }


def _slots(own: Values, other: Values) -> dict[str, tuple[bool, Changed]]:
    """Slots that differ: by another method, and shared hyper-parameters that differ."""
    differing: dict[str, tuple[bool, Changed]] = {}
    for slot in sorted(set(own) | set(other)):
        first, second = own.get(slot) or {}, other.get(slot) or {}
        if first == second:
            continue
        shared = set(first) & set(second) - {"name"}
        hyper = {key: (first[key], second[key]) for key in shared if first[key] != second[key]}
        other_method = set(first) != set(second) or first.get("name") != second.get("name")
        differing[slot] = (other_method, hyper)
    return differing


def in_percent(block: DesignBlock) -> bool:
    """True for scores of 0 to 100 (up = better) that trace no mechanism."""
    return block.unit.lower() == "percent" and block.better == "higher" and not block.metric.startswith("mechanism.")


def are_shares(scores: Sequence[float]) -> bool:
    """True if all scores lie in [0, 1], some inside."""
    return all(0.0 <= score <= 1.0 for score in scores) and any(score not in (0.0, 1.0) for score in scores)


def shares_for_percent(block: DesignBlock, pairs: Sequence[Pairs]) -> str | None:
    """The reason that scores in percent look like shares, or None."""
    for each, (upper, lower) in zip(pairs, block.comparisons, strict=True) if in_percent(block) else ():
        sides = {upper: list(each.method.values()), lower: list(each.baseline.values())}
        small = [arm for arm, scores in sides.items() if are_shares(scores)]
        both = all(0.0 <= score <= 1.0 for scores in sides.values() for score in scores)
        means = sorted(sum(scores) / len(scores) for scores in sides.values() if scores)
        if small and (both or (means[0] > 0 and 50 <= means[-1] / means[0] <= 200)):
            arms = " and ".join(sides if both else small)
            return f"{block.metric} is in percent (0 to 100), and every score of {arms} lies in [0, 1]"
    return None


def weak_baseline(block: DesignBlock, evidence: Evidence, scores: list[float]) -> str | None:
    """The reason that the deciding baseline misses its threshold (or the mean of the arm that sets it), or None."""
    wanted, of = block.competent, "competent is"
    if block.bar is not None:
        stored = [evidence[trial] for trial in block.trials_of((block.bar,)) if trial in evidence]
        reached = [value for trial in stored if (value := trial.value(block.metric, block.split)) is not None]
        wanted = sum(reached) / len(reached) if reached and block.bar not in block.chain else None
        of = f"{block.bar} reaches"
    if wanted is None or not scores:
        return None
    mean = sum(scores) / len(scores)
    weak = mean < wanted if block.better == "higher" else mean > wanted
    if not weak:
        return None
    return f"{block.chain[1]} reaches {mean:.4g} {block.unit} on {block.benchmark}; {of} {wanted:.4g}"


def below_trivial(block: DesignBlock, pairs: Sequence[Pairs], evidence: Evidence) -> str | None:
    """The reason that nothing was learnt, or None.

    The dummy baseline is ``trivial.METRIC`` of the trials, else the benchmark file's figure.
    """
    stored = [evidence[trial] for trial in block.trials_of(block.chain) if trial in evidence]
    reached = [value for trial in stored if (value := trial.value(f"trivial.{block.metric}", block.split)) is not None]
    trivial = sum(reached) / len(reached) if reached else block.trivial
    scores: dict[str, list[float]] = {}
    for each, (upper, lower) in zip(pairs, block.comparisons, strict=True):
        for arm, existing in ((upper, each.method), (lower, each.baseline)):
            scores.setdefault(arm, list(existing.values()))
    if trivial is None or not scores or not all(scores.values()):
        return None
    means = {arm: sum(existing) / len(existing) for arm, existing in scores.items()}
    if any(mean > trivial if block.better == "higher" else mean < trivial for mean in means.values()):
        return None
    message = " and ".join(f"{arm} {mean:.4g}" for arm, mean in means.items())
    return f"{message} {block.unit} on {block.benchmark}: no better than the dummy baseline's {trivial:.4g}"


def weak_teacher(block: DesignBlock, evidence: Evidence, students: list[float]) -> str | None:
    """The reason that the teacher cannot teach, or None."""
    stored = [evidence[trial] for trial in block.teacher_trials if trial in evidence]
    scores = [score for trial in stored if (score := trial.value(block.metric, block.split)) is not None]
    if not scores or not students:
        return None
    teacher, student = sum(scores) / len(scores), sum(students) / len(students)
    better = teacher > student if block.better == "higher" else teacher < student
    if better:
        return None
    return f"the teacher ({teacher:.4g} {block.unit}) is no better than its student alone ({student:.4g})"
