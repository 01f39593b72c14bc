"""Errors that a user can act on: one clear message, exit code 2, no traceback."""

from dataclasses import dataclass
from pathlib import Path


class HarnessError(Exception):
    """Wrong usage or an invalid file; the command line prints the message alone and exits with ``exit_code``."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file; lines and columns count from 1, 0 means the whole file."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else str(self.file)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in a suite file, with its place."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class SuiteError(HarnessError):
    """A suite, benchmark or claims file is invalid; holds every problem found."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class MissingDataError(HarnessError):
    """A data set or weights file is missing."""


class OutOfTimeError(Exception):
    """A trial ran past its deadline."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, else its type."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def choices(valid: object, requested: str | None = None, most: int = 12) -> str:
    """Words for the valid choices, the nearest to ``requested`` first."""
    from difflib import get_close_matches

    names = [str(name) for name in valid] if isinstance(valid, list | tuple | set | frozenset | dict) else [str(valid)]
    names = sorted(set(names))
    near = get_close_matches(requested, names, n=3, cutoff=0.5) if requested else []
    listed = near + [name for name in names if name not in near]
    text = ", ".join(listed[:most]) + (f", … ({len(listed)} in all)" if len(listed) > most else "")
    return f"did you mean '{near[0]}'? valid: {text}" if near else f"valid: {text or 'none'}"
