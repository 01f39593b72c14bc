"""Episodes: a suite on a database of its own, started again and again until it is complete, whatever befalls it."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

from soak_blows import BLOWS, INLINE, strike
from soak_runs import ROUND_SECONDS, Started, Work, assert_nothing_is_lost, assert_whole, finished, started
from soak_weathers import WEATHERS, Weather

Tell = Callable[[str], None]
MOST_ATTEMPTS = 200
UNKIND = re.compile(r"^internal error|^Traceback", re.MULTILINE)
"""What no user should see, whatever happens."""


class Episode:
    """One of them; ``struck`` counts blows over all, of which there are no more than ``most``."""

    def __init__(
        self,
        work: Work,
        weather: Weather,
        executor: str,
        database: Path,
        struck: Counter[str],
        most: int,
        pauses: tuple[float, ...] = (),
    ) -> None:
        self.work, self.weather, self.executor, self.database = work, weather, executor, database
        self.struck, self.most, self.pauses = struck, most, pauses
        self.chance = weather.chance

    def run(self, tell: Tell) -> None:
        """Until the suite is complete.

        Raises:
            AssertionError: something was lost, ran twice, came out otherwise, or was told badly.
        """
        for _ in range(MOST_ATTEMPTS):
            code = self._attempt(tell)
            if code == 0:
                assert_whole(self.work, self.database)
                return
        raise AssertionError("the suite never came to its end")

    def _attempt(self, tell: Tell) -> int:
        before = finished(self.database)
        if self.struck.total() < self.most:
            self.weather.before(self.database)
        process = started(self.work, self.database, self.executor, self.weather.environment)
        try:
            if self.struck.total() < self.most:
                self._wait_for_the_first(process, before)
            while self.struck.total() < self.most and process.poll() is None:
                self._blow(process)
                self._wait(process, self.chance.uniform(0.1, 2.0))
            self.weather.clear()
            code = process.wait(timeout=ROUND_SECONDS)
        finally:
            process.end()
            self.weather.clear()
        said = process.said()
        assert not UNKIND.search(said), said
        assert code <= 0 or said.strip(), f"it ended with {code} and no word"
        after = assert_nothing_is_lost(self.database, before)
        last = f": {said.strip().splitlines()[-1][:200]}" if code > 0 else ""
        tell(f"{self.weather.name}, {self.executor}: {len(after)} finished, exit {code}{last}")
        return code

    def _wait_for_the_first(self, process: Started, before: Counter[str]) -> None:
        """A third of the first blows come while Python and Ray start, the others after another trial has finished."""
        if self.chance.random() < 0.33:
            self._wait(process, self.chance.uniform(0.2, 10.0))
            return
        until = time.monotonic() + ROUND_SECONDS
        while process.poll() is None and finished(self.database) == before and time.monotonic() < until:
            time.sleep(0.2)
        self._wait(process, self.chance.uniform(0, 4))

    def _wait(self, process: Started, seconds: float) -> None:
        until = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)

    def _blow(self, process: Started) -> None:
        if type(self.weather) is not Weather and self.chance.random() < 0.5:
            self.struck[self.weather.name] += self.weather.strike(process)
            return
        blow = self.chance.choice(BLOWS if self.executor == "ray" else INLINE)
        pause = None
        if blow == "stopped" and self.pauses and self.chance.random() < 0.1:
            pause = self.chance.choice(self.pauses)
            blow = "stopped for a minute"
        self.struck[blow] += strike(process, "stopped" if pause else blow, self.chance, pause)


def possible() -> list[type[Weather]]:
    return [weather for weather in WEATHERS if weather.is_possible()]


def soak(
    works: list[Work],
    folder: Path,
    most: int,
    seed: int,
    tell: Tell,
    weathers: list[type[Weather]] | None = None,
    pauses: tuple[float, ...] = (),
) -> Counter[str]:
    """Episodes in turn over works, weathers and executors, until there were ``most`` blows; how many of which."""
    chance, struck = random.Random(seed), Counter[str]()
    for number, (work, weather_kind) in enumerate(_turns(works, weathers or possible())):
        if struck.total() >= most:
            break
        executor = "inline" if number % 3 == 2 else "ray"
        place = folder / f"episode-{number}"
        with weather_kind(place, chance) as weather:
            Episode(work, weather, executor, place / "soak.duckdb", struck, most, pauses).run(tell)
        tell(f"{number + 1} episodes, {struck.total()} blows: {dict(struck)}")
    return struck


def _turns(works: list[Work], weathers: list[type[Weather]]) -> Iterator[tuple[Work, type[Weather]]]:
    """Every weather in turn, each time it comes with another work."""
    round_ = 0
    for place, weather in enumerate(cycle(weathers)):
        round_ = place // len(weathers)
        yield works[(place + round_) % len(works)], weather
