"""Preflight as a user runs it: real configurations on tiny published formats, exit codes, failures by name."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import until

Harness = Callable[..., "subprocess.CompletedProcess[str]"]


def cells(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {f"{row['benchmark']}/{row['arm']}": row for row in result["cells"]}


def test_cells_with_a_teacher_are_built_with_it_and_it_is_a_cell_itself(harness: Harness, tmp_path: Path) -> None:
    done = harness(
        "preflight",
        "nkd",
        "--benchmark",
        "cifar100-wrn40-2-vgg8",
        "--arm",
        "kd",
        "--arm",
        "nkd",
        "--jobs",
        1,
        "--device",
        "a100",
        "--format",
        "json",
        HARNESS_DATA=str(tmp_path / "no-data"),
    )
    assert done.returncode == 0, done.stderr
    rows = cells(done)
    assert set(rows) == {f"cifar100-wrn40-2-vgg8/{arm}" for arm in ("prerequisite:teacher", "kd", "nkd")}
    kd, teacher = rows["cifar100-wrn40-2-vgg8/kd"], rows["cifar100-wrn40-2-vgg8/prerequisite:teacher"]
    # Tian et al. 2020: VGG8 has 3.97 M parameters, WRN-40-2 2.26 M.
    assert round(kd["parameters"] / 1e6, 2) == 3.97
    assert round(teacher["parameters"] / 1e6, 2) == round(kd["asked_parameters"] / 1e6, 2) == 2.26
    assert kd["steps"] == 240 * (50_000 // 64)
    assert kd["hours"] == pytest.approx(kd["steps"] * kd["flops"] / (19.5e12 * 0.4) / 3600)
    # Forward and backward of VGG8 (96 M multiply-adds an image), forward of the teacher (330 M).
    assert kd["flops"] / 64 == pytest.approx(2 * (3 * 96e6 + 330e6), rel=0.1)
    assert kd["missing"] == ["data cifar100"]
    assert kd["untrained"] == ["teacher"]
    assert all(row["stage"] == "done" and not row["error"] for row in rows.values())


def test_equal_steps_are_taken_once_and_a_cell_that_fails_is_named(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n\n\nclass Broken(torch.optim.SGD):\n"
        "    def step(self, closure=None):\n        raise ArithmeticError('no step today')\n"
    )
    suite = tmp_path / "own.yaml"
    suite.write_text(
        "suite: own\ntitle: A small preflight\narms:\n"
        "  slow: {role: baseline, optimizer: {name: sgd, lr: 0.1}}\n"
        "  fast: {role: method, optimizer: {name: sgd, lr: 1.0}}\n"
        "  heavy: {role: method, optimizer: {name: sgd, lr: 0.1, momentum: 0.9}}\n"
        "benchmarks:\n  digits:\n    define:\n      benchmark: digits\n      title: Digits\n"
        "      task: classification\n      metrics: {top1-accuracy: {unit: percent, better: higher}}\n"
        "      mini:\n        data: {name: digits, train: 200}\n"
        "        model: {name: bn-cnn, widths: [8], strides: [2]}\n"
        "        recipe: {epochs: 3, batch_size: 20}\n"
    )
    done = harness(
        "preflight",
        suite,
        "--scale",
        "mini",
        "--jobs",
        1,
        "--format",
        "json",
        "--arm",
        "slow",
        "--arm",
        "fast",
        "--arm",
        "heavy",
        "--arm",
        f"mine={tmp_path / 'mine.py'}:Broken",
    )
    assert done.returncode == 1, done.stderr
    rows = cells(done)
    assert rows["digits/fast"]["shared_with"] == "digits/slow"
    assert rows["digits/heavy"]["shared_with"] == ""
    # Twenty images a step of two hundred, three times; no set is missing, since scikit-learn ships it.
    assert rows["digits/slow"]["steps"] == 30
    assert rows["digits/slow"]["missing"] == []
    assert "no step today" in rows["digits/mine"]["error"]
    assert rows["digits/mine"]["stage"] == "step"
    assert "failed: own/digits/mine: step: ArithmeticError: no step today" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nkd", "--device", "h1000"), "unknown device 'h1000'; did you mean 'h100'"),
        (("nkd", "--utilisation", "1.5"), "1.5"),
        (("nkd", "--benchmark", "imagenet-resnet17"), "imagenet-resnet18"),
        (("nkdd",), "nkd"),
    ],
)
def test_bad_input_is_one_message(harness: Harness, arguments: tuple[str, ...], message: str) -> None:
    done = harness("preflight", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_needs_no_torch() -> None:
    code = "import sys\nfrom harness.cli import main\nsys.argv = ['harness', 'preflight', '--help']\n"
    code += "try:\n    main()\nexcept SystemExit:\n    pass\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Example: harness preflight" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_every_cell_of_the_five_suites_builds_at_paper_scale(harness: Harness, tmp_path: Path) -> None:
    suites = ("adamp", "nkd", "powernorm", "region_norm", "knn_mmd")
    done = harness("preflight", *suites, "--format", "json", timeout=2400, HARNESS_DATA=str(tmp_path / "no-data"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["failed"] == []
    assert len(result["cells"]) > 300
    assert 2 * result["highest_gb"] < 12
    sizes = {f"{row['suite']}/{row['benchmark']}": row["parameters"] for row in result["cells"]}
    published = {
        "adamp/imagenet-resnet50": 25.6,
        "nkd/imagenet-swin-tiny": 28.3,
        "nkd/imagenet-deit-base": 86.6,
        "adamp/wikitext103-transformer-xl": 151.1,
    }
    assert {name: round(sizes[name] / 1e6, 1) for name in published} == published


def test_a_schedulers_signal_leaves_neither_processes_nor_folders(tmp_path: Path) -> None:
    held = tmp_path / "temporary"
    held.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "preflight", "adamp", "--benchmark", "coco-ssd-scratch", "--jobs", "1"],
        env={**os.environ, "TMPDIR": str(held)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    until(lambda: list(held.glob("harness-preflight-*/*")), "no worker began")
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate()
    assert process.returncode == 1
    assert b"interrupted" in message
    assert not list(held.glob("harness-preflight-*"))
    # Python's own tracker of resources ends a moment later
    until(lambda: not group_lives(process.pid), "a process was left behind")


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
