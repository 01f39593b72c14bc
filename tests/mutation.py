"""Mutation test: do the tests notice a changed operator, constant or comparison?

    python tests/mutation.py FOLDER cover                  # run the default tier on a copy, record each test's lines
    python tests/mutation.py FOLDER cover --tier full
    python tests/mutation.py FOLDER run --number 200       # goes on where it was interrupted

``run`` draws changes by a fixed seed over all packages and runs, for each, the tests that cover its line, the quickest
first, up to the first failure: those of the default tier, then those of the full tier. A change that no test covers
survives. FOLDER holds the copy of the tree, the records (``mutants.jsonl``) and ``report.json``. The file is a pytest
plugin as well: ``cover`` loads it to switch coverage's context with each test.
"""

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("harness", "methods", "suites", "reports")
TIERS = {"default": "not slow and not full", "full": "full"}
SEED = 26
LONGEST = 900.0
"""Seconds after which the tests of a mutant are ended; it then counts as found."""
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
    **{ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.And: ast.Or},
    **{ast.Or: ast.And, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq},
    **{ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In},
}
DESCRIBES = ("Metadata", "Option", "Error", "Column", "option", "argument", "command", "print", "echo", "note", "warn")
"""Calls by the end of their name that only describe or tell: messages, metadata, help."""


@dataclass(frozen=True)
class Mutant:
    """A change: the bytes of a file between two places, and what replaces them."""

    file: str
    line: int
    start: int
    end: int
    text: str


def mutants_of(file: str, source: bytes) -> Iterator[Mutant]:
    """Every change of a file, in the order of its syntax tree."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in executed(ast.parse(source)):
        for changed in changes(node):
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
            text = ast.unparse(changed)
            yield Mutant(file, node.lineno, start, end, text if isinstance(changed, ast.stmt) else f"({text})")


def executed(node: ast.AST) -> Iterator[Any]:
    """Nodes whose value matters: no annotation, message, metadata, format string or pattern."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.match_case | ast.arg):
        return
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name.endswith(DESCRIBES):
            return
    yield node
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns", "decorator_list", "type_params"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from executed(child)


def changes(node: ast.AST) -> Iterator[Any]:
    """The node with another operator, comparison or constant."""
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in SWAPS:
        changed: Any = copy.deepcopy(node)
        changed.op = SWAPS[type(node.op)]()
        yield changed
    elif isinstance(node, ast.Compare):
        changed = copy.deepcopy(node)
        changed.ops[0] = SWAPS[type(node.ops[0])]()
        yield changed
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)


def drawn(tree: Path, number: int) -> list[Mutant]:
    """So many changes, each of all with the same chance."""
    every = [
        mutant
        for package in PACKAGES
        for path in sorted((tree / package).rglob("*.py"))
        for mutant in mutants_of(str(path.relative_to(tree)), path.read_bytes())
    ]
    return random.Random(SEED).sample(every, min(number, len(every)))


# recording what each test covers: a plugin of pytest, loaded where MUTATION_DATA names a file

if "MUTATION_DATA" in os.environ:
    import coverage
    import pytest

    DATA = Path(os.environ["MUTATION_DATA"])
    COVERAGE = coverage.Coverage(str(DATA), data_suffix=True, source=[str(ROOT / name) for name in PACKAGES])
    COVERAGE.start()
    SECONDS: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
        """Record the lines of a test under its name."""
        COVERAGE.switch_context(item.nodeid)
        os.environ["MUTATION_TEST"] = item.nodeid
        return (yield)

    def pytest_runtest_logreport(report: pytest.TestReport) -> None:
        """Note the seconds of a test that passes."""
        if report.passed:
            SECONDS[report.nodeid] = SECONDS.get(report.nodeid, 0.0) + report.duration
        else:
            SECONDS[report.nodeid] = float("inf")

    def pytest_collection_finish() -> None:
        """Let commands in other processes record their lines too."""
        import warm_process

        warm_process.call = in_a_process  # type: ignore[assignment]

    def pytest_unconfigure() -> None:
        """Write lines and seconds."""
        COVERAGE.stop()
        COVERAGE.save()
        DATA.with_suffix(".seconds.json").write_text(json.dumps(SECONDS))

    def in_a_process(arguments: Sequence[str], cwd: Path, environment: Any, timeout: float | None = None) -> Any:
        """``python -m ARGUMENTS`` under coverage."""
        sources = ",".join(str(ROOT / name) for name in PACKAGES)
        record = ["coverage", "run", "-p", f"--data-file={DATA}", f"--source={sources}"]
        command = [sys.executable, "-m", *record, f"--context={os.environ['MUTATION_TEST']}", "-m", *arguments]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout)


def call_pytest(tree: Path, *arguments: str, timeout: float | None = None, **variables: str) -> int:
    """Run pytest on a copy of the tree in one process."""
    environment = {name: value for name, value in os.environ.items() if name != "HARNESS_CACHE"}
    paths = os.pathsep.join([str(tree), str(tree / "tests")])
    environment |= {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **variables}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", *arguments]
    with (tree.parent / "pytest.log").open("w") as log:
        try:
            return subprocess.run(
                command, cwd=tree, env=environment, stdout=log, stderr=log, timeout=timeout
            ).returncode
        except subprocess.TimeoutExpired:
            return -1


def cover(folder: Path, tier: str, only: Sequence[str]) -> None:
    """Record the lines of each test of a tier."""
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("__pycache__", ".git", "*_cache"))
    data = folder / f"{tier}.coverage"
    call_pytest(tree, "-p", "mutation", "-m", TIERS[tier], *only, MUTATION_DATA=str(data))
    subprocess.run([sys.executable, "-m", "coverage", "combine", f"--data-file={data}", str(folder)], check=True)


class Covering:
    """The tests of a tier by line, from the record of ``cover``."""

    def __init__(self, folder: Path, tier: str) -> None:
        from coverage import CoverageData

        self.data = CoverageData(str(folder / f"{tier}.coverage"))
        self.data.read()
        self.seconds: dict[str, float] = json.loads(
            (folder / f"{tier}.coverage").with_suffix(".seconds.json").read_text()
        )
        self.tree = folder / "tree"

    def tests(self, mutant: Mutant) -> list[str]:
        """Tests of the line, quickest first; for a line that runs at import, those of its module."""
        lines = self.data.contexts_by_lineno(str(self.tree / mutant.file))
        names = set(lines.get(mutant.line, ()))
        if "" in names:
            names = {name for contexts in lines.values() for name in contexts}
        passed = [name for name in names if self.seconds.get(name, float("inf")) < float("inf")]
        return sorted(passed, key=lambda name: (self.seconds[name], name))


def outcome(mutant: Mutant, folder: Path, tiers: dict[str, Covering]) -> dict[str, Any]:
    """The tier whose tests notice a change; none where it survives."""
    path = folder / "tree" / mutant.file
    source, times = path.read_bytes(), path.stat()
    counts: dict[str, int] = {}
    try:
        path.write_bytes(source[: mutant.start] + mutant.text.encode() + source[mutant.end :])
        for tier, covering in tiers.items():
            tests = covering.tests(mutant)
            counts[tier] = len(tests)
            (folder / "tests.txt").write_text("\n".join(tests) + "\n")
            limit = min(LONGEST, 120 + 5 * sum(covering.seconds[name] for name in tests))
            arguments = ("-x", "-m", "", f"@{folder / 'tests.txt'}")
            if tests and call_pytest(folder / "tree", *arguments, timeout=limit) != 0:
                return {"found": tier, "tests": counts}
        return {"found": None, "tests": counts}
    finally:
        path.write_bytes(source)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def run(folder: Path, number: int) -> None:
    """Try the changes that have no record yet, then report."""
    tiers = {tier: Covering(folder, tier) for tier in TIERS if (folder / f"{tier}.coverage").exists()}
    records = folder / "mutants.jsonl"
    results = [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []
    chosen = drawn(folder / "tree", number)
    for mutant in chosen[len(results) :]:
        results.append({**asdict(mutant), **outcome(mutant, folder, tiers)})
        with records.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")
        print(
            f"{len(results)}/{len(chosen)} {mutant.file}:{mutant.line} {results[-1]['found'] or 'SURVIVES'}", flush=True
        )
    shares = {tier: sum(result["found"] == tier for result in results) / len(results) for tier in tiers}
    survivors = [result for result in results if result["found"] is None]
    report = {"mutants": len(results), "shares": shares, "survivors": survivors}
    (folder / "report.json").write_text(json.dumps(report, indent=1))
    for result in survivors:
        old = (folder / "tree" / result["file"]).read_bytes()[result["start"] : result["end"]].decode()
        print(f"survives: {result['file']}:{result['line']}: {old} -> {result['text']} ({result['tests']} tests)")
    print(f"found: {shares}, of {len(results)}")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=("cover", "run"))
    parser.add_argument("--tier", choices=TIERS, default="default")
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=[], help="files of tests to cover, to try the tool")
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.what == "cover":
        cover(options.folder, options.tier, options.only)
    else:
        run(options.folder, options.number)


if __name__ == "__main__":
    main()
