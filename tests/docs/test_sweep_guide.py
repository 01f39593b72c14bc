"""The page about sweeps: its section is valid and runs, its statements are accepted."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from tree_support import blocks


def test_the_section_of_the_guide_runs(
    tmp_path: Path, harness: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (suite,), (section, tuned) = blocks("README.md", "yaml"), blocks("docs/sweeps.md", "yaml")
    (tmp_path / "my.yaml").write_text(f"{suite}\n{section}\n{tuned}")
    valid = harness("validate", "my.yaml")
    assert valid.returncode == 0, valid.stderr
    planned = json.loads(harness("plan", "my.yaml", "--json").stdout)["tuned"]
    assert {(cell["arm"], cell["configurations"]) for cell in planned} <= {("adam", 3), ("adamw", 3)}
    options = "--benchmark digits --budget 2 --scale smoke --executor inline --json"
    ran = harness("sweep", "my.yaml", *shlex.split(options))
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result["told"] == {"adam": 2, "adamw": 2}
    assert set(result["chosen"]["adam"]["params"]) == {"optimizer.lr", "batch_size"}
    assert set(result["chosen"]["adamw"]["params"]) == {"optimizer.lr", "optimizer.weight_decay", "batch_size"}
    queries = [line for text in blocks("docs/sweeps.md", "sh") for line in text.splitlines() if "harness query" in line]
    assert len(queries) == 3
    for line in queries:
        answer = harness(*shlex.split(line)[1:], "--format", "json")
        assert answer.returncode == 0, answer.stderr
        assert json.loads(answer.stdout)
