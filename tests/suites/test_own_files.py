"""Parts of a suite that are files of the user: optimizers, norms and data, trained and judged like any."""

import json
from pathlib import Path

import pytest

from harness.cli.group import run_main

SIGN = '''
import torch


class SignSGD(torch.optim.Optimizer):
    """The sign of the gradient."""

    def __init__(self, params, lr, momentum=0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad.sign(), alpha=-group["lr"])


class NoOptimizer:
    pass
'''
SUITE = """
suite: mine
arms:
  sgd: {optimizer: {name: sgd, lr: 0.05}}
  mine: {optimizer: {file: ./my.py, class: SignSGD, lr: 0.01}}
benchmarks:
  digits:
    task: classification
    metrics: {top1-accuracy: {unit: percent, better: higher}}
    data: {name: digits, train: 60, validation: 60, noise: 0.3}
    model: {name: bn-cnn, widths: [4], strides: [1]}
    recipe: {steps: 6, batch_size: 16}
compare:
  - {arm: mine, against: [sgd], metric: top1-accuracy}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my.py").write_text(SIGN)
    (tmp_path / "mine.yaml").write_text(SUITE)
    return tmp_path


def verdicts(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[dict[str, object]]:
    capsys.readouterr()
    arguments = ["--db", str(folder / "r" / "h.duckdb"), "--executor", "inline", "--no-report", "--json", *more]
    assert run_main(["run", *arguments]) == 0
    (run,) = json.loads(capsys.readouterr().out.splitlines()[-1])["runs"]
    result: list[dict[str, object]] = run["verdicts"]
    return result


def test_an_arm_may_name_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = str(folder / "mine.yaml")
    assert run_main(["validate", suite]) == 0
    (verdict,) = verdicts(folder, capsys, suite)
    assert (verdict["claim_id"], verdict["n"]) == ("mine-over-sgd", 3)
    assert run_main(["plan", suite, "--db", str(folder / "r" / "h.duckdb")]) == 0
    assert "6 stored already" in capsys.readouterr().out


@pytest.mark.full
def test_an_added_arm_is_trained_and_judged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = f"mine={folder / 'my.py'}:SignSGD"
    chosen = f"--benchmark imagenet-resnet18 --arm {own} --arm adamw --seeds 3 --no-tuned --set steps=4"
    more = "--set data.train=40 --set optimizer.sgd.lr=0.01 --against adamw"
    rows = verdicts(folder, capsys, "adamp", *f"{chosen} {more}".split())
    (verdict,) = [row for row in rows if row["claim_id"] == "mine-over-adamw-top1-accuracy"]
    assert verdict["n"] == 3
    assert verdict["verdict"] in ("inconclusive", "direction confirmed", "direction reversed")
    design = verdict["design"]
    assert isinstance(design, dict)
    assert (design["multiplicity"]["family"], len(design["test"]["p"])) == ("own", 1)


MISTAKES = {
    "no file": ("./my.py", "./yours.py", "no file"),
    "no class": ("SignSGD", "SignSGDD", "has no 'SignSGDD'; did you mean 'SignSGD'"),
    "no optimizer": ("SignSGD", "NoOptimizer", "is not a torch.optim.Optimizer"),
    "a hyper-parameter": ("lr: 0.01", "lrr: 0.01", "unknown hyper-parameter 'lrr'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_has_its_place(mistake: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "mine.yaml"
    before, after, message = MISTAKES[mistake]
    path.write_text(SUITE.replace(before, after))
    assert run_main(["validate", str(path)]) == 2
    text = capsys.readouterr().err
    assert message in text
    assert f"{path}:5:" in text


def test_against_needs_an_arm_of_ones_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["run", "adamp", "--against", "adamw", "--dry-run"]) == 2
    assert "--arm NAME=FILE.py:CLASS" in capsys.readouterr().err
    own = f"mine={folder / 'my.py'}:SignSGD"
    assert run_main(["run", "adamp", "--arm", own, "--against", "adamww", "--dry-run"]) == 2
    assert "did you mean 'adamw'" in capsys.readouterr().err


@pytest.mark.full
def test_data_of_a_file_have_metadata(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "my_data.py").write_text(
        "from harness.registry.metadata import DataMetadata\n"
        "from suites.data.digits import DigitsOptions, load_digits\n"
        "METADATA = DataMetadata(name='my-digits', target='load_digits', summary='mine', origin='generated',\n"
        "                content='images',\n"
        "                layout='none', home='here', licence='MIT', version='1', options=DigitsOptions)\n"
    )
    text = SUITE.replace("{name: digits, train", "{file: ./my_data.py, train").replace("./my.py", "my.py")
    (folder / "mine.yaml").write_text(text)
    (verdict,) = verdicts(folder, capsys, str(folder / "mine.yaml"))
    assert verdict["n"] == 3
    (folder / "other.py").write_text("x = 1\n")
    (folder / "mine.yaml").write_text(text.replace("my_data.py", "other.py"))
    assert run_main(["validate", str(folder / "mine.yaml")]) == 2
    assert "has no metadata: it needs 'METADATA = DataMetadata(" in capsys.readouterr().err
