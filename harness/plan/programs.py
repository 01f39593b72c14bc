"""The identity of a program that runs as a trial: its files or commit, and its environment."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from harness import registry
from harness.data.checksums import canonical, checksum
from harness.errors import HarnessError
from harness.suite.cells import Content
from harness.suite.programs import code_files
from harness.trial.options import Values

WHERE = ("folder", "repository", "environment", "python", "memory_mb", "writes", "expects", "code")
"""Keys of the recipe that say where things are: what they point at is the program's identity instead."""


def program_identity(recipe: Values, root: Path) -> str:
    """Digest (sha256) of the program's files or commit, its lock file, and its interpreter.

    Raises:
        HarnessError: the folder, the code or the lock file is missing below the suite's folder ``root``.
    """
    digest = hashlib.sha256()
    if recipe.get("repository"):
        digest.update(f"commit {recipe['commit']}".encode())
    else:
        folder = root / str(recipe.get("folder", "."))
        if not folder.is_dir():
            raise HarnessError(f"the program's folder {folder} does not exist")
        for file in code_files(recipe, folder):
            digest.update(f"{file.relative_to(folder).as_posix()} {_checksum(file)}\n".encode())
    for key in ("environment", "python"):
        named = str(recipe.get(key) or "")
        if named:
            if not (root / named).is_file():
                raise HarnessError(f"{key}: no file {root / named}")
            digest.update(f"{key} {_checksum(root / named)}\n".encode())
    return digest.hexdigest()


Cell = TypeVar("Cell")


def with_programs(contents: Mapping[Cell, Content], root: Path) -> dict[Cell, Content]:
    """Add the identities of programs to contents; each program's files are read once."""
    identities: dict[str, str] = {}
    result: dict[Cell, Content] = {}
    for cell, content in contents.items():
        result[cell] = content
        if registry.entry("task", content.task).metadata.program:
            key = canonical({name: content.recipe.get(name) for name in ("commit", *WHERE)})
            if key not in identities:
                identities[key] = program_identity(content.recipe, root)
            result[cell] = replace(content, program=identities[key])
    return result


def located(recipe: Values, root: Path) -> Values:
    """The recipe with absolute places, as a worker needs it."""
    places = {"folder": str((root / str(recipe.get("folder", "."))).resolve())}
    if recipe.get("python"):
        places["python"] = str((root / str(recipe["python"])).absolute())  # a link says which environment
    return Values({**recipe, **places})


def without_places(recipe: Values) -> Values:
    """The recipe without places, for an identity that moves with its files."""
    return Values({key: value for key, value in recipe.items() if key not in WHERE})


def _checksum(file: Path) -> str:
    state = file.stat()
    return _checksum_of(file, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@lru_cache(maxsize=4096)
def _checksum_of(file: Path, *state: int) -> str:
    return checksum(file)
