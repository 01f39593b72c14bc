"""A copy of the source folders, in which examples are tried."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import warm_process

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return [text for kind, text in FENCE.findall((ROOT / page).read_text(encoding="utf-8")) if kind == language]


def section(title: str) -> list[tuple[str, str]]:
    """Language and text of the fenced blocks of a section of CONTRIBUTING."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (part,) = [part for part in re.split(r"^## ", text, flags=re.MULTILINE) if part.startswith(f"{title}\n")]
    return FENCE.findall(part)


class Tree:
    """The folders, copied to ``folder``; its commands import what lies there and have ``environment`` beside ours."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = environment
        for name in ("harness", "methods", "suites", "reports"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))

    def content(self) -> dict[str, bytes]:
        """Every file by its path."""
        files = {str(path.relative_to(self.folder)): path for path in self.folder.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in files.items() if "__pycache__" not in name}

    def follow(self, *titles: str) -> set[str]:
        """Do what sections of CONTRIBUTING say; returns the files that differ afterwards."""
        before = self.content()
        for kind, text in [block for title in titles for block in section(title)]:
            if kind == "diff":
                done = subprocess.run(
                    ["git", "apply"], cwd=self.folder, input=text, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr
            elif kind in ("python", "yaml"):
                path = self.folder / text.splitlines()[0].removeprefix("# ")
                assert path.suffix in (".py", ".yaml")
                path.write_text(text, encoding="utf-8")
        after = self.content()
        return {name for name in before | after if before.get(name) != after.get(name)}

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text that occurs once in a file."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, file
        path.write_text(text.replace(old, new), encoding="utf-8")

    def call(self, *arguments: str, **environment: str) -> str:
        """Return the output of ``python -m …``, which must succeed."""
        shown = {**os.environ, "PYTHONPATH": str(self.folder), **self.environment, **environment}
        done = warm_process.call(arguments, self.folder, shown)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
