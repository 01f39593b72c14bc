"""Hostile input of every kind: a minute in the full tier, for hours in the slow one.

Whatever is sent, a command ends by itself with one of its exit codes, says what is wrong in one message, runs nothing
that was sent and writes nothing outside its folder.

    HARNESS_FUZZ_MINUTES=60 pytest tests/soak/test_fuzz.py -m slow -s
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fuzz_inputs as inputs
import pytest
import warm_process
import yaml
from data_copies import OWN, written
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.cli.group import harness as commands
from harness.registry.shipped import suite_files

HANG_SECONDS = 200.0
"""Seconds that only a hang reaches."""
PWNED = Path("/tmp/pwned-by-an-archive")
PARAMETERS = inputs.parameters_of(commands)


def typed(word: str) -> str:
    """A word as a shell can hand it over."""
    try:
        os.fsencode(word)
    except UnicodeEncodeError:
        return word.encode("utf-8", "replace").decode()
    return word


class Box:
    """Folders of one example: what is outside ``work`` must stay as it is."""

    def __init__(self, root: Path, finished: Path) -> None:
        self.root, self.work, self.finished = root, root / "work", finished

    def fresh(self) -> Path:
        """A working folder with the suite, its store and odd files."""
        shutil.rmtree(self.root, ignore_errors=True)
        for name in ("work", "home", "tmp"):
            (self.root / name).mkdir(parents=True)
        shutil.copytree(self.finished, self.work, dirs_exist_ok=True)
        os.mkfifo(self.work / "pipe")
        (self.work / "loop").symlink_to("loop")
        (self.work / "folder").mkdir()
        (self.work / "own.py").write_text("class A:\n    pass\n")
        (self.work / "table.csv").write_bytes(inputs.csv_of(inputs.ROWS))
        return self.work

    def send(self, *arguments: str, place: str = "", data: Path | None = None) -> int:
        """Run ``python -m ARGUMENTS`` and hold it to the promise; ``place`` is what a message has to name."""
        words = [
            os.fsdecode(os.fsencode(word.encode("utf-8", "surrogateescape").decode("utf-8", "replace")))
            for word in arguments
        ]
        environment = {
            **os.environ,
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "HARNESS_DATA": str(data or self.root / "data"),
            "HARNESS_DB": "results/harness.duckdb",
            "PYTHONPATH": str(Path(__file__).parent),
            "HF_HUB_OFFLINE": "1",
            **dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9"),
        }
        before = self._outside()
        try:
            done = warm_process.call(words, self.work, environment, HANG_SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"hung: {words}")
        message = f"{words}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        assert done.returncode in (0, 1, 2), message
        assert "Traceback (most recent call last)" not in done.stderr, message
        assert "internal error" not in done.stderr, message
        assert not {"\x1b", "\x9b", "\u202e"} & set(done.stderr), f"control characters reach the terminal: {message}"
        if done.returncode == 2:
            assert done.stderr.strip() or done.stdout.startswith('{"problems"'), f"no message: {message}"
            assert place in done.stderr, f"a message without its place: {message}"
        assert self._outside() == before, f"wrote outside: {message}"
        return done.returncode

    def _outside(self) -> set[str]:
        return {path.name for folder in (self.root, self.root / "home", PWNED.parent) for path in folder.glob("*wned*")}


@pytest.fixture
def box(tmp_path: Path, finished: Path) -> Box:
    return Box(tmp_path / "box", finished)


def suites(data: st.DataObject, box: Box) -> None:
    """Suite files with changed nodes or bytes."""
    work = box.fresh()
    file = data.draw(st.just(work / "tiny.yaml") | st.sampled_from(list(suite_files().values())))
    content = Path(file).read_bytes()
    tree = yaml.safe_load(content)
    fuzzed = data.draw(inputs.changed_tree(tree).map(inputs.as_yaml) | inputs.changed_bytes(content))
    (work / "fuzzed.yaml").write_bytes(fuzzed)
    box.send("harness", "validate", "fuzzed.yaml", place="fuzzed.yaml")
    box.send("harness", "plan", "fuzzed.yaml", "--json")


def options(data: st.DataObject, box: Box) -> None:
    """Command lines drawn from what click declares."""
    box.fresh()
    box.send("harness", *data.draw(inputs.command_lines(PARAMETERS)))


def tables(data: st.DataObject, box: Box) -> None:
    """Tables of results."""
    work = box.fresh()
    name, content = data.draw(inputs.tables())
    (work / name).write_bytes(content)
    judge = ("--method", "better", "--against", "base", "--metric", "score", "--better", "higher")
    box.send("harness", "judge", name, *judge, *data.draw(st.sampled_from(((), ("--by", "bench")))), place=name)
    box.send("harness", "import", name, "--suite", "tiny.yaml", "--arm-column", "arm", "--benchmark", "known")


def layouts(data: st.DataObject, box: Box) -> None:
    """Folders of data in every layout."""
    root = box.fresh() / "data"
    part = written(data.draw(st.sampled_from(sorted(OWN))), root)
    inputs.spoil(data, root)
    wanted = {**part, "path": str(root / part["path"])} if "path" in part else part
    box.send("fuzz_read", "layout", json.dumps(wanted), data=root)


def weights(data: st.DataObject, box: Box) -> None:
    """Files of weights, and pickles that run something."""
    import torch
    from safetensors.torch import save

    work = box.fresh()
    tensors = {"conv.weight": torch.zeros(4, 3), "head.bias": torch.ones(7)}
    torch.save({"state_dict": tensors}, work / "state.pt")
    valid = data.draw(st.sampled_from((save(tensors), (work / "state.pt").read_bytes())))
    evil = b"cos\nsystem\n(S'touch ../pwned'\ntR."
    name = data.draw(st.sampled_from(("w.safetensors", "w.pt")))
    (work / name).write_bytes(data.draw(inputs.changed_bytes(valid) | st.just(evil)))
    box.send("fuzz_read", "weights", json.dumps({"path": str(work / name)}), place=name)


def archives(data: st.DataObject, box: Box) -> None:
    """Archives with wrong bytes and names that lead out."""
    work = box.fresh()
    written("imagefolder", work / "data")
    name, content = data.draw(inputs.archives(work / "data" / "own"))
    (work / name).write_bytes(content)
    box.send("fuzz_read", "layout", json.dumps({"name": "imagefolder", "path": str(work / name), "size": 8}))


def renamed(value: Any, old: str, new: str) -> Any:
    """Plain data in which a name is another."""
    if isinstance(value, dict):
        return {new if key == old else key: renamed(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, old, new) for item in value]
    return new if value == old else value


def names(data: st.DataObject, box: Box) -> None:
    """Names of arms, benchmarks, suites, metrics and tags."""
    work = box.fresh()
    odd = data.draw(inputs.TEXTS).replace("\0", "").encode("utf-8", "replace").decode()
    old = data.draw(st.sampled_from(("better", "known", "tiny", "score")))
    tree = yaml.safe_load((work / "tiny.yaml").read_bytes())
    (work / "named.yaml").write_bytes(inputs.as_yaml(renamed(tree, old, odd)))
    if box.send("harness", "validate", "named.yaml", place="named.yaml") == 0:
        run = ("--executor", "inline", "--seeds", "2", "--db", "named.duckdb", "--quiet")
        box.send("harness", "run", "named.yaml", *run)
    box.send("harness", "db", "tag", "latest", "--", odd)


KINDS: dict[str, tuple[Callable[[st.DataObject, Box], None], int]] = {
    "suites": (suites, 4),
    "options": (options, 8),
    "tables": (tables, 5),
    "layouts": (layouts, 10),
    "weights": (weights, 10),
    "archives": (archives, 10),
    "names": (names, 4),
}
"""Each kind of input with its examples in the full tier."""


def fuzz(kind: str, box: Box, examples: int, **more: Any) -> None:
    """Send so many examples of a kind."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        **more,
    )
    @given(st.data())
    def example(data: st.DataObject) -> None:
        KINDS[kind][0](data, box)

    example()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_the_promise_holds(kind: str, box: Box) -> None:
    fuzz(kind, box, KINDS[kind][1], derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", KINDS)
def test_for_long(kind: str, box: Box) -> None:
    """Other examples each time, until a share of ``HARNESS_FUZZ_MINUTES`` is over."""
    end = time.monotonic() + 60 * float(os.environ.get("HARNESS_FUZZ_MINUTES", "60")) / len(KINDS)
    while time.monotonic() < end:
        fuzz(kind, box, 20, derandomize=False)
