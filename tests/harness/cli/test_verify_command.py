"""``harness verify``: the reasons against accepting older trials."""

from __future__ import annotations

import pytest

from harness.app.verify import Repetition, Verification
from harness.cli.run import _show_verified

EQUAL, OTHER = Repetition("b/a/0", True, 7, ()), Repetition("b/a/1", True, 7, ("test.score",))


@pytest.mark.parametrize(
    ("verified", "reason"),
    [
        (Verification(0, 3, (EQUAL, OTHER), ("family sgd",)), "not all agree"),
        (Verification(0, 3, (EQUAL,), ("family sgd",)), "not all is covered"),
        (Verification(0, 3, (), ("task t",)), "not all is covered"),
        (Verification(3, 0, (EQUAL,), ()), "nothing of older code is stored"),
    ],
)
def test_why_nothing_is_adopted(verified: Verification, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    _show_verified(verified, adopt=True)
    assert capsys.readouterr().out.splitlines()[-1] == f"0 trials of older code adopted: {reason}"


def test_an_empty_store_says_what_fills_it(capsys: pytest.CaptureFixture[str]) -> None:
    _show_verified(Verification(0, 0, (), ()), adopt=True)
    assert capsys.readouterr().out.splitlines()[-1].startswith("no stored trials to verify")
