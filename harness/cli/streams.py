"""Streams that print control characters of external names and messages as text."""

import contextlib
import io
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

# C0 without tab and line feed, DEL, C1, direction marks, unpaired surrogates.
_CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\\ud800-\\udfff]")


def visible(text: str) -> str:
    r"""Escape control characters, as in ``\x1b``; keep tabs and line feeds."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


class VisibleStream:
    """A text stream that escapes control characters; ``raw`` is the stream itself, for live tables."""

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        self.raw.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def raw_of(stream: Any) -> TextIO:
    """Return the stream below a ``VisibleStream``, or the stream itself."""
    return stream.raw if isinstance(stream, VisibleStream) else stream


@contextlib.contextmanager
def visible_streams() -> Iterator[None]:
    """Escape control characters on standard error and on a terminal.

    A pipe gets the data unchanged, except for characters that UTF-8 cannot encode.
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
