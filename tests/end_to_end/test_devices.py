"""A trial on two devices through Ray Train, here two CPU processes: the numbers are those of one device."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from harness.store import open_reader

SUITE = """
suite: devices
title: One language model on one and on two devices
arms:
  one: {role: baseline, optimizer: {name: adam, lr: 3e-3}, norm: layer}
  two: {role: ablation, optimizer: {name: adam, lr: 3e-3}, norm: layer, set: {devices: 2}}
benchmarks:
  text:
    define:
      benchmark: text
      title: Help topics
      task: language-modelling
      metrics: {perplexity: {unit: perplexity, better: lower}}
      mini:
        data: {name: help-topics, min_count: 10}
        model: {name: transformer-lm, layers: 1, width: 32, heads: 2, inner: 32, dropout: 0.0}
        recipe: {steps: 6, batch_size: 8, length: 16, eval_length: 64, evaluations: 1, clip_norm: 1.0}
"""


@pytest.mark.ray
@pytest.mark.timeout(280)
def test_two_devices_train_as_one(
    tmp_path: Path, database: Path, harness: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    suite = tmp_path / "devices.yaml"
    suite.write_text(dedent(SUITE).lstrip())
    done = harness("run", suite, "--seeds", "1", "--no-report", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["runs"][0]["counts"] == {"done": 2}
    with open_reader(database) as reader:
        trials = reader.query("SELECT arm, trial_id, attempts, peak_memory_mb FROM trials WHERE status = 'done'").rows
        results = reader.query("SELECT trial_id, split, metric, value FROM results").rows
        losses = reader.query("SELECT trial_id, step, value FROM metrics WHERE name = 'loss' AND split = 'train'").rows
    ids = {arm: trial for arm, trial, _, _ in trials}
    assert set(ids) == {"one", "two"}
    assert all(attempts == 1 for _, _, attempts, _ in trials)
    one, two = ({row[1:-1]: row[-1] for row in results if row[0] == ids[arm]} for arm in ("one", "two"))
    assert set(one) == set(two) >= {("test", "perplexity"), ("train", "mechanism.validation_perplexity")}
    for name in (("test", "perplexity"), ("validation", "perplexity")):
        assert two[name] == pytest.approx(one[name], rel=1e-4)
    each = [{step: value for trial, step, value in losses if trial == ids[arm]} for arm in ("one", "two")]
    assert len(each[0]) == 6
    assert each[1] == pytest.approx(each[0], rel=1e-4)
    assert each[0][1] - each[0][6] > 1e-3, "nothing was learnt, so equality says nothing"
