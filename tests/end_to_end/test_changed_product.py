"""A teacher whose trained weights were edited: no student uses it, and it is trained again."""

from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from harness.cli.group import run_main
from harness.store import open_reader

BENCHMARK = "imagenet-resnet18"


def teacher_of(folder: Path) -> Path:
    (result,) = folder.glob("artifacts/*/product.safetensors")
    return result


def test_a_changed_teacher_is_told_and_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = tmp_path / "h.duckdb"

    def run(arm: str) -> int:
        return run_main(
            [
                "run",
                "nkd",
                "--scale",
                "smoke",
                "--benchmark",
                BENCHMARK,
                "--arm",
                arm,
                "--executor",
                "inline",
                "--no-report",
                "--no-tuned",
                "--quiet",
                "--db",
                str(database),
            ]
        )

    def done() -> int:
        with open_reader(database) as reader:
            return int(reader.query("SELECT count(*) FROM trials WHERE status = 'done'").rows[0][0])

    assert run("kd") == 0
    before = done()
    product = teacher_of(tmp_path)
    with safe_open(str(product), "pt") as file:
        noted, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    product.unlink()  # it is read-only
    save_file({**tensors, name: tensors[name] * 1.5}, str(product), metadata=noted)  # a sound file of other weights

    assert run("nkd") == 1
    assert ".safetensors is damaged (its checksum does not fit)" in capsys.readouterr().err
    assert done() == before
    assert run("nkd") == 0
    with safe_open(str(teacher_of(tmp_path)), "pt") as file:
        assert all((file.get_tensor(name) == tensor).all() for name, tensor in tensors.items())
