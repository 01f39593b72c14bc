"""Validation rejects values that no claim can be judged by."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
from judge_support import benchmark, binding, fact, write_suite

from harness.cli.group import run_main
from harness.errors import SuiteError


def problems(folder: Path, **changes: Any) -> list[str]:
    """Problems of a suite with these facts, bindings, benchmarks or judge section."""
    value: dict[str, Any] = {"facts": [fact("c")], "bindings": [binding("c")]} | changes
    facts, bindings = value.pop("facts"), value.pop("bindings")
    with pytest.raises(SuiteError) as refused:
        write_suite(folder, facts, bindings, **value)
    return [str(problem) for problem in refused.value.problems]


def replaced_in_suite(folder: Path, old: str, new: str, **parts: Any) -> str:
    """Message of ``validate`` after replacing a text of a valid suite."""
    facts = parts.pop("facts", [fact("c", published={"difference": 12345.5, "method": 23456.5})])
    bindings = parts.pop("bindings", [binding("c", m=34567.5, margin=45678.5)])
    write_suite(folder, facts, bindings, **parts)
    path = folder / "known.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (old, text)
    path.write_text(text.replace(old, new), encoding="utf-8")
    code, message = validated(path)
    assert code == 2, message
    assert "known.yaml:" in message
    return message


def validated(path: Path) -> tuple[int, str]:
    """Exit code and output of ``harness validate``."""
    message = io.StringIO()
    with contextlib.redirect_stdout(message), contextlib.redirect_stderr(message):
        code = run_main(["validate", str(path)])
    return code, message.getvalue()


MECHANISM = {"metric": "mechanism.share", "arm": "ours", "op": ">=", "value": 98765.5}
FINITE: list[tuple[str, dict[str, Any]]] = [
    *((number, {}) for number in ("12345.5", "23456.5", "34567.5", "45678.5")),  # of claims and bindings
    *(
        ("98765.5", {"benchmarks": benchmark("a", metric=f"{{unit: percent, better: higher, {key}: 98765.5}}")})
        for key in ("floor", "trivial", "perfect", "smallest")
    ),
    *(("0.123", {"judge": f"{{{key}: 0.123}}"}) for key in ("g", "alpha", "kappa", "tolerated_failures")),
    ("98765.5", {"benchmarks": benchmark("a", competent={"score": 98765.5})}),
    ("98765.5", {"bindings": [binding("c", mechanism=MECHANISM)], "facts": [fact("c")]}),
]


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
@pytest.mark.parametrize(("number", "parts"), FINITE)
def test_numbers_are_finite(tmp_path: Path, number: str, parts: dict[str, Any], value: str) -> None:
    assert "finite" in replaced_in_suite(tmp_path, number, value, **parts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scope": {"at_least": 99}}, "at least 99 of 1 benchmarks cannot be shown"),
        ({"against": ["ours"]}, "the arm 'ours' is compared with itself"),
        ({"against": ["base", "base"]}, "named twice: base"),
        ({"benchmarks": ["a", "a"], "scope": "all"}, "named twice: a"),
        ({"baselines": ["base"]}, "two different arms are expected"),
        ({"baselines": ["base", "base"]}, "two different arms are expected"),
        ({"baselines": ["base", "other", "third"]}, "two different arms are expected"),
    ],
)
def test_bindings_that_cannot_be_judged(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (text,) = problems(tmp_path, bindings=[binding("c", **changes)])
    assert message in text


@pytest.mark.parametrize(("key", "value"), [("unit", "db"), ("better", "lower")])
def test_a_claim_has_the_unit_and_direction_of_its_metric(tmp_path: Path, key: str, value: str) -> None:
    (text,) = problems(tmp_path, facts=[fact("c", **{key: value})])
    measured = {"unit": "percent", "better": "higher"}[key]
    assert f"the claim's {key} is '{value}', but 'score' of benchmark 'a' has '{measured}'" in text
    # measured on another metric, the claim keeps its own words
    write_suite(tmp_path, [fact("c", **{key: value})], [binding("c", metric="mechanism.share")])


def test_fractions_of_a_percent_are_noticed(tmp_path: Path) -> None:
    small = {"difference": 0.02, "method": 0.72, "baseline": 0.70}
    write_suite(tmp_path, [fact("c", published=small)], [binding("c", margin=0.01)])
    code, text = validated(tmp_path / "known.yaml")
    assert code == 0
    assert "claim 'c' is in percent (0 to 100), and its published numbers 0.72 and 0.7 lie in [0, 1]" in text
    assert "margin 0.01 of claim 'c' is less than 0.1 percent" in text
    printed = {"difference": 0.07, "method": 76.93, "baseline": 76.86}
    write_suite(tmp_path, [fact("c", published=printed)], [binding("c")])
    assert "(0 to 100)" not in validated(tmp_path / "known.yaml")[1]
    write_suite(tmp_path, [fact("c", published={"difference": 0.02})], [binding("c")])
    assert "difference 0.02 of claim 'c' is less than 0.1 percent" in validated(tmp_path / "known.yaml")[1]
