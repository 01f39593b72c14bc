"""Hostile input through every door: about a minute in the gate, for hours with ``--slow``.

Whatever is sent, a command ends by itself with one of its exit codes,
says what is wrong in one message with its place,
runs nothing that was sent, writes nothing outside its folder, and stays within memory and time.

    HARNESS_FUZZ_MINUTES=60 pytest tests/soak/test_fuzz.py -m slow -s
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fuzz_bases
import fuzz_doors as doors
import pytest
import yaml
from fuzz_server import Answer, Server
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.cli.group import harness as commands
from harness.registry.shipped import suite_files

HANG_SECONDS = 100.0
MOST_MEGABYTES = 3000.0
MOST_TEXT = 40_000
PWNED = Path("/tmp/pwned-by-an-archive")


@dataclass
class Box:
    """Folders of one example: what is outside ``work`` must stay as it is."""

    root: Path
    server: Server
    examples: Counter[str] = field(default_factory=Counter)
    finds: dict[str, str] | None = None
    """In the long form finds are collected, by what they look like; else the first one fails."""

    @property
    def work(self) -> Path:
        return self.root / "work"

    def fresh(self) -> Path:
        """An empty working folder."""
        _unlock(self.root)
        shutil.rmtree(self.root, ignore_errors=True)
        for name in ("work", "home", "cache", "tmp"):
            (self.root / name).mkdir(parents=True)
        (self.root / "outside.txt").write_text("stays")
        return self.work

    def send(self, door: str, kind: str, given: Any, place: str = "", data: Path | None = None) -> Answer:
        """Run the example and hold it to the promise; ``place``: what a message has to name."""
        before = self._outside()
        self.examples[door] += 1
        answer = self._ask(kind, given, data)
        problem = _problem(answer, place)
        if (after := self._outside()) != before:
            problem = f"wrote outside: {sorted(after ^ before)}"
        if problem is not None:
            self._found(door, kind, given, data, answer, problem)
        return answer

    def _ask(self, kind: str, given: Any, data: Path | None, **more: str) -> Answer:
        if kind == "command":  # what no shell can hand over is not handed over
            given = [word if _can_be_typed(word) else word.encode("utf-8", "replace").decode() for word in given]
        environment = {
            "HOME": str(self.root / "home"),
            "HARNESS_CACHE": str(self.root / "cache"),
            "TMPDIR": str(self.root / "tmp"),
            "HARNESS_DATA": str(data or self.root / "data"),
            "HARNESS_DB": "results/harness.duckdb",
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "http_proxy": "http://127.0.0.1:9",
            "https_proxy": "http://127.0.0.1:9",
            "HTTP_PROXY": "http://127.0.0.1:9",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "HF_HUB_OFFLINE": "1",
            **more,
        }
        return self.server.ask(kind, self.work, given, environment, HANG_SECONDS)

    def _outside(self) -> set[str]:
        found = {path.name for path in self.root.iterdir()} - {"out.txt", "err.txt"}
        found |= {f"home/{path.name}" for path in (self.root / "home").iterdir()}
        if PWNED.exists():
            found.add(str(PWNED))
        return found | {(self.root / "outside.txt").read_text()}

    def _found(self, door: str, kind: str, given: Any, data: Path | None, answer: Answer, problem: str) -> None:
        where = ""
        if answer.code is not None and not answer.signal and "wrote" not in problem:
            again = self._ask(kind, given, data, HARNESS_DEBUG="1")
            where = again.err[-1500:]
        told = f"{door}: {problem}\n{kind} {given!r}\n{answer}\n{where}"
        if self.finds is None:
            raise AssertionError(told)
        last = (where or answer.err).strip().splitlines()[-1:] or [""]
        frames = [line.strip() for line in where.splitlines() if line.strip().startswith("File ")][-1:]
        name = f"{door}: {problem[:60]} {frames} {last[0][:80]}"
        if name not in self.finds:
            self.finds[name] = told
            print(f"FIND {told}\n", flush=True)


def _can_be_typed(word: str) -> bool:
    try:
        os.fsencode(word)
    except UnicodeEncodeError:
        return False
    return True


def _unlock(root: Path) -> None:
    for folder, _, _ in os.walk(root):
        with contextlib.suppress(OSError):
            Path(folder).chmod(0o755)


def _problem(answer: Answer, place: str) -> str | None:
    """What breaks the promise."""
    if answer.signal:
        return f"died of signal {answer.signal}"
    if answer.code is None:
        return f"hung for {answer.seconds:.0f} s"
    if "Traceback (most recent call last)" in answer.err or "internal error" in answer.err:
        return "an internal error"
    if answer.code not in (0, 1, 2):
        return f"exit code {answer.code}"
    if answer.code == 2 and not answer.err.strip() and not answer.out.startswith('{"problems"'):  # with --json
        return "no message"
    if answer.code == 2 and place and place not in answer.err:
        return f"a message without its place ({place})"
    if any(mark in answer.err for mark in ("\x1b", "\x9b", "\u202e")):
        return "control characters reach the terminal"
    if answer.megabytes > MOST_MEGABYTES:
        return f"{answer.megabytes:.0f} MB"
    return None


# the doors


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One for all doors."""
    made = Server()
    yield made
    made.close()


@pytest.fixture(scope="module")
def box(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Box:
    """The folders."""
    return Box(tmp_path_factory.mktemp("fuzz") / "box", server)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny_text: str, server: Server) -> Path:
    """Valid examples, made once: a suite with a store of its trials, its exports, folders of data, weights."""
    root = tmp_path_factory.mktemp("bases")
    (root / "store").mkdir()
    (root / "store" / "tiny.yaml").write_text(tiny_text)
    box = Box(root / "box", server)
    box.fresh()
    made = Box(root / "made", server)
    shutil.copy(root / "store" / "tiny.yaml", made.fresh())
    ran = made.send("base", "command", ["run", "tiny.yaml", "--executor", "inline", "--no-report", "--quiet"])
    assert ran.code == 0, ran
    for form in ("mlflow", "tensorboard"):
        assert made.send("base", "command", ["export", "--to", form, f"exported/{form}"]).code == 0
    shutil.move(made.work / "exported", root / "exported")
    shutil.copytree(made.work / "results", root / "store" / "results")
    for name, layout in fuzz_bases.LAYOUTS.items():
        folder = root / "layouts" / name
        folder.parent.mkdir(exist_ok=True)
        if layout.named:
            folder.mkdir()
        else:
            folder = folder / "own"
            folder.parent.mkdir()
        layout.write(folder)
    (root / "weights").mkdir()
    for form in ("safetensors", "pt", "state.pt", "old.pt"):
        fuzz_bases.weights(root / "weights", form)
    return root


def odd_things(work: Path) -> None:
    """A working folder with what paths may point at."""
    os.mkfifo(work / "pipe")
    (work / "loop").symlink_to("loop")
    (work / "folder").mkdir()
    (work / "text.txt").write_text("no database, no suite, no table\n")
    (work / "own.py").write_text("class A:\n    pass\n")
    (work / "table.csv").write_bytes(doors._table_bytes(doors.TABLE, "csv"))


def suites(draws: doors.Draws, box: Box, bases: Path) -> None:
    """Suite files with changed nodes or bytes."""
    work = box.fresh()
    shipped = draws.random() < 0.15
    file = draws.choice(list(suite_files().values())) if shipped else bases / "store" / "tiny.yaml"
    content = Path(file).read_bytes()
    if draws.random() < 0.6:
        content = doors.as_yaml(draws, doors.edited(draws, yaml.safe_load(content)))
    else:
        content = doors.mutated(draws, content, 6)
    os.mkfifo(work / "pipe")
    (work / "fuzzed.yaml").write_bytes(content)
    for command in (["validate"], ["plan", "--json"], ["run", "--dry-run"]):
        box.send(
            "suites",
            "command",
            [command[0], "fuzzed.yaml", *command[1:]],
            "fuzzed.yaml" if command == ["validate"] else "",
        )


def options(draws: doors.Draws, box: Box, bases: Path) -> None:
    """Command lines, drawn from what click declares."""
    work = box.fresh()
    shutil.copytree(bases / "store", work, dirs_exist_ok=True)
    odd_things(work)
    box.send("options", "command", doors.arguments(draws, PARAMETERS))


PARAMETERS = doors.parameters_of(commands)


def tables(draws: doors.Draws, box: Box, bases: Path) -> None:
    """Tables of results, and folders of trackers."""
    work = box.fresh()
    shutil.copy(bases / "store" / "tiny.yaml", work)
    if draws.random() < 0.6:
        name = doors.table(draws, work).name
        judge = ["judge", name, "--method", "better", "--against", "base", "--metric", "score", "--better", "higher"]
        box.send(
            "tables", "command", [*judge, *draws.choice(([], ["--by", "bench"], ["--where", "bench=known"]))], name
        )
        more = ["--arm-column", "arm", *draws.choice((["--benchmark", "known"], ["--where", "bench=known"]))]
    else:
        name = draws.choice(("mlflow", "tensorboard"))
        shutil.copytree(bases / "exported" / name, work / name)
        doors.spoilt(draws, work / name)
        if name == "wandb-csv":
            listed = sorted(str(path.relative_to(work)) for path in (work / name).iterdir())
            name = draws.choice(listed or [name])
        more = draws.choice(([], ["--arm-column", "arm"], ["--arm-column", "arm", "--seed-column", "seed"]))
    box.send("tables", "command", ["import", name, "--suite", "tiny.yaml", *more])


def layouts(draws: doors.Draws, box: Box, bases: Path) -> None:
    """Folders of data in every layout."""
    name = draws.choice(list(fuzz_bases.LAYOUTS))
    layout = fuzz_bases.LAYOUTS[name]
    data = box.fresh() / "data"
    shutil.copytree(bases / "layouts" / name, data)
    doors.spoilt(draws, data)
    values = dict(layout.values) if layout.named else {**layout.values, "path": str(data / "own")}
    box.send("layouts", "layout", {"name": layout.source, "values": values}, "", data)


def weights(draws: doors.Draws, box: Box, bases: Path) -> None:
    """Files of weights, and pickles."""
    work = box.fresh()
    file = draws.choice(sorted((bases / "weights").iterdir()))
    content = doors.mutated(draws, file.read_bytes(), 6)
    if draws.random() < 0.1:
        content = b"cos\nsystem\n(S'touch ../pwned'\ntR."
    name = draws.choice((file.name, "w.safetensors", "w.pt"))
    (work / name).write_bytes(content)
    box.send("weights", "weights", {"path": str(work / name)}, name)


def archives(draws: doors.Draws, box: Box, bases: Path) -> None:
    """Archives of pictures with wrong bytes and names that lead out."""
    work = box.fresh()
    source = bases / "layouts" / "imagefolder" / "own"
    evil = (source / "train" / "a" / "0.png").read_bytes()
    path = doors.archive(draws, source, work, evil)
    box.send("archives", "layout", {"name": "imagefolder", "values": {"path": str(path), "size": 8}}, "")


def names(draws: doors.Draws, box: Box, bases: Path) -> None:
    """Names of arms, benchmarks, suites, tags, files and folders."""
    work = box.fresh()
    shutil.copytree(bases / "store", work, dirs_exist_ok=True)
    odd, what = (
        draws.choice(doors.TEXTS).replace("\0", ""),
        draws.choice(("arm", "benchmark", "suite", "metric", "tag", "file", "db", "out")),
    )
    if what in ("arm", "benchmark", "suite", "metric"):
        old = {"arm": "better", "benchmark": "known", "suite": "tiny", "metric": "score"}[what]
        content = yaml.safe_load((work / "tiny.yaml").read_bytes())
        (work / "named.yaml").write_bytes(doors.as_yaml(draws, _renamed(content, old, odd)))
        run = ["run", "named.yaml", "--executor", "inline", "--seeds", "2", "--db", "named.duckdb", "--quiet"]
        if box.send("names", "command", ["validate", "named.yaml"], "named.yaml").code == 0:
            box.send("names", "command", [*run, *draws.choice(([], ["--no-report"]))])
            box.send(
                "names",
                "command",
                [
                    "export",
                    "--to",
                    draws.choice(("csv", "latex", "mlflow", "tensorboard")),
                    "made",
                    "--db",
                    "named.duckdb",
                ],
            )
    elif what == "tag":
        box.send("names", "command", ["db", "tag", "latest", "--", odd])
        box.send("names", "command", ["list", "runs"])
    elif what == "file":
        with contextlib.suppress(OSError, ValueError):
            shutil.copy(work / "tiny.yaml", work / f"{odd.replace('/', '')}.yaml")
        box.send("names", "command", ["plan", "--", f"{odd.replace('/', '')}.yaml"])
    elif what == "db":
        box.send("names", "command", ["claims", "tiny.yaml", "--db", f"made/{odd.lstrip('/').replace('..', '')}"])
    else:
        box.send("names", "command", ["export", "--to", "csv", "--", f"made/{odd.lstrip('/').replace('..', '')}"])


def _renamed(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {new if key == old else key: _renamed(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, old, new) for item in value]
    return new if value == old else value


DOORS: dict[str, tuple[Callable[[doors.Draws, Box, Path], None], int]] = {
    "suites": (suites, 6),
    "options": (options, 12),
    "tables": (tables, 8),
    "layouts": (layouts, 15),
    "weights": (weights, 10),
    "archives": (archives, 10),
    "names": (names, 5),
}
"""Each with the examples of the gate."""


def run(door: str, box: Box, bases: Path, examples: int, **more: Any) -> None:
    """So many examples of a door."""
    send, _ = DOORS[door]
    options = {
        "max_examples": examples,
        "deadline": None,
        "database": None,
        "phases": [Phase.explicit, Phase.generate],
        "suppress_health_check": list(HealthCheck),
        **more,
    }

    @settings(**options)
    @given(st.randoms(use_true_random=False))
    def example(draws: doors.Draws) -> None:
        send(draws, box, bases)

    example()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("door", DOORS)
def test_the_promise_holds(door: str, box: Box, bases: Path) -> None:
    run(door, box, bases, DOORS[door][1], derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_for_long(box: Box, bases: Path) -> None:
    """Every door in turn, other examples each time, until ``HARNESS_FUZZ_MINUTES`` are over; all finds at the end."""
    until = time.monotonic() + 60 * float(os.environ.get("HARNESS_FUZZ_MINUTES", "60"))
    chosen = os.environ.get("HARNESS_FUZZ_DOORS", ",".join(DOORS)).split(",")
    box.examples, box.finds = Counter(), {}
    while time.monotonic() < until:
        for door in chosen:
            run(door, box, bases, 20)
    print(f"examples: {dict(box.examples)}; finds: {len(box.finds)}")
    finds, box.finds = box.finds, None
    assert not finds, "\n\n".join(finds.values())
