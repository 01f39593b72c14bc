"""One site of a small store, written once for the tests that only read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from report_support import fill, plans, write_suite

from harness.results.reporting import Reported
from reports.site import write_site


@dataclass(frozen=True)
class Written:
    """A store and its site in both forms."""

    database: Path
    reported: Sequence[Reported]
    folder: Path
    single: Path

    def pages(self) -> list[Path]:
        """Every page of the folder."""
        return sorted(self.folder.rglob("*.html"))


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Two scales of a suite with hostile names, a diverged trial and every kind of claim."""
    root = tmp_path_factory.mktemp("report")
    reported = plans(write_suite(root))
    database = root / "harness.duckdb"
    fill(database, reported)
    folder = write_site(database, reported, root / "site", trial_pages=True).parent
    single = write_site(database, reported, root / "single", single_file=True)
    return Written(database, reported, folder, single)
