"""Reading a suite: its file, what it inherits, its benchmarks and its claims."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from harness.base import yaml_nodes
from harness.base.yaml_nodes import Node
from harness.errors import HarnessError, Place, Problem, SuiteError, choices
from harness.registry.shipped import suite_files, suites_folder
from harness.registry.user_methods import UserMethod, register, user_method, user_part
from harness.suite.ablate import Levels, expand, place_of_change
from harness.suite.models import Benchmark, Claim, PaperClaim, PaperClaims, SuiteFile, UsedBenchmark
from harness.suite.short_forms import in_full
from harness.suite.strict import schema_problem
from harness.vocabulary import SLOTS, WRITTEN_SCALES

OWN_PARTS = ("data", "model")
"""Parts that a user's file may define, beside the slots: ``optimizer: {file: ./my.py, class: SignSGD, lr: 0.01}``."""
Model = TypeVar("Model", bound=BaseModel)
Reader = Callable[[Path], Node]
DEEPEST = 50
MOST_FILES = 10_000
MOST_NAMES = 1000
"""Inheritance ends somewhere, and so do arms and benchmarks: what is beyond is a mistake or a trap."""


def _reader() -> Reader:
    """A cached reader of files that rejects endless inheritance."""
    once = cache(yaml_nodes.read)
    left = itertools.count(MOST_FILES, -1)

    def read(path: Path) -> Node:
        if next(left) <= 0:
            raise SuiteError([Problem(Place(path, 1, 1), f"inherits: more than {MOST_FILES:,} files are merged")])
        return once(path)

    return read


@dataclass(frozen=True, slots=True)
class LoadedBenchmark:
    """A benchmark with the places of its keys."""

    name: str
    model: Benchmark
    node: Node
    used: UsedBenchmark


@dataclass(frozen=True, slots=True)
class Suite:
    """A whole suite: its file, benchmarks and claims.

    Attributes:
        facts: the claims by id as stated: the paper's, then the suite's own.
        own_methods: methods, data and models of a user's files.
        generated: the levels of ``ablate:`` that made an arm.
    """

    path: Path
    model: SuiteFile
    node: Node
    benchmarks: Mapping[str, LoadedBenchmark]
    facts: Mapping[str, PaperClaim]
    own_methods: tuple[UserMethod, ...] = ()
    generated: Levels = field(default_factory=dict)

    def place(self, *path: str | int) -> Place:
        """Place of a value in the suite's file; of a generated arm's value that of the change that set it."""
        if path[:1] == ("arms",) and len(path) > 1 and path[1] in self.generated:
            return place_of_change(self.node, self.generated[str(path[1])], path[2:])
        return self.node.find(path)

    @property
    def name(self) -> str:
        return self.model.suite

    @property
    def tuned_claims(self) -> list[Claim]:
        """The claims that are also judged under the tuned protocol."""
        tuned = self.model.tuned
        bound = [binding for binding in self.model.claims if binding.arm is not None and binding.check is None]
        if tuned is None or tuned.claims == "primaries":
            return [binding for binding in bound if binding.primary and tuned is not None]
        return [binding for binding in bound if binding.id in tuned.claims]


def absent(
    node: Node, path: tuple[str | int, ...], says: str, names: Iterable[str | None], valid: Collection[str]
) -> Iterator[Problem]:
    """Problems of unknown names at or below a path of a file: ``SAYS 'NAME'; …``; None is skipped."""
    for name in names:
        if name is not None and name not in valid:
            yield Problem(node.find((*path, name)), f"{says} '{name}'; {choices(valid, name)}")


def read_suite(path: Path) -> Suite:
    """Read a suite's files; ``harness.suite.load_suite`` also checks the whole.

    Raises:
        SuiteError: a file that is not a valid suite, benchmark or claims file.
    """
    read = _reader()
    return _assembled(path, _inherited(path, read), read)


def assembled(node: Node, path: Path) -> Suite:
    """As :func:`read_suite`, from the content of a file at ``path``."""
    read = _reader()
    return _assembled(path, _with_parents(path, node, read, (path.resolve(),)), read)


def _assembled(path: Path, node: Node, read: Reader) -> Suite:
    node, own_methods = with_own_files(in_full(node), path.parent)
    model = _validate(SuiteFile, node)
    for part, names in (("arms", model.arms), ("benchmarks", model.benchmarks)):
        if len(names) > MOST_NAMES:
            raise SuiteError([Problem(node.find((part,)), f"{len(names):,} {part}, more than {MOST_NAMES:,}")])
    levels: Levels = {}
    if model.ablate:
        model, levels = expand(model, node)
    benchmarks = {name: _benchmark(path, model, node, name, used, read) for name, used in model.benchmarks.items()}
    claims, facts = _claims(model, node, benchmarks, _facts(path, model, node))
    return Suite(path, model.model_copy(update={"claims": claims}), node, benchmarks, facts, own_methods, levels)


def unusable(path: Path) -> str | None:
    """Error of a name that no file can have, else None."""
    try:
        path.exists()
        path.stat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def _existing(file: Path, place: Place, what: str) -> Path:
    """The file; raises SuiteError where it cannot be read or does not exist."""
    if (wrong := unusable(file)) is not None:
        raise SuiteError([Problem(place, f"{what} cannot be read: {wrong}")])
    if not file.exists():
        raise SuiteError([Problem(place, f"{what} {file} does not exist")])
    return file


def find_suite(which: str | Path) -> Path:
    """The file of a suite by its path or shipped name."""
    path = Path(which)
    if (wrong := unusable(path)) is not None:
        raise HarnessError(f"no suite file '{which}': {wrong}")
    if path.exists() or path.is_symlink() or path.suffix in (".yaml", ".yml"):
        return path
    shipped = suite_files()
    if str(which) in shipped:
        return shipped[str(which)]
    raise HarnessError(f"no suite file '{which}' and no shipped suite of that name; {choices(shipped, str(which))}")


def _inherited(path: Path, read: Reader, seen: tuple[Path, ...] = (), child: Place | None = None) -> Node:
    """A file merged over its parents, later parents over earlier ones."""
    try:
        real = path.resolve(strict=False)
    except (OSError, RuntimeError) as error:
        raise SuiteError([Problem(child or Place(path, 1, 1), f"cannot be followed: {error}")]) from error
    if len(seen) > DEEPEST:
        raise SuiteError([Problem(child or Place(path, 1, 1), f"inherits more than {DEEPEST} files deep")])
    if real in seen:
        loop = " → ".join(p.name for p in (*seen[seen.index(real) :], real))
        raise SuiteError([Problem(child or Place(path, 1, 1), f"inheritance goes round in a circle: {loop}")])
    if child is not None and not path.is_file():
        why = "is a folder" if path.is_dir() else "does not exist"
        raise SuiteError([Problem(child, f"inherits '{path}', which {why}")])
    return _with_parents(path, read(path), read, (*seen, real))


def _with_parents(path: Path, node: Node, read: Reader, seen: tuple[Path, ...]) -> Node:
    """A node on top of what it inherits."""
    parents = node.value.get("inherits")
    merged: Node | None = None
    for parent in [] if parents is None else parents.value if isinstance(parents.value, list) else [parents]:
        if not isinstance(parent.value, str):
            raise SuiteError([Problem(parent.place, "inherits: the path of a file, or a list of paths")])
        if "\0" in parent.value:
            raise SuiteError([Problem(parent.place, "a path cannot contain a null character")])
        below = _inherited(path.parent / parent.value, read, seen, parent.place)
        merged = below if merged is None else yaml_nodes.merge(merged, below)
    if merged is None:
        return node
    merged = merged.copy()  # the parent's own node stays as it is
    for key in ("abstract", "inherits"):  # not inherited
        merged.value.pop(key, None)
    for scale in WRITTEN_SCALES:  # a child does not serve its parent's benchmarks
        block = merged.value.get(scale)
        if block is not None and isinstance(block.value, dict) and "stands_for" in block.value:
            merged.value[scale] = block.copy()
            del merged.value[scale].value["stands_for"]
    return yaml_nodes.merge(merged, node)


def _validate(model: type[Model], node: Node) -> Model:
    try:
        return model.model_validate(node.plain())
    except ValidationError as error:
        raise SuiteError([schema_problem(node, detail) for detail in error.errors()]) from error


def _benchmark(
    path: Path, suite: SuiteFile, suite_node: Node, name: str, used: UsedBenchmark, read: Reader
) -> LoadedBenchmark:
    place = suite_node.find(("benchmarks", name))
    if used.define is not None:
        node = suite_node.at(("benchmarks", name, "define"))
        if used.define.inherits:
            message = "'define:' inherits nothing; use 'file:' for that"
            raise SuiteError([Problem(node.find(("inherits",)), message)])
        return LoadedBenchmark(name, used.define, node, used)
    if used.file is not None:
        file = _existing(path.parent / used.file, suite_node.find(("benchmarks", name, "file")), "the file")
    else:
        tried = [root / "benchmarks" / suite.suite / f"{name}.yaml" for root in (path.parent, suites_folder())]
        file = next((file for file in tried if file.exists()), tried[0])
        if not file.exists():
            shipped = {other.stem for root in tried for other in root.parent.glob("*.yaml")}
            problem = f"no benchmark '{name}': {file} does not exist; {choices(shipped, name)}"
            raise SuiteError([Problem(place, problem)])
    node = _inherited(file, read)
    model = _validate(Benchmark, node)
    problems = []
    if used.file is None and model.benchmark != name:
        problems.append(Problem(node.find(("benchmark",)), f"is named '{model.benchmark}', the file says '{name}'"))
    if model.abstract:
        problems.append(Problem(place, f"benchmark '{name}' is abstract: it is only inherited from"))
    if problems:
        raise SuiteError(problems)
    return LoadedBenchmark(name, model, node, used)


def _facts(path: Path, suite: SuiteFile, node: Node) -> dict[str, PaperClaim]:
    """The paper's claims by id: inline, from a named file, or from ``claims/<suite>.yaml``."""
    if isinstance(suite.facts, list) and suite.facts:
        listed, where = suite.facts, node.value["facts"]
    else:
        named = suite.facts if isinstance(suite.facts, str) else None
        file = path.parent / (named or f"claims/{suite.suite}.yaml")
        if named is None and unusable(file) is None and not file.exists():
            return {}
        where = yaml_nodes.read(_existing(file, node.find(("facts",)), "the file of facts"), top=list)
        listed = _validate(PaperClaims, where).root
    facts: dict[str, PaperClaim] = {}
    problems = []
    for number, fact in enumerate(listed):
        if fact.id in facts:
            problems.append(Problem(where.find((number, "id")), f"the claim '{fact.id}' is duplicated"))
        if fact.suite != suite.suite:
            message = f"belongs to suite '{fact.suite}', not '{suite.suite}'"
            problems.append(Problem(where.find((number, "suite")), message))
        facts[fact.id] = fact
    if problems:
        raise SuiteError(problems)
    return facts


def _claims(
    suite: SuiteFile, node: Node, benchmarks: Mapping[str, LoadedBenchmark], facts: Mapping[str, PaperClaim]
) -> tuple[list[Claim], dict[str, PaperClaim]]:
    """The suite's claims, and all stated claims by id."""
    claims: list[Claim] = []
    every = dict(facts)
    for number, claim in enumerate(suite.claims):
        if claim.kind is None:
            claims.append(claim)
            continue
        here = ("claims", number)
        having = [name for name, loaded in benchmarks.items() if claim.metric in loaded.model.metrics]
        names = claim.benchmarks or having
        problems = list(absent(node, (*here, "benchmarks"), "no benchmark", names, benchmarks))
        if not names:
            existing = {name for loaded in benchmarks.values() for name in loaded.model.metrics}
            problems += absent(node, (*here, "metric"), "no benchmark has the metric", [claim.metric], existing)
        for name in names if not problems else ():
            existing = set(benchmarks[name].model.metrics)
            problems += absent(node, (*here, "metric"), f"benchmark '{name}' has no metric", [claim.metric], existing)
        if claim.id in every:
            message = f"the claim '{claim.id}' is bound twice; give this one another 'id'"
            problems.append(Problem(node.find((*here, "id")), message))
        if problems:
            raise SuiteError(problems)
        claim = claim.model_copy(update={"benchmarks": names})
        claims.append(claim)
        every[claim.id] = claim.fact(suite.suite, benchmarks[names[0]].model.metrics[str(claim.metric)])
    return claims, every


def with_own_files(node: Node, root: Path) -> tuple[Node, tuple[UserMethod, ...]]:
    """Replace every file by its registered name; return the parts for workers too.

    Args:
        root: the suite's folder, from which files are named.

    Raises:
        SuiteError: a file that is not there or does not run, or a class that it does not have; with its place.
    """
    result: dict[str, UserMethod] = {}
    changed = _visited(node, "", root, result)
    return changed, tuple(result.values())


def _visited(node: Node, key: str, root: Path, parts: dict[str, UserMethod]) -> Node:
    value = node.value
    if isinstance(value, list):
        items = [_visited(child, key, root, parts) for child in value]
        return Node(node.place, items, node.key_places, node.size, node.height)
    if not isinstance(value, dict):
        return node
    if (key in SLOTS or key in OWN_PARTS) and "file" in value:
        return _named(node, key, root, parts)
    changed = node.copy()
    changed.value = {name: _visited(child, _key_of(key, name), root, parts) for name, child in value.items()}
    return changed


def _key_of(above: str, name: str) -> str:
    """The slot or part of a mapping; a place below a slot belongs to the slot."""
    return above if above in SLOTS and name not in (*SLOTS, *OWN_PARTS) else name


def _named(node: Node, key: str, root: Path, parts: dict[str, UserMethod]) -> Node:
    file = node.value["file"]
    if not isinstance(file.value, str):
        raise SuiteError([Problem(file.place, "'file' is the path of a Python file")])
    path = (root / file.value).resolve()
    if not path.is_file():
        raise SuiteError([Problem(file.place, f"no file {path}")])
    if path.suffix != ".py":
        raise SuiteError([Problem(file.place, f"{path} is not a Python file")])
    target = node.value.get("class") or node.value.get("function")
    try:
        if key in SLOTS:
            if target is None:
                raise HarnessError("name the class: {file: …, class: …}")
            part = user_method(path, str(target.value), key)
        else:
            part = user_part(path, "data" if key == "data" else "model")
        register(part)
    except HarnessError as error:
        raise SuiteError([Problem((target or file).place, str(error))]) from error
    parts[f"{part.kind}/{part.name}"] = part
    named = node.copy()
    for word in ("file", "class", "function"):
        named.value.pop(word, None)
        named.key_places.pop(word, None)
    named.value = {"name": Node.of(part.name, file.place), **named.value}
    named.key_places["name"] = node.key_places["file"]
    return named
