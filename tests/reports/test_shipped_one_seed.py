"""The shipped suites' pages where no interval exists yet: a first look with `--seeds 1`, and smoke."""

from __future__ import annotations

import re
from pathlib import Path

from html_support import Parsed
from shipped_support import SUITES, write_shipped


def test_pages_of_the_five_suites_are_written_from_one_seed(tmp_path: Path) -> None:
    folder = write_shipped(tmp_path, seeds=(0,))
    for suite, scales in SUITES.items():
        for scale, _ in scales:
            text = Parsed(folder / "suites" / suite / scale / "index.html").text
            assert "direction confirmed" not in text
            assert not re.search(r"(?<![\w-])nan\b", text)
