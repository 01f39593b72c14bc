"""A verdict from a table: every layout and kind of file alike, and one clear message for every doubt."""

import gzip
import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

import harness
from harness.cli.group import run_main
from harness.errors import HarnessError
from harness.imports.table_verdicts import differences
from harness.stats import benjamini_hochberg, holm
from harness.vocabulary import Verdict

Rows = list[dict[str, object]]
COMPARED = ("--method", "adamp", "--against", "adam", "--metric", "accuracy")


def scores(benchmarks: int = 1, seeds: int = 6, gain: float = 1.0) -> Rows:
    """Long rows of adam, adamw and adamp; what a seed does to all is larger than the gain."""
    rng = random.Random(7)
    rows: Rows = []
    for i in range(benchmarks):
        for seed in range(seeds):
            shared = rng.gauss(0, 2)
            for name, shift in (("adam", 0.0), ("adamw", 0.1), ("adamp", gain)):
                accuracy = round(80 + shared + shift + rng.gauss(0, 0.3), 3)
                rows.append({"dataset": f"d{i}", "optimizer": name, "seed": seed, "accuracy": accuracy})
    return rows


def judged(table: object, **more: object) -> harness.imports.table_verdicts.TableVerdicts:
    options = {"method": "adamp", "against": "adam", "metric": "accuracy"} | more
    return harness.judge(table, **options)


def test_one_comparison_is_the_paired_t_test() -> None:
    rows = scores()
    (item,) = judged(pd.DataFrame(rows))
    arms = pd.DataFrame(rows).pivot(index="seed", columns="optimizer", values="accuracy")
    expected = ttest_rel(arms["adamp"], arms["adam"])
    low, high = expected.confidence_interval(0.95)
    assert (item.test, item.word, item.n) == ("adamp − adam", "direction confirmed", 6)
    assert item.difference == pytest.approx(np.mean(arms["adamp"]) - np.mean(arms["adam"]))
    assert (item.p, item.low, item.high) == pytest.approx((expected.pvalue, low, high))
    assert item.adjusted_p == item.p


def test_several_tests_share_one_correction() -> None:
    rows = scores(benchmarks=4)
    few = judged(rows, by="dataset")
    assert few.correction == "Holm over 4 tests"
    assert [item.adjusted_p for item in few] == pytest.approx(list(holm([float(item.p or 1) for item in few])))
    many = judged(rows, against=["adam", "adamw"], by="dataset")
    assert many.correction == "Benjamini–Hochberg over 8 tests"
    expected = benjamini_hochberg([float(item.p or 1) for item in many])
    assert [item.adjusted_p for item in many] == pytest.approx(list(expected))


def test_announced_tests_are_a_family_of_their_own() -> None:
    verdicts = judged(scores(benchmarks=4), against=["adam", "adamw"], by="dataset", primary="d1/adam")
    assert verdicts.correction == "announced: one test, no correction; others: Benjamini–Hochberg over 7 tests"
    announced = verdicts["d1: adamp − adam"]
    assert announced.family == "primary"
    assert announced.adjusted_p == announced.p
    with pytest.raises(HarnessError, match="at most 5 are announced"):
        judged(scores(benchmarks=4), against=["adam", "adamw"], by="dataset", primary="adamp")
    with pytest.raises(HarnessError, match="no test has it; did you mean"):
        judged(scores(benchmarks=2), by="dataset", primary="d9: adamp − adam")


def test_scopes_over_benchmarks() -> None:
    rows = scores(benchmarks=3)
    (mean,) = judged(rows, by="dataset", scope="mean")
    per_seed = pd.DataFrame(rows).pivot(index=["seed", "dataset"], columns="optimizer", values="accuracy")
    expected = (per_seed["adamp"] - per_seed["adam"]).groupby("seed").mean()
    assert mean.test == "mean over these 3 data sets: adamp − adam"
    assert (mean.n, mean.difference) == (6, pytest.approx(expected.mean()))
    (every,) = judged(rows, by="dataset", scope="all")
    each = judged(rows, by="dataset")
    assert every.p == pytest.approx(max(float(item.p or 1) for item in each))


def test_equal_arms_are_inconclusive_or_without_effect() -> None:
    (item,) = judged(scores(gain=0.0, seeds=5))
    assert item.word == "inconclusive"
    (small,) = judged(scores(gain=0.0, seeds=20), smallest=5.0)
    assert small.word == Verdict.NO_EFFECT


def test_lower_is_better_by_name_and_times_are_ratios() -> None:
    rows: Rows = [
        {"arm": arm, "seed": seed, "loss": 1 + 0.01 * seed + shift}
        for seed in range(5)
        for arm, shift in (("a", 0.0), ("b", 0.3 + 0.001 * seed))
    ]
    (item,) = harness.judge(rows, method="a", against="b", metric="loss")
    assert item.word == "direction confirmed"
    assert item.difference == pytest.approx(0.302)
    for row in rows:
        row["seconds"] = row.pop("loss")
    (time,) = harness.judge(rows, method="a", against="b", metric="seconds", unit="seconds")
    assert time.word == "direction confirmed"
    logs = np.log([float(str(r["seconds"])) for r in rows if r["arm"] == "b"]) - np.log(
        [float(str(r["seconds"])) for r in rows if r["arm"] == "a"]
    )
    assert time.difference == pytest.approx(logs.mean())


def layouts(folder: Path) -> list[Path]:
    """One table in every layout and kind of file."""
    rows = scores()
    frame = pd.DataFrame(rows)
    wide = frame.pivot(index="seed", columns="optimizer", values="accuracy").reset_index()
    tidy = frame.rename(columns={"accuracy": "value"}).assign(metric="accuracy")
    joined = wide.rename(columns={"adam": "adam_accuracy", "adamp": "adamp_accuracy"})
    frames = {
        "long.csv": frame,
        "wide.csv": wide,
        "tidy.csv": pd.concat([tidy, tidy.assign(metric="loss", value=1.0)]),
        "joined.csv": joined,
        "percent.csv": frame.assign(accuracy=[f"{value} %" for value in frame["accuracy"]]),
        "shuffled.csv": frame.sample(frac=1, random_state=3),
    }
    for name, table in frames.items():
        table.to_csv(folder / name, index=False)
    frame.to_csv(folder / "long.tsv", index=False, sep="\t")
    frame.to_csv(folder / "semicolon.csv", index=False, sep=";")
    nested = [{"config": {"optimizer": r["optimizer"]}, "seed": r["seed"], "accuracy": r["accuracy"]} for r in rows]
    (folder / "long.jsonl").write_text("\n".join(map(json.dumps, nested)) + "\n\n")
    (folder / "list.json").write_text(json.dumps(rows))
    frame.to_parquet(folder / "long.parquet")
    (folder / "long.csv.gz").write_bytes(gzip.compress((folder / "long.csv").read_bytes()))
    with duckdb.connect(str(folder / "long.duckdb")) as connection:
        connection.execute(f"CREATE TABLE results AS FROM read_csv('{folder / 'long.csv'}')")
    with sqlite3.connect(folder / "long.sqlite") as lite:
        frame.to_sql("results", lite, index=False)
    return sorted(folder.iterdir())


def test_every_layout_and_file_gives_the_same(tmp_path: Path) -> None:
    result = {}
    paths = layouts(tmp_path)
    assert len(paths) == 14
    for path in paths:
        (item,) = judged(path)
        result[path.name] = (item.word, item.n, round(item.difference or 0, 9), round(item.p or 0, 12))
    assert len(set(result.values())) == 1, result


def test_half_a_surrogate_pair_is_a_name_like_another() -> None:
    """JSON can write one; to digest the design of such arms was an internal error."""
    odd = [{**row, "optimizer": str(row["optimizer"]) + "\udcff"} for row in scores()]
    (item,) = judged(odd, method="adamp\udcff", against="adam\udcff")
    (plain,) = judged(scores())
    assert item.word == plain.word


MESSAGES: dict[str, tuple[Callable[[Rows], object], dict[str, object], str]] = {
    "an unknown arm": (lambda rows: rows, {"method": "adamq"}, "'optimizer' has no 'adamq'; did you mean 'adam"),
    "no arms at all": (lambda rows: rows, {"method": "x", "against": "y"}, "no column has the values x, y"),
    "an unknown metric": (lambda rows: rows, {"metric": "acuracy"}, "no column 'acuracy'; did you mean 'accuracy'"),
    "an unknown pair": (lambda rows: rows, {"pair": "sed"}, "no column 'sed'; did you mean 'seed'"),
    "nothing that pairs": (
        lambda rows: [{k: v for k, v in row.items() if k != "seed"} for row in rows],
        {},
        "no column pairs the results; name one with --pair",
    ),
    "two rows of one seed": (
        lambda rows: [*rows, {**rows[0], "dataset": "d9"}],
        {},
        "a second accuracy of adam for seed 0, after line 1; they differ in 'dataset': name what makes them different "
        "benchmarks with --by dataset",
    ),
    "the same row twice": (lambda rows: [*rows, rows[0]], {}, "nothing tells them apart"),
    "no common seed": (
        lambda rows: [{**row, "seed": int(str(row["seed"])) + 10 * (row["optimizer"] == "adam")} for row in rows],
        {},
        "no seed is common to adamp and adam: adamp has 0, 1, 2, 3, 4 and 1 more; adam has 10, 11",
    ),
    "text for a number": (
        lambda rows: [{**rows[0], "accuracy": "ok"}, *rows[1:]],
        {},
        r":1: 'ok' in the column 'accuracy' is not a number",
    ),
    "a decimal comma": (lambda rows: [{**rows[0], "accuracy": "80,5"}, *rows[1:]], {}, "a decimal comma"),
    "fractions and percent": (
        lambda rows: [{**rows[0], "accuracy": 0.805}, *rows[1:]],
        {},
        "accuracy is 0.805 here and .* in line .*: fractions and percent mixed",
    ),
    "percent that are fractions": (
        lambda rows: [{**row, "accuracy": float(str(row["accuracy"])) / 100} for row in rows],
        {"unit": "percent"},
        "say --unit fraction",
    ),
    "fractions that are percent": (lambda rows: rows, {"unit": "fraction"}, "say --unit percent"),
    "some percent signs": (
        lambda rows: [{**rows[0], "accuracy": "80.5%"}, *rows[1:]],
        {},
        "has a percent sign, .* has none",
    ),
    "an unknown direction": (
        lambda rows: [{**row, "zeal": row["accuracy"]} for row in rows],
        {"metric": "zeal"},
        "say --better higher",
    ),
    "an arm against itself": (lambda rows: rows, {"against": "adamp"}, "compared with itself"),
    "an unknown filter": (lambda rows: rows, {"where": {"dataset": "d7"}}, "no row has 'd7' in the column 'dataset'"),
    "no numbers": (lambda rows: [{**row, "accuracy": None} for row in rows], {}, "has a number for accuracy"),
    "an empty pair": (lambda rows: [{**rows[0], "seed": None}, *rows[1:]], {}, "'seed', which pairs results, is empty"),
}


@pytest.mark.parametrize("doubt", MESSAGES)
def test_every_doubt_has_one_message(doubt: str) -> None:
    change, requested, message = MESSAGES[doubt]
    with pytest.raises(HarnessError, match=f"(?i){message}") as raised:
        judged(change(scores()), **requested)
    assert "\n" not in str(raised.value)


GZIPPED = gzip.compress(b"seed,adam,adamp\n" + b"0,1,2\n" * 300, mtime=0)
FILES: dict[str, tuple[str, bytes, str]] = {
    "an unknown kind": ("a.xlsx", b"x", "unsupported file extension"),
    "an empty file": ("a.csv", b"", "the file is empty"),
    "a head line alone": ("a.csv", b"seed,adam,adamp\n", "the table has no rows"),
    "a short line": ("a.csv", b"seed,adam,adamp\n0,1,2\n1,2\n", r"a\.csv:3: 2 fields, but the header has 3 columns"),
    "a column twice": ("a.csv", b"seed,adam,adam\n0,1,2\n", r"a\.csv:1: duplicate column 'adam'"),
    "bytes": ("a.csv", b"seed,adam\n0,\xff\xfe\n", r"a\.csv:2: not UTF-8"),
    "broken JSON": ("a.jsonl", b'{"seed": 1}\n{"seed": \n', r"a\.jsonl:2: not valid JSON"),
    "JSON of something else": ("a.jsonl", b"[1]\n", "an object with a value for each column"),
    "no Parquet": ("a.parquet", b"PAR1", "not a readable Parquet file"),
    "no database": ("a.duckdb", b"nothing", "cannot be read as a DuckDB file"),
    "no gzip": ("a.csv.gz", b"seed", "cannot be read: Not a gzipped file"),
    "a damaged gzip": ("a.csv.gz", GZIPPED[:-20] + b"\xff" * 12 + GZIPPED[-8:], "cannot be read: "),
    "a gzip bomb": ("a.csv.gz", gzip.compress(b"0" * (90 << 20)), "unpacks to more than 100 times"),
    "too many columns": ("a.csv", (",".join(map(str, range(10_001))) + "\n").encode(), r"a\.csv: 10,001 columns"),
    "too many names": (
        "a.jsonl",
        "\n".join(json.dumps({f"{row}.{name}": 1 for name in range(5_001)}) for row in range(2)).encode(),
        "10,002 columns; a table has at most 10,000",
    ),
}


@pytest.mark.parametrize("fault", FILES)
def test_broken_files_are_refused_with_their_line(fault: str, tmp_path: Path) -> None:
    name, content, message = FILES[fault]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(HarnessError, match=message):
        judged(path)


def test_a_table_of_several_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "all.db"
    with sqlite3.connect(path) as lite:
        for name in ("one", "two"):
            pd.DataFrame(scores()).to_sql(name, lite, index=False)
    arguments = ["judge", str(path), *COMPARED, "--no-page"]
    assert run_main(arguments) == 2
    assert "has 2 tables; name one with --table: one, two" in capsys.readouterr().err
    assert run_main([*arguments, "--table", "two"]) == 0
    assert "direction confirmed" in capsys.readouterr().out


def test_a_view_of_a_stranger_reads_no_other_file(tmp_path: Path) -> None:
    secret, path = tmp_path / "secret.csv", tmp_path / "view.duckdb"
    secret.write_text("seed,adam,adamp\n0,1,2\n1,1,2\n2,1,2\n")
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE VIEW results AS FROM read_csv('{secret}')")
    with pytest.raises(HarnessError, match="cannot be read"):
        judged(path)


def test_a_score_that_is_missing_is_a_failure_and_no_win() -> None:
    rows = [{**row, "accuracy": "nan"} if (row["optimizer"], row["seed"]) == ("adamp", 2) else row for row in scores()]
    verdicts = judged(rows)
    assert verdicts.notes[0] == "adamp has no finite number in line 9: counted as failed"
    assert verdicts[0].word != "direction confirmed"
    assert verdicts[0].n == 5
    lost = [
        {**row, "accuracy": ""} if row["optimizer"] == "adamp" and int(str(row["seed"])) < 3 else row
        for row in scores()
    ]
    (item,) = judged(lost)
    assert item.word == "invalid"
    assert "3 of 6 trials of adamp failed" in item.meaning


def test_a_seed_without_a_partner_is_dropped_and_told() -> None:
    rows = [row for row in scores() if (row["optimizer"], row["seed"]) != ("adam", 4)]
    verdicts = judged(rows)
    assert verdicts.notes[0] == "adamp has seed 4, adam has not: dropped"
    assert verdicts[0].n == 5


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(18)), st.floats(0.1, 10), st.floats(-50, 50))
def test_order_does_not_matter_and_sides_mirror(order: list[int], scale: float, shift: float) -> None:
    rows: Rows = [{**row, "score": float(str(row["accuracy"])) * scale + shift} for row in scores()]
    plain = harness.judge(rows, method="adamp", against="adam", metric="score", better="higher")[0]
    mixed = harness.judge([rows[i] for i in order], method="adamp", against="adam", metric="score", better="higher")[0]
    mirrored = harness.judge(rows, method="adam", against="adamp", metric="score", better="higher")[0]
    assert (mixed.word, mixed.p) == (plain.word, pytest.approx(plain.p))
    assert mirrored.word == "direction reversed"
    assert (mirrored.difference, mirrored.p) == (pytest.approx(-(plain.difference or 0)), pytest.approx(plain.p))
    assert plain.p == pytest.approx(judged(scores())[0].p)


def test_pairs_may_have_names() -> None:
    rows: Rows = [{**row, "fold": f"person {row['seed']}"} for row in scores()]
    verdicts = judged(rows, pair="fold", independent=True)
    assert [pair for _, pair, _ in differences(verdicts, verdicts[0])] == [f"person {i}" for i in range(6)]


def test_the_command_writes_verdicts_and_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(scores(benchmarks=2)).to_csv("results.csv", index=False)
    arguments = ["judge", "results.csv", *COMPARED, "--by", "dataset"]
    assert run_main(arguments) == 0
    text = capsys.readouterr().out
    assert "d0: adamp − adam" in text
    assert "Holm over 2 tests" in text
    assert text.endswith("results-verdicts.html\n")
    page = (tmp_path / "results-verdicts.html").read_text()
    assert "https://" not in page
    assert "<script src" not in page
    assert "direction confirmed" in page
    assert "paired by &#39;seed&#39;" in page
    assert run_main([*arguments, "--format", "json", "--out", "other/page.html"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (tmp_path / "other" / "page.html").is_file()
    assert [item["word"] for item in record["verdicts"]] == ["direction confirmed"] * 2
    assert record["verdicts"][0]["design"]["per_benchmark"][0]["n"] == 6


def test_wrong_usage_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.csv"
    pd.DataFrame(scores()).to_csv(path, index=False)
    assert run_main(["judge", str(tmp_path / "none.csv"), *COMPARED]) == 2
    assert "no file" in capsys.readouterr().err
    assert run_main(["judge", str(path), *COMPARED, "--where", "dataset"]) == 2
    assert "expected COLUMN=VALUE" in capsys.readouterr().err


def test_neither_torch_nor_ray_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    pd.DataFrame(scores()).to_csv(path, index=False)
    arguments = ["judge", str(path), *COMPARED, "--out", str(tmp_path / "page.html")]
    code = (
        f"import sys; from harness.cli.group import run_main; run_main({arguments!r}); "
        "print(sorted({'torch', 'ray', 'pandas', 'optuna', 'plotly.graph_objects', 'duckdb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_notebook_has_a_view_of_its_own() -> None:
    view = judged(scores())._repr_html_()
    assert view.startswith("<iframe")
    assert "direction confirmed" in view
    frame = judged(scores()).frame()
    assert list(frame["word"]) == ["direction confirmed"]
    assert len(frame) == 1


def test_what_was_not_asked_is_noted() -> None:
    """Other arms and data sets, which a choice leaves out."""
    notes = judged(scores(benchmarks=3), where={"dataset": "d0"}).notes
    assert "the table has 1 more in 'optimizer', not compared: adamw" in notes
    assert "the table has 2 more in 'dataset', not read: d1, d2" in notes
