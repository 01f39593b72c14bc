"""Checkpoints and trained weights: damage is noticed, and kills change no number."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from harness.errors import MissingDataError
from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite
from harness.trial import saved


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.999])
def test_a_flipped_byte_of_a_checkpoint_is_noticed(tmp_path: Path, share: float) -> None:
    saved.save_checkpoint(tmp_path, {"step": 3, "model": {"w": torch.arange(4096.0)}})
    assert saved.load_checkpoint(tmp_path) is not None
    content = bytearray((tmp_path / saved.CHECKPOINT).read_bytes())
    content[int(share * len(content))] ^= 8
    (tmp_path / saved.CHECKPOINT).write_bytes(content)
    assert saved.load_checkpoint(tmp_path) is None
    assert not (tmp_path / saved.CHECKPOINT).exists()  # the trial begins again at once, not on every run


def test_a_flipped_byte_of_a_product_is_noticed(tmp_path: Path) -> None:
    tensors = {"w": torch.arange(512.0), "count": torch.tensor(3), "half": torch.ones(3, dtype=torch.bfloat16)}
    saved.save_trained_weights(tmp_path, tensors)
    whole = (tmp_path / saved.PRODUCT).read_bytes()
    loaded = saved.load_trained_weights(tmp_path)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    for share in (0.0, 0.02, 0.1, 0.5, 0.999):
        content = bytearray(whole)
        content[int(share * len(content))] ^= 8
        (tmp_path / saved.PRODUCT).write_bytes(content)
        with pytest.raises(MissingDataError, match=r"is damaged .*run again"):
            saved.load_trained_weights(tmp_path)
        assert not saved.has_trained_weights(tmp_path)


TRAIN = """
import sys, json, torch
from pathlib import Path
from harness.trial.loop import train
from harness.trial.runtime import Runtime
from harness import registry
from harness.data.roots import data_root
from harness.trial.spec import TrialSpec
spec = TrialSpec.from_json(json.loads(Path(sys.argv[1]).read_text()))
around = Runtime(Path(sys.argv[2]), torch.device("cpu"), registry.load, data_root(), checkpoint_seconds=0.05)
done = train(spec, around)
print(json.dumps([done.results, sorted((s.split, s.name, s.value) for s in done.series)]))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_kills_at_random_steps(tmp_path: Path) -> None:
    import json

    spec = tmp_path / "spec.json"
    chosen = Selection(benchmarks=("imagenet-resnet18",), arms=("adamp",), seeds=(0,), overrides={"steps": 300})
    spec.write_text(json.dumps(make_plan(load_suite("adamp"), chosen).trials[-1].spec.to_json()))

    def start(folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", TRAIN, str(spec), str(folder)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ}
        )

    began = time.monotonic()
    whole = start(tmp_path / "whole").communicate()[0]
    length = time.monotonic() - began
    chance = random.Random(5)
    for _ in range(10):
        process = start(tmp_path / "cut")
        time.sleep(chance.uniform(0.4, 0.9) * length)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(tmp_path / "cut").communicate()[0] == whole
    assert whole
