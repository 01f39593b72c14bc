"""Names that people give to runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError, choices
from harness.results.stored_runs import find_run
from harness.store import Reader, Writer, open_reader
from harness.store.events import TaggedEvent

TAG = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]{0,59}")
TAKEN = ("latest",)


def run_of(reader: Reader, text: str) -> str:
    """The id of a run that is given by its id, the unique beginning of one, a tag of one run, or ``latest``.

    Raises:
        HarnessError: none or several.
    """
    tagged = reader.query("SELECT run_id FROM tags WHERE tag = ? ORDER BY run_id", [text]).rows
    if len(tagged) > 1:
        runs = ", ".join(str(run) for (run,) in tagged)
        raise HarnessError(f"{len(tagged)} runs have the tag '{text}': {runs}; name one of them")
    return str(tagged[0][0]) if tagged else str(find_run(reader, text)["run_id"])


def tags_of(reader: Reader, run_id: str) -> list[str]:
    """A run's tags in order."""
    return [str(tag) for (tag,) in reader.query("SELECT tag FROM tags WHERE run_id = ? ORDER BY tag", [run_id]).rows]


def tag_run(database: Path, run: str, names: Sequence[str], *, remove: bool = False) -> tuple[str, list[str]]:
    """Give a run names, or take them from it; returns its id and the tags that it has now.

    Raises:
        HarnessError: no such run, a name that is none, or with ``remove`` one that the run does not have.
    """
    with open_reader(database) as reader:
        run_id = run_of(reader, run)
        existing = tags_of(reader, run_id)
    for name in names:
        if remove and name not in existing:
            raise HarnessError(f"run {run_id} has no tag '{name}'; {choices(existing, name)}")
        if not remove and (name in TAKEN or not TAG.fullmatch(name)):
            raise HarnessError(
                f"'{name}' is not a valid tag: a letter, then letters, digits and _ . + -, 60 at most; not 'latest'"
            )
    if names:
        with Writer(database) as owner:
            owner.record(TaggedEvent(run_id, () if remove else tuple(names), tuple(names) if remove else ()))
            owner.flush()
    left = set(existing) - set(names) if remove else {*existing, *names}
    return run_id, sorted(left)
