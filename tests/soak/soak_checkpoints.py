"""Checkpoints as a crash, a bad disk or a careless hand leaves them."""

from __future__ import annotations

import random
from pathlib import Path

DAMAGES = ("cut", "flipped", "empty", "zeroed", "foreign", "left-over")


def checkpoints(artifacts: Path) -> list[Path]:
    """Those that are there now."""
    return sorted(artifacts.glob("*/checkpoint.pt"))


def damage(file: Path, kind: str, chance: random.Random) -> None:
    """One of ``DAMAGES``; ``left-over`` is half a file beside a whole one."""
    content = bytearray(file.read_bytes())
    place = chance.randrange(max(1, len(content)))
    if kind == "cut":
        file.write_bytes(content[:place])
    elif kind == "flipped":
        content[place] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "zeroed":
        file.write_bytes(content[:place] + bytes(len(content) - place))
    elif kind == "foreign":
        file.write_bytes(chance.randbytes(len(content)))
    else:
        file.with_name(f"{file.name}.999999999.part").write_bytes(content[:place])
