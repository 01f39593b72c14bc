"""Checks of programs that run as trials: their commands, results and files."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.base.yaml_nodes import Node
from harness.errors import HarnessError, Problem, choices
from harness.suite.strict import Settings
from harness.suite.values import Mistake
from harness.trial.options import Values
from harness.trial.programs import known_values, placeholders, result_problems, words_of

COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def program_mistakes(recipe: Settings) -> Iterator[Mistake]:
    """Mistakes of a program's recipe with an arm's values; paths begin with a key of the recipe."""
    if "command" not in recipe:
        yield Mistake((), "the program needs a 'command', as in [python, train.py, --seed, '{seed}']")
        return
    existing = known_values(recipe, 0, "", "")
    try:
        words = words_of(recipe["command"])
    except HarnessError as error:
        yield Mistake(("command",), str(error))
        words = []
    variables = recipe.get("variables")
    texts = [("command", word) for word in words]
    texts += [("variables", str(text)) for text in (variables if isinstance(variables, Mapping) else {}).values()]
    for key, text in texts:
        for name in placeholders(text):
            if name not in existing:
                yield Mistake((key,), f"'{text}': no '{{{name}}}'; {choices(existing, name)}")
    results = recipe.get("results")
    if isinstance(results, Mapping):
        yield from (Mistake(("results", *path), message) for path, message in result_problems(Values(results)))
    repository, commit = recipe.get("repository"), recipe.get("commit")
    if bool(repository) != bool(commit):
        yield Mistake(("repository" if repository else "commit",), "a repository and its commit are given together")
    elif commit and not COMMIT.fullmatch(str(commit)):
        yield Mistake(("commit",), f"'{commit}' is not the whole name of a commit (40 hexadecimal digits)")


def check_program(node: Node, path: tuple[str, ...], recipe: Settings, root: Path) -> Iterator[Problem]:
    """Missing files of a program; ``root`` is the suite's folder."""
    if recipe.get("repository"):
        return
    folder = root / str(recipe.get("folder", "."))
    if not folder.is_dir():
        yield Problem(node.find((*path, "folder")), f"the program's folder {folder} does not exist")
        return
    try:
        code_files(recipe, folder)
    except HarnessError as error:
        yield Problem(node.find((*path, "code")), str(error))
    for key in ("environment", "python"):
        named = str(recipe.get(key) or "")
        if named and not (root / named).is_file():
            yield Problem(node.find((*path, key)), f"no file {root / named}")


def code_files(recipe: Values, folder: Path) -> list[Path]:
    """A program's code files, sorted; none with ``code: []`` and a lock file.

    Raises:
        HarnessError: a pattern leads out of the folder, or none has a file; no code and no lock file.
    """
    patterns = recipe.get("code", ("**/*.py",))
    if not patterns:
        if not recipe.get("environment"):
            raise HarnessError("'code: []' declares no code of the program: name the file that pins it, 'environment:'")
        return []
    result: set[Path] = set()
    for pattern in patterns:
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise HarnessError(f"the pattern '{pattern}' leads out of the program's folder {folder}")
        result |= {file for file in folder.glob(pattern) if file.is_file() and not _hidden(file.relative_to(folder))}
    if not result:
        raise HarnessError(f"no file of {folder} is its code: none matches {', '.join(map(str, patterns))}")
    return sorted(result)


def _hidden(file: Path) -> bool:
    """Caches, repositories and environments do not belong to the program's code."""
    return any(
        part.startswith(".") or part in ("__pycache__", "node_modules", "venv", "results") for part in file.parts
    )
