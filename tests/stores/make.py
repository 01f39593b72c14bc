"""Write the store of this version for the tests of later ones: python tests/stores/make.py VERSION, once a release."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import dedent

from harness.store import open_reader

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import SYNTHETIC

SQL = "SELECT trial_id, split, metric, value FROM results ORDER BY ALL"
WORDS = "SELECT claim_id, verdict, n FROM verdicts ORDER BY ALL"

target = Path(__file__).parent / sys.argv[1]
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    (folder / "tiny.yaml").write_text(dedent(SYNTHETIC))
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
        asked = {"results": reader.query(SQL).rows, "verdicts": reader.query(WORDS).rows}
    (target / "expected.json").write_text(json.dumps(asked, indent=1, default=str) + "\n")
    (target / "h.duckdb.gz").write_bytes(gzip.compress(database.read_bytes(), 9, mtime=0))
    shutil.copytree(database.with_name("h.duckdb.journal"), target / "journal")
