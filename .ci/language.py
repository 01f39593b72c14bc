"""Check the language of docstrings, comments, messages and pages.

    python .ci/language.py [PATH...]     list violations, exit 1 if there are any
    python .ci/language.py --counts      only the number for each file

The rules are in `.ci/language.toml`: retired phrases and terms, each with its replacement and the files that may use
it. Code in backticks and SQL are not checked. A docstring's first line must not begin with What, Whether, Where or How;
its first phrase (up to a colon, semicolon, full stop or parenthesis) has at most twelve words.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SQL = re.compile(
    r"^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|WITH|FROM|WHERE|AND|JOIN|LEFT|ALTER|DROP|ORDER|GROUP) |SELECT "
)
OPENING = re.compile(r"(What|Whether|Where|How)\b")
CLAUSE = re.compile(r"(?:^|[.;] )(What [a-z][^.?!;]*)(?:[.!;]|$)")


@dataclass(frozen=True)
class Rule:
    """A retired phrase or term, its replacement, and the files that may use it."""

    pattern: re.Pattern[str]
    instead: str
    exempt: tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    """The content of `.ci/language.toml`."""

    phrases: tuple[Rule, ...]
    names: frozenset[str]
    stored_names: dict[str, list[str]]
    skipped: tuple[str, ...]
    words: int


def read_rules(path: Path = ROOT / ".ci" / "language.toml") -> Rules:
    """Read the rules."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    phrases = [
        Rule(re.compile(rf"\b(?:{entry['retired']})\b", re.IGNORECASE), entry["use"], tuple(entry.get("except", ())))
        for entry in content["phrase"]
    ]
    return Rules(
        tuple(phrases), frozenset(content["names"]), content["stored_names"], tuple(content["skip"]), content["words"]
    )


def check_file(path: str, text: str, rules: Rules) -> list[tuple[int, str]]:
    """List the violations in one file: line and message."""
    kind = Path(path).suffix
    problems: list[tuple[int, str]] = []
    if kind == ".py":
        nodes = list(ast.walk(ast.parse(text)))
        problems += _check_docstrings(nodes, rules) + _check_names(path, nodes, rules)
        texts = [*_python_texts(nodes), *_comments(text)]
    elif kind == ".md":
        texts = list(_markdown(text))
    elif kind in (".html", ".j2"):
        texts = list(enumerate(_without_tags(text).splitlines(), 1))
    elif kind in (".yaml", ".yml", ".toml"):
        texts = [(number, re.sub(r"[\w.-]+:(?= |$)", "", line)) for number, line in enumerate(text.splitlines(), 1)]
    else:
        texts = [(number, line) for number, line in enumerate(text.splitlines(), 1) if _is_comment(line)]
    opened = {line for line, message in problems if message.startswith("docstring begins")}
    used = [rule for rule in rules.phrases if not any(fnmatch.fnmatch(path, each) for each in rule.exempt)]
    retired = re.compile("|".join(rule.pattern.pattern for rule in used), re.IGNORECASE)
    for line, content in texts:
        violations = [(line + offset, message) for offset, message in _check_text(content, used, retired)]
        problems += [each for each in violations if not (each[0] in opened and each[1].startswith("clause"))]
    return sorted(set(problems))


def _check_text(text: str, rules: list[Rule], retired: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    for offset, line in enumerate(_without_code(text).split("\n")):
        for rule in rules if retired.search(line) else ():
            for match in rule.pattern.finditer(line):
                if not match.group().isupper():  # a constant in a comment
                    yield offset, f"'{match.group()}': use {rule.instead}"
        for match in CLAUSE.finditer(line):
            yield offset, f"clause as a subject: '{match.group(1)[:50]}'"


def _check_docstrings(nodes: list[ast.AST], rules: Rules) -> list[tuple[int, str]]:
    problems = []
    for node in nodes:
        if not isinstance(node, DOCUMENTED) or not (docstring := ast.get_docstring(node)):
            continue
        line, first = node.body[0].lineno, docstring.split("\n")[0]
        if OPENING.match(first):
            problems.append((line, f"docstring begins with '{first.split()[0]}': use an imperative or a noun phrase"))
        words = len(re.split(r"[:;.(?!](?:\s|$)| \(", _without_code(first, "x"))[0].split())
        if words > rules.words:
            problems.append((line, f"first phrase of the docstring has {words} words, {rules.words} at most"))
    return problems


def _check_names(path: str, nodes: list[ast.AST], rules: Rules) -> list[tuple[int, str]]:
    retired = {name for name in rules.names if path not in rules.stored_names.get(name, ())}
    stored = [(node.lineno, node.id) for node in nodes if _is_stored(node)]
    stored += [(node.lineno, node.arg) for node in nodes if isinstance(node, ast.arg)]
    return [(line, f"name '{name}': use a noun that says what it is") for line, name in stored if name in retired]


def _is_stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _python_texts(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """Docstrings and messages; a string without a space is a key."""
    docstrings = set()
    for node in nodes:
        if isinstance(node, DOCUMENTED) and node.body and isinstance(node.body[0], ast.Expr):
            docstrings.add(node.body[0].value)
    for node in nodes:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if node in docstrings or (" " in node.value.strip() and not SQL.search(node.value)):
            yield node.lineno, node.value


def _comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


def _markdown(text: str) -> Iterator[tuple[int, str]]:
    """Prose, and the comments of fenced code."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, re.sub(r"\]\([^)]*\)", "]", line)
        elif "# " in line:
            yield number, line.split("# ", 1)[1]


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(("#", "//", "--", "*", "/*"))


def _without_tags(text: str) -> str:
    """Replace tags, scripts and template code by nothing, and keep the lines."""
    code = r"<(script|style)\b.*?</\1>|\{[{%#].*?[}%#]\}|<[^>]*>"
    return re.sub(code, lambda match: "\n" * match.group().count("\n"), text, flags=re.DOTALL)


def _without_code(text: str, instead: str = "") -> str:
    return re.sub(r"``[^`\n]*``|`[^`\n]*`", instead, text)


def files(paths: list[str], rules: Rules) -> list[str]:
    """List the tracked and new files under the paths, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *(paths or ["."])]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    kinds = (".py", ".md", ".html", ".j2", ".yaml", ".yml", ".toml", ".js", ".sql", ".sh")
    chosen = [path for path in sorted(set(listed)) if path.endswith(kinds) and (ROOT / path).is_file()]
    return [path for path in chosen if not any(fnmatch.fnmatch(path, skip) for skip in rules.skipped)]


def main(arguments: list[str]) -> int:
    """List violations; 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--counts", action="store_true", help="print only the number for each file")
    options = parser.parse_args(arguments)
    rules = read_rules()
    total = 0
    for path in files(options.paths, rules):
        problems = check_file(path, (ROOT / path).read_text(encoding="utf-8"), rules)
        total += len(problems)
        if options.counts and problems:
            print(f"{len(problems):5} {path}")
        elif not options.counts:
            for line, message in problems:
                print(f"{path}:{line}: {message}")
    print(f"{total} violations", file=sys.stderr)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
