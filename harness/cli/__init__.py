"""The command line: every command parses, calls one function and prints."""

import sys

from harness.cli.group import harness as harness


def main() -> None:
    """Entry point of the console script ``harness``."""
    from harness.base.process_tree import end_as_interrupted
    from harness.cli.group import run_main

    end_as_interrupted()
    sys.exit(run_main(sys.argv[1:]))
