"""What a terminal is sent: control characters in names and messages of others are shown, never obeyed."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

# C0 without tab and line feed, DEL, C1, what turns the direction of text round, halves of surrogate pairs.
_CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\\ud800-\\udfff]")


def visible(text: str) -> str:
    r"""The text with its control characters written out, as in ``\x1b``; tabs and line feeds stay."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class VisibleStream:
    """A text stream that writes control characters out; ``raw`` is the stream itself, for what we draw ourselves."""

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        """Write a text; returns the length of what was given."""
        self.raw.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def raw_of(stream: Any) -> TextIO:
    """The stream below a ``VisibleStream``; any other as it is."""
    return stream.raw if isinstance(stream, VisibleStream) else stream


@contextlib.contextmanager
def visible_streams() -> Iterator[None]:
    """Standard error, and standard output where it is a terminal, write control characters out.

    A pipe gets the data as they are; what has no form in UTF-8 is written out there too.
    """
    out, err = sys.stdout, sys.stderr
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="backslashreplace")
    if out.isatty():
        sys.stdout = VisibleStream(raw_of(out))
    sys.stderr = VisibleStream(raw_of(err))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
