"""Broken suite files: one message with the place and the valid choices, exit code 2, never a traceback."""

import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli.group import run_main
from harness.errors import HarnessError, SuiteError
from harness.suite import load_suite

Edit = Callable[[str], str]


def swap(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return edit


BROKEN: dict[str, tuple[Edit, str]] = {
    "unknown method": (swap("name: sgd", "name: sdg"), "did you mean 'sgd'"),
    "method of another slot": (swap("optimizer: {name: sgd, lr: 0.1}", "norm: sgd"), "not 'norm'"),
    "unknown hyper-parameter": (swap("lr: 0.1}", "lr: 0.1, momentun: 0.9}"), "did you mean 'momentum'"),
    "wrong type of a hyper-parameter": (swap("lr: 0.1}", "lr: 0.1, momentum: fast}"), "a number is expected"),
    "unknown task": (swap("task: synthetic", "task: synthetics"), "did you mean 'synthetic'"),
    "unknown data": (swap("name: nothing", "name: nothin"), "did you mean 'nothing'"),
    "unknown model": (swap("name: scalar", "name: vector"), "unknown model 'vector'"),
    "unknown metric": (swap("metrics: {score", "metrics: {scores"), "did you mean 'score'"),
    "wrong type": (swap("steps: 20", "steps: many"), "a whole number is expected"),
    "a fraction for a whole number": (swap("steps: 20", "steps: 1.5"), "a whole number is expected"),
    "below the limit": (swap("steps: 20", "steps: 0"), "at least 1"),
    "not a number": (swap("own_sd: 0.3", "own_sd: .nan"), "not a number"),
    "misspelt recipe key": (swap("steps: 20", "step: 20"), "did you mean 'steps'"),
    "misspelt top key": (swap("benchmarks:", "benchmark:"), "did you mean 'benchmarks'"),
    "no length": (swap("steps: 20, ", ""), "needs a length"),
    "two lengths": (swap("steps: 20", "steps: 20, epochs: 1"), "not both"),
    "claim on a missing arm": (swap("arm: better, against", "arm: bettter, against"), "did you mean 'better'"),
    "claim against a missing arm": (swap("against: [base]", "against: [bass]"), "did you mean 'base'"),
    "claim on a missing benchmark": (swap("benchmarks: [known]", "benchmarks: [unknown]"), "did you mean 'known'"),
    "unknown claim": (swap("{id: tiny-better, b", "{id: tiny-bitter, b"), "did you mean 'tiny-better'"),
    "claim neither bound nor unbound": (lambda t: t[: t.index("claims:")], "neither bound nor unbound"),
    "an ordering of unknown form": (
        lambda t: re.sub(r"kind: \w+", "kind: ordering", t).replace("against: [base]", "against: [base, worse]"),
        "has 2 arms in 'against:' and no 'order:'; give 'chain'",
    ),
    "unbound without a reason": (
        swap(", benchmarks: [known], arm: better, against: [base], primary: true", ", unbound: ''"),
        "unbound",
    ),
    "unbound and bound": (swap("primary: true", "unbound: the arm is not built"), "an unbound claim takes no"),
    "negative seeds": (swap("min: 3", "min: -3"), "seeds.min"),
    "seeds out of order": (swap("max: 12", "max: 2"), "min ≤ primary ≤ max"),
    "duplicate keys": (swap("seeds:", "title: again\nseeds:"), "duplicate key 'title'"),
    "bad role": (swap("role: baseline", "role: base"), "valid: 'method', 'baseline' or 'ablation'"),
    "set of an unknown key": (swap("set: {noise_key: base}", "set: {noise_kee: base}"), "did you mean 'noise_key'"),
    "set of a wrong type": (swap("set: {noise_key: base}", "set: {steps: few}"), "a whole number is expected"),
    "a list where a mapping is due": (swap("seeds: {min: 3, max: 12}", "seeds: [3]"), "seeds"),
    "null arms": (lambda t: t.replace(t[t.index("arms:") : t.index("benchmarks:")], "arms:\n"), "arms"),
    "missing benchmark file": (
        swap("  known:\n    define:", "  other: {file: other.yaml}\n  known:\n    define:"),
        "other.yaml does not exist",
    ),
    "a missing file of facts": (
        lambda t: t[: t.index("facts:")] + "facts: gone.yaml\n" + t[t.index("claims:") :],
        "the file of facts",
    ),
    "inherits what is not there": (swap("suite: tiny", "inherits: gone.yaml\nsuite: tiny"), "does not exist"),
    "inherits itself": (swap("suite: tiny", "inherits: tiny.yaml\nsuite: tiny"), "in a circle"),
    "inherits a folder": (swap("suite: tiny", "inherits: .\nsuite: tiny"), "which is a folder"),
    "inherits a number": (swap("suite: tiny", "inherits: 3\nsuite: tiny"), "path of a file"),
    "a Python tag": (swap("title: A", "title: !!python/name:os.system A"), "tag"),
    "3,000 nested lists": (lambda t: t + "x: " + "[" * 3000, "nesting depth"),
    "an alias bomb": (
        lambda t: (
            t
            + "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
            + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 9))
        ),
        "more than 100,000",
    ),
    "truncated": (lambda t: t[: len(t) // 2] + "\n  - {", "tiny.yaml:"),
    "a fact twice": (
        lambda t: t.replace("claims:", t[t.index("  - id: tiny-better") : t.index("claims:")] + "claims:"),
        "is duplicated",
    ),
    "a fact of another suite": (swap("    suite: tiny", "    suite: huge"), "belongs to suite 'huge'"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_each_kind_has_one_clear_message(kind: str, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit, says = BROKEN[kind]
    tiny.write_text(edit(tiny.read_text()))
    assert run_main(["validate", str(tiny)]) == 2
    shown = capsys.readouterr().err
    assert says in shown
    assert "tiny.yaml:" in shown
    assert "Traceback" not in shown
    assert run_main(["plan", str(tiny)]) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("UTF-16", "suite: tiny".encode("utf-16")),
        ("binary", bytes(range(256)) * 40),
        ("empty", b""),
        ("null characters", b"suite: \x00\x00"),
        ("only a comment", b"# nothing\n"),
        ("latin-1", "title: Übersicht".encode("latin-1")),
    ],
)
def test_files_that_are_no_yaml(name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    assert run_main(["validate", str(path)]) == 2
    assert "odd.yaml:" in capsys.readouterr().err


def test_folders_links_and_absent_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    for path in (tmp_path, loop, tmp_path / "absent.yaml"):
        assert run_main(["validate", str(path)]) == 2
        assert "Traceback" not in capsys.readouterr().err
    assert run_main(["validate", "adamb"]) == 2
    assert "did you mean 'adamp'" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_a_file_that_may_not_be_read(tiny: Path) -> None:
    tiny.chmod(0)
    assert run_main(["validate", str(tiny)]) == 2


def test_an_error_in_an_inherited_file_points_there(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = tiny.with_name("base.yaml")
    base.write_text("seeds:\n  min: 3\n  maximum: 12\n")
    tiny.write_text(tiny.read_text().replace("seeds: {min: 3, max: 12}", "inherits: base.yaml"))
    assert run_main(["validate", str(tiny)]) == 2
    assert "base.yaml:3:3: unknown key 'maximum'; did you mean 'max'?" in capsys.readouterr().err


def test_every_problem_is_told_at_once(tiny: Path) -> None:
    text = tiny.read_text().replace("task: synthetic", "task: nope").replace("name: sgd", "name: nope", 1)
    tiny.write_text(text)
    with pytest.raises(SuiteError) as caught:
        load_suite(tiny)
    assert len(caught.value.problems) >= 2


mutations = st.lists(
    st.tuples(st.integers(0, 10_000), st.sampled_from(["delete", "double", "swap", "char"]), st.characters()),
    min_size=1,
    max_size=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(mutations)
def test_random_edits_never_give_a_traceback(tiny_text: str, tmp_path: Path, edits: list[tuple[int, str, str]]) -> None:
    lines = tiny_text.splitlines()
    for where, what, character in edits:
        at = where % len(lines)
        if what == "delete":
            lines.pop(at)
        elif what == "double":
            lines.insert(at, lines[at])
        elif what == "swap":
            other = (where // 7) % len(lines)
            lines[at], lines[other] = lines[other], lines[at]
        else:
            column = random.Random(where).randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:column] + character + lines[at][column:]
        if not lines:
            lines = [""]
    path = tmp_path / "mutant.yaml"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    try:
        suite = load_suite(path)
    except HarnessError:
        return
    from harness.plan.planning import make_plan

    assert make_plan(suite).trials


def test_wrong_usage_is_exit_2() -> None:
    from harness.cli.group import harness

    runner = CliRunner()
    for arguments in (["plan"], ["plan", "adamp", "--scale", "huge"], ["plan", "adamp", "--seeds", "many"]):
        assert run_main(arguments) == 2
    assert run_main(["runn", "adamp"]) == 2
    assert runner.invoke(harness, ["--help"]).exit_code == 0
