"""Simulate the null table of the bounded mixture test.

``python -m harness.stats.capped_table`` writes ``capped_table.json``. E depends on the differences only through their
t statistics, whose law under the null does not depend on mean and sd: the script simulates standard normal paths and,
for every maximum number of seeds, counts how often the largest E from the third difference on exceeds each point of a
grid. The file stores the counts; the standard error of a p read from them is
√(p(1 − p)/paths): 0.0002 at p = .05 and 0.0001 at .01.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.stats.sequential import DEFAULT_G, log_e_of_moments

TABLE = Path(__file__).with_name("capped_table.json")
PATHS, SEED, BATCH = 1_000_000, 20_260_301, 200_000
FIRST_LOOK, LARGEST_CAP = 3, 20
CAPS = range(FIRST_LOOK, LARGEST_CAP + 1)
START, STEP, POINTS = -0.5, 0.025, 401
"""The grid of log E: from below its minimum at three differences to 9.5."""


def exceeded(paths: int, seed: int, g: float = DEFAULT_G, batch: int = BATCH) -> NDArray[np.int64]:
    """Count null paths that reach each grid point, as maxima × points."""
    counts = np.zeros((len(CAPS), POINTS), dtype=np.int64)
    for number in range(0, paths, batch):
        rng = np.random.default_rng([seed, number // batch])
        rows = min(batch, paths - number)
        mean, squares, largest = np.zeros(rows), np.zeros(rows), np.full(rows, -np.inf)
        for n in range(1, LARGEST_CAP + 1):
            step = rng.standard_normal(rows) - mean
            mean += step / n
            squares += step * step * (1 - 1 / n)
            if n >= FIRST_LOOK:
                np.maximum(largest, log_e_of_moments(n, mean, squares, g), out=largest)
                reached = np.floor((largest - START) / STEP).astype(np.int64).clip(0, POINTS - 1)
                tally = np.bincount(reached, minlength=POINTS)
                counts[n - FIRST_LOOK] += tally[::-1].cumsum()[::-1]
    return counts


def main() -> None:
    """Simulate and write the table."""
    counts = exceeded(PATHS, SEED)
    rows = ",\n  ".join(f'"{cap}": {json.dumps(row.tolist())}' for cap, row in zip(CAPS, counts, strict=True))
    head = {"g": DEFAULT_G, "first_look": FIRST_LOOK, "paths": PATHS, "seed": SEED, "start": START, "step": STEP}
    TABLE.write_text(f'{json.dumps(head)[:-1]},\n "counts": {{\n  {rows}\n}}}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
