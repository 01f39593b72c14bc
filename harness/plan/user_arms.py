"""An arm from a user's file: ``--arm mine=./my.py:MyAdam``, and the comparison that judges it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import HarnessError, choices
from harness.plan.planning import Selection, arms_of
from harness.registry.user_methods import UserMethod, register, user_method
from harness.suite import Suite
from harness.suite.cells import setting
from harness.suite.models import Arm, Claim
from harness.suite.short_forms import comparison_id


def user_arm(text: str) -> tuple[str, Arm, UserMethod]:
    """Parse ``NAME=FILE.py:CLASS``: the arm's name, the arm, and its method.

    Raises:
        HarnessError: the file, the class or its slot is missing.
    """
    name, equals, where = text.partition("=")
    file, colon, target = where.rpartition(":")
    if not (name and equals and colon and file and target):
        raise HarnessError(f"--arm '{text}': NAME or NAME=FILE.py:CLASS is expected, as in mine=./my.py:MyAdam")
    path = Path(file).resolve()
    if not path.is_file():
        raise HarnessError(f"--arm '{text}': no file {path}")
    try:
        method = replace(user_method(path, target, "optimizer"), name=f"{name} ({target})")
    except HarnessError as error:
        hint = "; a suite takes other kinds as 'norm: {file: …, class: …}' (docs/your-own-code.md)"
        raise HarnessError(f"--arm '{text}': {error}" + hint * ("not a torch.optim" in str(error))) from None
    register(method)
    arm = Arm.model_validate({"role": "method", "about": f"{target} of {path.name}", "optimizer": method.name})
    return name, arm, method


def with_user_arms(suite: Suite, texts: Sequence[str]) -> tuple[Suite, tuple[str, ...]]:
    """Add the arms ``NAME=FILE.py:CLASS`` to a suite; return it with all names.

    Raises:
        HarnessError: as :func:`user_arm`, or the suite has an arm of that name.
    """
    arms, methods, names = dict(suite.model.arms), list(suite.own_methods), []
    for text in texts:
        if "=" not in text:
            names.append(text)
            continue
        name, arm, method = user_arm(text)
        if name in suite.model.arms:
            raise HarnessError(f"--arm '{text}': '{suite.name}' has an arm '{name}'; take another name")
        arms[name] = arm
        methods.append(method)
        names.append(name)
    model = suite.model.model_copy(update={"arms": arms})
    return replace(suite, model=model, own_methods=tuple(methods)), tuple(names)


def compared(suite: Suite, selection: Selection, against: Sequence[str]) -> Suite:
    """Add to the suite a comparison of each added arm with ``against``.

    Raises:
        HarnessError: no arm was added, or no selected benchmark runs both.
    """
    if not selection.added_arms:
        raise HarnessError(
            "--against says what an arm of yours is compared with; add one with --arm NAME=FILE.py:CLASS"
        )
    for other in against:
        if other not in suite.model.arms:
            raise HarnessError(
                f"--against '{other}': unknown arm of '{suite.name}'; {choices(suite.model.arms, other)}"
            )
    claims, facts = list(suite.model.claims), dict(suite.facts)
    for arm in selection.added_arms:
        for metric, names in _measured(suite, selection, against).items():
            declared = suite.benchmarks[names[0]].model.metrics[metric]
            for other in against:
                own = Claim(
                    id=f"{comparison_id(arm, [other])}-{metric}",
                    kind="comparison",
                    arm=arm,
                    against=[other],
                    metric=metric,
                    benchmarks=names,
                )
                claims.append(own)
                facts[own.id] = own.fact(suite.name, declared)
    return replace(suite, model=suite.model.model_copy(update={"claims": claims}), facts=facts)


def _measured(suite: Suite, selection: Selection, against: Sequence[str]) -> dict[str, list[str]]:
    """Benchmarks that run every arm of ``against``, by their first metric."""
    measured: dict[str, list[str]] = {}
    arms = {**suite.model.arms, **selection.added_arms}
    for name, benchmark in suite.benchmarks.items():
        base = setting(suite, name, selection.scale)
        if base is None or (selection.benchmarks is not None and name not in selection.benchmarks):
            continue
        if set(against) <= set(arms_of(base, arms, replace(selection, arms=None))):
            measured.setdefault(next(iter(benchmark.model.metrics)), []).append(name)
    if not measured:
        raise HarnessError(f"no chosen benchmark at {selection.scale} runs {', '.join(against)}")
    return measured
