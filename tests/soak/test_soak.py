"""Runs killed at random moments in all weathers, of which nothing may be lost: a few blows in the gate, hundreds with
``--slow``.

    HARNESS_SOAK_KILLS=300 pytest tests/soak -m slow -s                    # in all weathers
    HARNESS_SOAK_KILLS=50 HARNESS_SOAK_WEATHER="full disk" pytest tests/soak -m slow -s

After each blow every finished trial must still be in the journal, once, and the database must open and have it; what
the command says must be no traceback; in the end the numbers are those of an undisturbed run, to the last bit.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from soak_episodes import possible, soak
from soak_runs import real, synthetic, undisturbed
from soak_weathers import WEATHERS, Weather

MINUTE = 60.0


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_few_blows_lose_nothing(tmp_path: Path, tiny_text: str) -> None:
    work = undisturbed(synthetic(tmp_path, tiny_text, seeds=8), tmp_path)
    assert soak([work], tmp_path, 6, 5, lambda text: None, [Weather]).total() == 6


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(6 * 3600)
def test_hundreds_of_blows_lose_nothing(tmp_path: Path, tiny_text: str) -> None:
    blows, seed = int(os.environ.get("HARNESS_SOAK_KILLS", "300")), int(os.environ.get("HARNESS_SOAK_SEED", "7"))
    wanted = os.environ.get("HARNESS_SOAK_WEATHER")
    weathers = [weather for weather in possible() if wanted in (None, weather.name)]
    assert weathers, f"no such weather here: {wanted}; there are {[weather.name for weather in WEATHERS]}"
    others = tmp_path / "real"
    others.mkdir()
    works = [undisturbed(synthetic(tmp_path, tiny_text), tmp_path), undisturbed(real(others), others)]
    struck = soak(works, tmp_path, blows, seed, lambda text: print(text, flush=True), weathers, pauses=(MINUTE,))
    assert struck.total() >= blows
