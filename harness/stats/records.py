"""Results of the tests, and rules for missing, infinite and equal values.

The same rules hold in every function of `harness.stats` unless its docstring says otherwise:

- A NaN is a pair with a missing side. It is dropped and counted (`dropped`); `n` counts the remaining pairs.
- An infinite difference (a diverged arm) has neither mean nor variance. Functions built on moments keep the
  infinite estimate, return the whole line as interval and p = 1; `sign_flip_p` can use it.
- n = 0 gives estimate NaN, n = 1 the value itself; both give the whole line and p = 1.
- *Rounded scores* come in steps, so that a few of their differences are equal by chance. `Noise.least_sd` is the
  sd that rounding alone gives a difference (`harness.stats.paired.least_sd_of`); a smaller sample sd counts as that.
- *Equal differences*, meaning a spread within 1e-9 of the largest magnitude, give the t statistic no scale. Without
  `least_sd` they are treated as the limit of ever smaller spreads: the interval is the single value, and p that of a
  spread of 1e-9 (1 when all are zero), so that (2, 2, 2) gives the result of (2, 2, 2 and a bit). The sequential test
  needs no rule for them: its evidence has a finite limit, (1+ng)^((n-1)/2).
- alpha outside (0, 1) is a ValueError, as is anything but one dimension where one is expected.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Relation = Literal["equal", "below", "above"]

EQUAL_RTOL = 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its interval from `n` values; `dropped` NaN were left out."""

    estimate: float
    low: float
    high: float
    n: int
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Inference:
    """An estimate, its interval and the p value of a test."""

    estimate: float
    low: float
    high: float
    p: float
    n: int
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class TwoWayInference:
    """A mean over `n` seeds × `items` items, with both sds."""

    estimate: float
    low: float
    high: float
    p: float
    n: int
    items: int
    seed_sd: float
    item_sd: float
    dropped: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class BudgetBand:
    """A tuning curve from `n` configurations, as arrays of equal length."""

    budgets: NDArray[np.int64]
    estimate: Floats
    low: Floats
    high: Floats
    n: int
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Noise:
    """Properties of the differences' noise that their sample sd does not show.

    Attributes:
        least_sd: sd that rounding alone gives a difference; a smaller sample sd counts as that.
        resampled: n_test/n_train of pairs that split one data set, 0 for independent pairs.
    """

    least_sd: float = 0.0
    resampled: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.resampled < math.inf:
            raise ValueError(f"resampled: {self.resampled!r} is not a finite ratio of at least 0")


INDEPENDENT = Noise()
"""Independent pairs of unrounded scores."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and sample sd (ddof = 1) of values without NaN.

    ``resampled`` is n_test/n_train where all values come from splits of one data set, else 0: such values share
    training items, and the variance of their mean is sd²·(1/n + n_test/n_train) (Nadeau and Bengio 2003).
    """

    values: Floats
    mean: float
    sd: float
    dropped: int
    resampled: float = 0.0

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def standard_error(self) -> float:
        """sd·√(1/n + resampled), NaN below two values."""
        return self.sd / self.root if self.n >= 2 else math.nan

    @property
    def root(self) -> float:
        """Root of the number of independent values: √n unless resampled."""
        return math.sqrt(self.n / (1.0 + self.n * self.resampled))

    @property
    def usable(self) -> bool:
        """True if a variance can be estimated: two or more finite values."""
        return self.n >= 2 and math.isfinite(self.mean) and math.isfinite(self.sd)

    def inference(self, low: float = -math.inf, high: float = math.inf, p: float = 1.0) -> Inference:
        """The mean with an interval and a p value; by default the whole line and 1."""
        return Inference(self.mean, low, high, p, self.n, self.dropped)


def as_values(values: ArrayLike, name: str = "differences") -> Floats:
    """A one-dimensional float array. Raises ValueError for any other shape."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got shape {array.shape}")
    return array


def check_alpha(alpha: float, name: str = "alpha") -> None:
    """Raise ValueError unless 0 < alpha < 1."""
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"{name}: {alpha!r} is not between 0 and 1 (both excluded)")


def moments(values: ArrayLike, name: str = "differences", *, noise: Noise = INDEPENDENT) -> Moments:
    """Mean and sd by the module's rules; scaled by a power of two, so that squares never overflow."""
    array = as_values(values, name)
    kept = array[~np.isnan(array)]
    dropped = len(array) - len(kept)
    if len(kept) == 0:
        return Moments(kept, math.nan, math.nan, dropped)
    if not np.isfinite(kept).all():
        with np.errstate(invalid="ignore"):
            return Moments(kept, float(np.sum(kept[np.isinf(kept)])), math.nan, dropped)
    exponent = math.frexp(float(np.max(np.abs(kept))))[1]
    unit = np.ldexp(kept, -exponent)
    mean = float(unit.mean())
    if float(np.ptp(unit)) <= EQUAL_RTOL * float(np.max(np.abs(unit))):
        sd = 0.0 if len(kept) > 1 else math.nan
    else:
        sd = float(np.sqrt(np.sum((unit - mean) ** 2) / (len(unit) - 1)))
    sd = max(math.ldexp(sd, exponent), noise.least_sd)  # a NaN, of one value, stays
    return Moments(kept, math.ldexp(mean, exponent), sd, dropped, noise.resampled)


def as_probabilities(p: ArrayLike, name: str = "p") -> Floats:
    """One-dimensional p values in [0, 1], NaN allowed. Raises ValueError for anything outside."""
    array = as_values(p, name)
    wrong = (array < 0.0) | (array > 1.0)
    if wrong.any():
        raise ValueError(f"{name}: {array[wrong][0]!r} is not a probability; valid: 0 to 1, or NaN for no test")
    return array


def paired_arrays(first: Sequence[float] | ArrayLike, second: Sequence[float] | ArrayLike) -> tuple[Floats, Floats]:
    """Two float arrays of one length. Raises ValueError when the lengths differ."""
    a, b = as_values(first, "first"), as_values(second, "second")
    if a.shape != b.shape:
        raise ValueError(f"paired values: {len(a)} on one side and {len(b)} on the other; one entry a seed on both")
    return a, b


def relation_holds(ours: float, theirs: float, tolerance: float, relation: str = "equal") -> bool:
    """True if "equal" within the tolerance, "below" or "above" beyond it; never where a side is not finite."""
    if not (math.isfinite(ours) and math.isfinite(theirs)):
        return False
    distance = ours - theirs
    if relation == "equal":
        return abs(distance) <= tolerance
    return distance < -tolerance if relation == "below" else distance > tolerance
