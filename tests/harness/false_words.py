"""False positives of suites over many simulations."""

import tempfile
from pathlib import Path

import click
from judge_support import benchmark, binding, fact, write_suite

from harness.judge.simulating import FalseWords, SimulatedNoise, simulate_suite
from harness.plan.planning import Selection
from harness.suite import Suite

SUITES = {1: 2_000, 10: 2_000, 60: 1_000}
"""Drawn by number of claims; added seeds are judged at every look, which takes longer, and a quarter as often."""
NOISES = {
    "normal": SimulatedNoise(),
    "normal, correlated .6": SimulatedNoise(correlation=0.6),
    "t₃": SimulatedNoise("t3"),
    "binomial(100)": SimulatedNoise("binomial"),
    "skewed": SimulatedNoise("skewed"),
}
SEEDS = ("3", "6", "3..20")


def suite_of(folder: Path, claims: int, primary: int = 5, cap: int = 20) -> Suite:
    """As many claims, each about a separate benchmark; the first ones primary."""
    names = [f"x{i}" for i in range(claims)]
    where = "".join(benchmark(name, level=60 + i) for i, name in enumerate(names))
    bindings = [binding(f"c{i}", benchmarks=[name], primary=i < primary) for i, name in enumerate(names)]
    facts = [fact(f"c{i}") for i in range(claims)]
    return write_suite(folder, facts, bindings, benchmarks=where, seeds=f"{{min: 3, max: {cap}}}")


def drawn(suite: Suite, seeds: str, repeats: int, noise: SimulatedNoise) -> FalseWords:
    """The words of a design; ``seeds`` as the command line has it, ``6`` or ``3..20``."""
    fewest, _, cap = seeds.partition("..")
    chosen = Selection(seeds=tuple(range(int(fewest))), cap=int(cap) if cap else None)
    return simulate_suite(suite, chosen, noise, repeats)


def _repeats(claims: int, seeds: str, share: float) -> int:
    return max(2, round(share * SUITES[claims] / (4 if ".." in seeds else 1)))


@click.command(help=__doc__)
@click.option("--share", default=1.0, help="Of the suites, how many are drawn.")
@click.option("--claims", "sizes", type=int, multiple=True, help="Only suites of this size; 0: only power.")
def main(share: float, sizes: tuple[int, ...]) -> None:
    print("| scores | claims | seeds | suites | primary | secondary | any |\n|" + "---|" * 7)
    for claims in [size for size in SUITES if not sizes or size in sizes]:
        with tempfile.TemporaryDirectory() as folder:
            suite = suite_of(Path(folder), claims)
            for name, noise in NOISES.items():
                for seeds in SEEDS:
                    result = drawn(suite, seeds, _repeats(claims, seeds, share), noise)
                    shares = {row["family"]: f"{100 * float(row['suites']):.1f}" for row in result.rows()}
                    words = [shares.get(family, "–") for family in ("primary", "secondary", "any")]
                    print(f"| {name} | {claims} | {seeds} | {result.repeats} | {' | '.join(words)} |", flush=True)
    if not sizes or 0 in sizes:
        print_power(share)


def print_power(share: float) -> None:
    """Print the power for five true primary claims."""
    print("\n| five true primaries, Holm | seeds | found | mean seeds |\n|" + "---|" * 4)
    with tempfile.TemporaryDirectory() as folder:
        for effect, cap, seeds in ((0.75, 20, "3..20"), (0.75, 20, "20"), (1.0, 12, "3..12"), (1.0, 12, "12")):
            suite = suite_of(Path(folder), 5, cap=cap)
            result = drawn(suite, seeds, max(2, round(share * 400)), SimulatedNoise(effect=effect))
            confirmed = 100 * result.confirmed["primary"] / (5 * result.repeats)
            print(f"| d = {effect} | {seeds} | {confirmed:.1f} % | {result.mean_pairs:.1f} |", flush=True)


if __name__ == "__main__":
    main()
