"""Pictures that trials left, for those who would rather look than read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.reading import Row

SHOWN = 12
LARGEST = 1_500_000  # bytes
_BEGINS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF87a": "gif", b"GIF89a": "gif"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its caption: content, type, and a file name made of the content."""

    file: Path
    kind: str
    name: str
    caption: str
    arm: str
    seed: int
    trial_id: str


def kind_of(path: Path) -> str | None:
    """``png``, ``jpeg`` or ``gif`` by the file's first bytes; None for anything else, missing or too large."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return None
        with path.open("rb") as file:
            begin = file.read(8)
    except OSError:
        return None
    return next((kind for start, kind in _BEGINS.items() if begin.startswith(start)), None)


def pictures_of(rows: Sequence[Row], arms: Sequence[str]) -> list[Picture]:
    """The pictures among artifacts: those of the given arms side by side, seed by seed, then the others."""
    place = {arm: number for number, arm in enumerate(arms)}
    found: list[Picture] = []
    for row in sorted(
        rows, key=lambda row: (row["arm"] not in place, row["seed"], row["name"], place.get(row["arm"], 0), row["arm"])
    ):
        path = Path(str(row["path"] or ""))
        kind = kind_of(path) if len(found) < SHOWN else None
        if kind is not None:
            name = f"{hashlib.sha256(path.read_bytes()).hexdigest()[:20]}.{kind}"
            caption = str(row["caption"] or row["name"])
            found.append(Picture(path, kind, name, caption, str(row["arm"]), int(row["seed"]), str(row["trial_id"])))
    return found
