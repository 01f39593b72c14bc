"""Write the store of this version for the tests of later ones: python tests/stores/make.py VERSION, once a release."""

import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.store import open_reader

SUITE = """
suite: tiny
title: A suite whose truth is known
seeds: {min: 3, max: 12}
arms:
  base: {role: baseline, optimizer: {name: sgd, lr: 0.1}, set: {noise_key: base}}
  better: {role: method, optimizer: {name: sgd, lr: 0.1}, set: {noise_key: better, effect: 3.0}}
benchmarks:
  known:
    define:
      benchmark: known
      title: Known truth
      task: synthetic
      metrics: {score: {unit: points, better: higher}}
      mini:
        data: {name: nothing}
        model: {name: scalar}
        recipe: {steps: 20, own_sd: 0.3}
facts:
  - {id: tiny-better, suite: tiny, benchmark: known, metric: score, unit: points, better: higher, method: better,
     baseline: base, published: {method: 53, baseline: 50, difference: 3}, kind: difference, statement: it is better.}
claims: [{id: tiny-better, benchmarks: [known], arm: better, against: [base], primary: true}]
"""
SQL = "SELECT trial_id, split, metric, value FROM results ORDER BY ALL"
WORDS = "SELECT claim_id, verdict, n FROM verdicts ORDER BY ALL"

target = Path(__file__).parent / sys.argv[1]
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    (folder / "tiny.yaml").write_text(SUITE)
    database = folder / "h.duckdb"
    run = [
        sys.executable,
        "-m",
        "harness",
        "run",
        "tiny.yaml",
        "--executor",
        "inline",
        "--no-report",
        "--quiet",
        "--db",
    ]
    subprocess.run([*run, str(database)], cwd=folder, check=True)
    target.mkdir()
    with open_reader(database) as reader:
        answers = {"results": reader.query(SQL).rows, "verdicts": reader.query(WORDS).rows}
    (target / "expected.json").write_text(json.dumps(answers, indent=1, default=str) + "\n")
    (target / "h.duckdb.gz").write_bytes(gzip.compress(database.read_bytes(), 9, mtime=0))
    shutil.copytree(database.with_name("h.duckdb.journal"), target / "journal")
