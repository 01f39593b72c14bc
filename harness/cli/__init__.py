"""The command line: every command parses, calls one function and prints."""

from __future__ import annotations

import sys

from harness.cli.group import harness as harness


def main() -> None:
    """Entry point of the console script ``harness``."""
    from harness.cli.group import run_main
    from harness.execute.signals import end_as_interrupted

    end_as_interrupted()
    sys.exit(run_main(sys.argv[1:]))
