"""One site of a small store for tests that only read it; a browser."""

from collections.abc import Iterator
from typing import Any

import pytest
from browser_support import chromium
from report_support import Written, fill, plans, write_suite

from reports.site import write_site


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Two scales of a suite with hostile names and claims."""
    root = tmp_path_factory.mktemp("report")
    reported = plans(write_suite(root))
    database = root / "harness.duckdb"
    fill(database, reported)
    folder = write_site(database, reported, root / "site", trial_pages=True).parent
    single = write_site(database, reported, root / "single", single_file=True)
    return Written(database, reported, folder, single)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened
