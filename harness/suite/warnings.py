"""What is valid but probably not meant."""

from __future__ import annotations

from harness.errors import Problem
from harness.suite.load import Suite
from harness.suite.resolve import setting


def warnings_of(suite: Suite) -> list[Problem]:
    """Cells that serve no claim and no ablation, and arms that no benchmark uses."""
    serving: set[tuple[str, str]] = set()
    for binding in suite.model.claims:
        gates = binding.mechanism if isinstance(binding.mechanism, list) else [binding.mechanism]
        arms = {binding.arm, *binding.against, *binding.baselines}
        arms |= {arm for gate in gates if gate for arm in gate.arms}
        serving.update((name, arm) for name in binding.benchmarks for arm in arms if arm is not None)
    found = []
    used: set[str] = set()
    for name in suite.benchmarks:
        listed: set[str] = set()
        for scale in ("paper", "small", "mini"):
            base = setting(suite, name, scale)
            if base is not None:
                listed.update(base.arms if base.arms is not None else suite.model.arms)
        used |= listed
        for arm in sorted(listed):
            if (name, arm) not in serving and suite.model.arms[arm].role != "ablation":
                place = suite.node.find(("benchmarks", name))
                found.append(Problem(place, f"the cell {name}/{arm} serves no claim and no ablation"))
    for arm in suite.model.arms:
        if arm not in used:
            found.append(Problem(suite.node.find(("arms", arm)), f"no benchmark uses the arm '{arm}'"))
    return found
