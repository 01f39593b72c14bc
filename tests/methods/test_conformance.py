"""The conformance runner: reference vectors pass, malformed ones miss."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from methods import conformance
from methods.comparison import Comparison
from methods.conformance import VectorCheck, check

OPEN = Path(__file__).parents[1] / "vectors"
INDEX = json.loads((OPEN / "index.json").read_text())


def write(directory: Path, cases: dict[str, tuple[dict[str, Any], dict[str, np.ndarray]]]) -> Path:
    for name, (_, arrays) in cases.items():
        np.savez(directory / f"{name}.npz", **arrays)
    (directory / "index.json").write_text(json.dumps({name: case for name, (case, _) in cases.items()}))
    return directory


def by_name(lines: list[VectorCheck]) -> dict[str, VectorCheck]:
    return {line.name: line for line in lines}


def trajectory(
    kind: str, options: dict[str, Any], seed: int, steps: int = 12
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A case computed by the authors' package, on which each view fires."""
    package = pytest.importorskip("adamp")
    generator = torch.Generator().manual_seed(seed)
    shapes = {"conv": (7, 3, 3, 3), "linear": (11, 13), "embed": (9, 6), "bias": (7,), "gain": (5,), "row": (1, 17)}
    weights = {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}
    build = package.AdamP if kind == "adamp" else package.SGDP
    optimizer = build(list(weights.values()), **options)
    arrays = {f"init.{name}": w.detach().numpy().copy() for name, w in weights.items()}
    for t in range(1, steps + 1):
        for name, w in weights.items():
            g = torch.randn(w.shape, generator=generator)
            if name in ("conv", "linear"):
                rows = (w.shape[0] if name == "conv" else 1, -1)
                a, b = w.detach().reshape(rows), g.reshape(rows)
                g = (b - a * ((a * b).sum(1) / (a * a).sum(1))[:, None]).reshape(w.shape)
            w.grad = g
            arrays[f"grad.{t}.{name}"] = g.numpy().copy()
        optimizer.step()
        arrays |= {f"param.{t}.{name}": w.detach().numpy().copy() for name, w in weights.items()}
    return {"kind": "optimizer", "hp": options, "steps": steps}, arrays


def test_every_open_vector_passes_in_the_order_of_the_index_and_every_kind_has_one() -> None:
    lines = check(OPEN)
    assert [line.name for line in lines] == list(INDEX)
    assert not [line for line in lines if not line.passed]
    routes, unread = conformance._routes()
    assert not unread
    assert {prefix for prefix in routes if any(conformance._starts(name, prefix) for name in INDEX)} == set(routes)


@pytest.mark.parametrize("name", [name for name in INDEX if name.startswith(("powernorm", "rn_", "nkd", "mkmmd"))])
def test_every_output_of_a_vector_is_compared_and_a_damaged_one_missed(name: str) -> None:
    compare = next(of for prefix, of in conformance._routes()[0].items() if conformance._starts(name, prefix))
    arrays = conformance._read_arrays(OPEN, name)
    outputs = {key for key in arrays if key.startswith(("out", "loss", "grad_", "running_phi", "ema_gz", "eval_out"))}
    outputs -= {key for key in outputs if key.startswith("grad_out")}
    assert {compared.label for compared in compare(name, INDEX[name], arrays)} == outputs
    damaged = next(iter(sorted(outputs)))
    arrays[damaged] = arrays[damaged] * 1.001 + 1e-4
    assert not all(compared.passed for compared in compare(name, INDEX[name], arrays))


@pytest.mark.parametrize("seed", [11, 12])
def test_held_out_trajectories_of_the_package_pass(tmp_path: Path, seed: int) -> None:
    adam: dict[str, Any] = {"lr": 3e-3, "betas": [0.8, 0.98], "weight_decay": 0.05, "delta": 0.15, "wd_ratio": 0.3}
    sgd: dict[str, Any] = {"lr": 0.02, "momentum": 0.7, "dampening": 0.2, "weight_decay": 2e-3, "delta": 0.1}
    cases = {
        f"{kind}_heldout_{int(nesterov)}": trajectory(kind, {**options, "nesterov": nesterov}, seed)
        for kind, options in (("adamp", adam), ("sgdp", sgd))
        for nesterov in (False, True)
    }
    for line in check(write(tmp_path, cases)):
        assert line.passed, line


def test_a_wrong_trajectory_misses(tmp_path: Path) -> None:
    case, arrays = trajectory("adamp", {"lr": 1e-2}, seed=3)
    arrays["param.7.conv"] = arrays["param.7.conv"] * 1.01
    (line,) = check(write(tmp_path, {"adamp_wrong": (case, arrays)}))
    assert not line.passed
    assert line.largest_error > 1e-3
    assert "param.7.conv" in line.detail


@pytest.mark.parametrize("changed", [{"delta": 0.0}, {"wd_ratio": 1.0}, {"weight_decay": 0.0}, {"nesterov": True}])
def test_other_hyper_parameters_miss(tmp_path: Path, changed: dict[str, Any]) -> None:
    """Each option is visible in the vectors: a method that ignored it would be found out."""
    case, arrays = trajectory("adamp", {"lr": 1e-2, "weight_decay": 0.1}, seed=4)
    case = {**case, "hp": {**case["hp"], **changed}}
    assert not check(write(tmp_path, {"adamp_x": (case, arrays)}))[0].passed


def good(tmp_path: Path) -> dict[str, tuple[dict[str, Any], dict[str, np.ndarray]]]:
    return {"sgdp_ok": trajectory("sgdp", {"lr": 0.1, "momentum": 0.9}, seed=5, steps=2)}


def test_unknown_cases_miss_and_do_not_stop_the_others(tmp_path: Path) -> None:
    cases = good(tmp_path)
    for name in ("lion_0", "adampx_0", "x"):
        cases[name] = ({"kind": "optimizer"}, {"a": np.zeros(1)})
    lines = by_name(check(write(tmp_path, cases)))
    assert lines["sgdp_ok"].passed
    for name in ("lion_0", "adampx_0", "x"):
        assert not lines[name].passed
        assert "unknown case" in lines[name].detail
        assert math.isnan(lines[name].largest_error)


def test_missing_keys_options_and_entries_miss(tmp_path: Path) -> None:
    case, arrays = good(tmp_path)["sgdp_ok"]
    without_gradient = {key: value for key, value in arrays.items() if key != "grad.2.conv"}
    lines = by_name(
        check(
            write(
                tmp_path,
                {
                    "sgdp_gradient": (case, without_gradient),
                    "sgdp_hp": ({"kind": "optimizer", "steps": 2}, arrays),
                    "sgdp_option": ({**case, "hp": {"lr": 0.1, "colour": 3}}, arrays),
                    "sgdp_value": ({**case, "hp": {"lr": -0.1}}, arrays),
                    "sgdp_entry": ([1], arrays),  # type: ignore[dict-item]
                    "sgdp_nothing": (case, {}),
                    "sgdp_no_steps": ({**case, "steps": 0}, arrays),
                },
            )
        )
    )
    words = {
        "sgdp_gradient": "grad.2.conv",
        "sgdp_hp": "hp",
        "sgdp_option": "colour",
        "sgdp_value": "lr must be",
        "sgdp_entry": "mapping",
        "sgdp_nothing": "init",
        "sgdp_no_steps": "no arrays to compare",
    }
    for name, word in words.items():
        assert not lines[name].passed
        assert word in lines[name].detail, lines[name]


def test_malformed_files_miss(tmp_path: Path) -> None:
    case, arrays = good(tmp_path)["sgdp_ok"]
    np.savez(tmp_path / "sgdp_ok.npz", **arrays)
    whole = (tmp_path / "sgdp_ok.npz").read_bytes()
    (tmp_path / "sgdp_text.npz").write_text("not an archive")
    (tmp_path / "sgdp_cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "sgdp_empty.npz").write_bytes(b"")
    flipped = bytearray(whole)
    for at in range(60, len(flipped) // 2, 97):
        flipped[at] ^= 0xFF
    (tmp_path / "sgdp_flipped.npz").write_bytes(bytes(flipped))
    np.savez(tmp_path / "sgdp_pickle.npz", **{"init.a": np.array([{}], dtype=object)})
    with (tmp_path / "sgdp_array.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    names = ("text", "cut", "empty", "flipped", "pickle", "array", "absent")
    index = {f"sgdp_{name}": case for name in names} | {"sgdp_ok": case, "../sgdp_ok": case}
    (tmp_path / "index.json").write_text(json.dumps(index))
    lines = by_name(check(tmp_path))
    assert lines["sgdp_ok"].passed
    for name, line in lines.items():
        assert line.passed == (name == "sgdp_ok"), line
        assert line.detail


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", "3", '"adamp"', "[" * 5000])
def test_bad_index_is_one_missed_line(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "index.json").write_text(text)
    (line,) = check(tmp_path)
    assert (line.name, line.passed) == ("index.json", False)
    assert "index.json" in line.detail


def test_missing_family_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(conformance, "FAMILIES", ("optimizers", "nowhere"))
    case = ({"kind": "loss"}, {"a": np.zeros(1)})
    (line,) = check(write(tmp_path, {"nkd_0": case}))
    assert "methods.nowhere.vectors" in line.detail


def test_comparison() -> None:
    item = np.ones(2, dtype=np.float32)

    def compare(got: np.ndarray, expected: np.ndarray = item) -> Comparison:
        return Comparison("x", got, expected, rtol=1e-5, atol=1e-6)

    assert compare(item).passed
    assert compare(item + np.float32(5e-6)).passed
    assert not compare(item + np.float32(5e-5)).passed
    assert not compare(np.ones(3)).passed
    assert not compare(np.ones((1, 2))).passed
    assert compare(np.ones((1, 2))).largest_error == math.inf
    assert compare(np.array([1.0, math.nan])).largest_error == math.inf
    assert not compare(np.array([1.0, math.nan])).passed
    inf = np.array([math.inf, math.nan])
    assert compare(inf, inf).passed
    assert compare(inf, inf).largest_error == 0.0
    assert compare(np.zeros(0), np.zeros(0)).passed
