"""Fixtures of the store's tests."""

from pathlib import Path

import pytest

from harness.store import StorePaths


@pytest.fixture
def paths(tmp_path: Path) -> StorePaths:
    return StorePaths.of(tmp_path / "h.duckdb")
