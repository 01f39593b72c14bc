"""Suite files: what a paper claims and on what it is measured."""

from __future__ import annotations

from pathlib import Path

from harness.errors import SuiteError
from harness.suite.check import check_suite
from harness.suite.load import Suite as Suite
from harness.suite.load import find_suite, read_suite


def load_suite(which: str | Path) -> Suite:
    """Load a suite by path, or by name where it is shipped, and check it as a whole.

    Raises:
        SuiteError: with every problem that there is, each at its place.
    """
    return checked(read_suite(find_suite(which)))


def checked(suite: Suite) -> Suite:
    """The suite, once it is sound as a whole; raises as :func:`load_suite`."""
    problems = check_suite(suite)
    if problems:
        raise SuiteError(problems)
    return suite
