"""Several processes of one trial: who has which rows, what is refused, and memory that stays with its lanes."""

import math
import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.trial.data_parallel import Replicas, rows_of
from harness.trial.saved import load_checkpoint
from harness.trial.spec import TrialSpec


@dataclass(frozen=True)
class Pairs:
    left: Tensor
    right: Tensor
    shared: Tensor
    place: int


def test_rows_are_cut_where_a_field_has_one_an_item_and_uneven_shares_are_refused() -> None:
    batch = Pairs(torch.arange(6), torch.arange(12).view(6, 2), torch.arange(3), 7)
    parts = [rows_of(batch, 6, Replicas(rank, 3).rows(6)) for rank in range(3)]
    assert torch.cat([part.left for part in parts]).tolist() == list(range(6))
    assert [part.right.tolist() for part in parts] == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9], [10, 11]]]
    assert all(part.shared.tolist() == [0, 1, 2] and part.place == 7 for part in parts)
    with pytest.raises(HarnessError, match="a batch of 7 cannot be shared out evenly"):
        Replicas(0, 2).rows(7)


def test_one_process_changes_nothing() -> None:
    alone = Replicas()
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, 3.0])
    alone.average([weight])
    assert weight.grad.tolist() == [1.0, 3.0]
    assert alone.mean(2.5, torch.device("cpu")) == 2.5
    assert math.isnan(alone.mean(math.nan, torch.device("cpu")))


def _spec(devices: int) -> TrialSpec:
    """A Transformer-XL with a memory longer than its window."""
    from harness import registry
    from harness.suite.values import defaults
    from harness.trial.recipe import COMMON_KEYS

    def part(kind: Any, name: str, **keys: Any) -> dict[str, Any]:
        return {"name": name, **defaults(registry.entry(kind, name).options), **keys}

    recipe = {**defaults(COMMON_KEYS), **defaults(registry.entry("task", "language-modelling").options)}
    return TrialSpec.from_json(
        {
            "task": "language-modelling",
            "data": part("data", "help-topics", min_count=10),
            "model": part(
                "model",
                "transformer-xl",
                layers=1,
                width=32,
                heads=2,
                head_width=16,
                inner=32,
                memory=16,
                eval_memory=16,
                dropout=0.0,
                deviation=0.1,
            ),
            "recipe": {
                **recipe,
                "steps": 6,
                "batch_size": 4,
                "length": 8,
                "eval_length": 64,
                "evaluations": 1,
                "diagnostics": "off",
                "devices": devices,
            },
            "slots": {"optimizer": part("method", "adam", lr=3e-3)},
            "seed": 0,
            "scale": "mini",
            "prerequisites": {},
        }
    )


def _train(rank: int, count: int, folder: str, killed_at: int | None = None) -> None:
    """One process of a trial that keeps a checkpoint after every step; the first one may be killed at a step."""
    from harness import registry
    from harness.data.roots import data_root
    from harness.trial.loop import Loop, train
    from harness.trial.runtime import Runtime

    torch.set_num_threads(1)
    if count > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=count)
    if rank == 0 and killed_at is not None:
        Loop._beat = _dies_at(killed_at)  # type: ignore[method-assign]

    def beat(step: int, steps: int, loss: float) -> None:
        return

    around = Runtime(Path(folder), torch.device("cpu"), registry.load, data_root(), beat, checkpoint_seconds=0.0)
    outcome = train(_spec(count), around)
    if rank == 0:
        loss = next(item for item in outcome.series if (item.split, item.name) == ("train", "loss"))
        torch.save(
            {"loss": loss.value, "results": [tuple(score) for score in outcome.results]}, Path(folder) / "outcome.pt"
        )
    else:
        assert outcome.results == []


def _train_on_two(folder: Path, killed_at: int | None = None) -> None:
    """The trial in two processes, which begin with the libraries imported."""
    multiprocessing.set_forkserver_preload(["torch._dynamo", "harness.trial.loop"])
    torch.multiprocessing.start_processes(_train, (2, str(folder), killed_at), nprocs=2, start_method="forkserver")


def _dies_at(killed_at: int) -> Any:
    def beat(loop: Any, step: int, loss: Tensor) -> None:
        if step == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return beat


@pytest.mark.full
@pytest.mark.timeout(280)
def test_two_processes_go_on_from_their_checkpoint_to_the_last_bit(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    _train_on_two(whole)
    with pytest.raises(torch.multiprocessing.ProcessExitedException, match="SIGKILL"):
        _train_on_two(cut, killed_at=3)
    assert load_checkpoint(cut)["step"] == 3
    (cut / "meet").unlink(missing_ok=True)
    _train_on_two(cut)
    undisturbed, resumed = (torch.load(folder / "outcome.pt") for folder in (whole, cut))
    assert resumed == undisturbed
    assert load_checkpoint(cut) is None


@pytest.mark.timeout(280)
def test_lanes_keep_their_memory_on_two_processes(tmp_path: Path) -> None:
    item, two = tmp_path / "one", tmp_path / "two"
    for folder in (item, two):
        folder.mkdir()
    _train(0, 1, str(item))
    _train_on_two(two)
    alone, spread = (torch.load(folder / "outcome.pt") for folder in (item, two))
    assert spread["loss"] == pytest.approx(alone["loss"], rel=1e-4)
    scores = [{(split, name): value for split, name, value in item["results"]} for item in (alone, spread)]
    assert scores[1]["test", "perplexity"] == pytest.approx(scores[0]["test", "perplexity"], rel=1e-4)


def test_a_trial_on_two_devices_is_refused_where_nobody_starts_the_second(tmp_path: Path) -> None:
    from harness import registry
    from harness.data.roots import data_root
    from harness.trial.loop import train
    from harness.trial.runtime import Runtime

    around = Runtime(tmp_path, torch.device("cpu"), registry.load, data_root(), lambda step, steps, loss: None)
    with pytest.raises(HarnessError, match="--executor ray"):
        train(_spec(2), around)
