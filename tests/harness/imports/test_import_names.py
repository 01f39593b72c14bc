"""Names of external results: detected, mapped or refused with the valid ones."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import import_support as made
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cli.importing import _seeds as seeds_in_words
from harness.errors import HarnessError, SuiteError
from harness.imports.mapping import Flags, ImportMap, Theirs, first_names, in_words, matched, read_map, with_flags
from harness.imports.naming import ImportTarget
from harness.imports.sources import read_source
from harness.imports.trials import ImportedTrial, Matched, trials_of
from harness.suite import load_suite
from harness.vocabulary import Status

Rows = Sequence[Mapping[str, Any]]


def target(folder: Path, text: str = made.SUITE) -> ImportTarget:
    return ImportTarget.of(load_suite(made.write_suite(folder, text)), "mini")


def row(**changed: Any) -> dict[str, Any]:
    cells = {"arm": "adam", "seed": 0, "accuracy": 1.5, **changed}
    return {name: cell for name, cell in cells.items() if cell is not None}


def of(
    folder: Path, rows: Rows, plain: Mapping[str, Any] | None = None, text: str = made.SUITE, **flags: Any
) -> Matched:
    """The trials of a table."""
    mapping = with_flags(ImportMap.model_validate(plain or {}), Flags(**flags))
    return trials_of(read_source(made.write_csv(folder / "r.csv", rows)), mapping, target(folder, text))


def trial_of(result: Matched, arm: str, seed: int) -> ImportedTrial:
    (trial,) = [each for each in result.trials if (each.arm, each.seed) == (arm, seed)]
    return trial


def scores(trial: ImportedTrial) -> dict[tuple[str, str], float | None]:
    return {(score.split, score.metric): score.value for score in trial.results}


def test_what_leaves_no_doubt_needs_no_mapping(tmp_path: Path) -> None:
    result = of(
        tmp_path, [{"algo": arm, "Seed": seed, "accuracy": made.score(arm, seed)} for arm, seed in made.each(2)]
    )
    assert result.mapping.model_dump(exclude_defaults=True) == {
        "benchmark": {"value": "digits"},
        "arm": {"column": "algo"},
        "seed": {"column": "Seed"},
        "metrics": {"accuracy": {"metric": "accuracy"}},
    }
    assert scores(trial_of(result, "adamp", 1)) == {("test", "accuracy"): made.score("adamp", 1)}
    assert trial_of(result, "adamp", 1).place.endswith("r.csv:5")
    assert len({trial.trial_id for trial in result.trials}) == 4


def test_names_splits_and_factors(tmp_path: Path) -> None:
    rows = [{"m": name, "rep": seed, "val": 0.8 + seed / 100} for name, seed in (("AdamP", 0), ("Adam", 0), ("SGD", 0))]
    mapping = {
        "arm": {"column": "m", "names": {"AdamP": "adamp", "Adam": "adam", "SGD": ""}},
        "seed": "rep",
        "independent": True,
        "metrics": {"val": {"metric": "accuracy", "split": "validation", "times": 100}},
    }
    result = of(tmp_path, rows, mapping)
    assert [trial.arm for trial in result.trials] == ["adam", "adamp"]
    assert scores(trial_of(result, "adamp", 0)) == {("validation", "accuracy"): pytest.approx(80.0)}
    assert result.left_out == 1
    words = in_words(result.mapping)
    assert "arm from 'm' (AdamP → adamp, Adam → adam, SGD → left out)" in words
    assert "accuracy on validation × 100 from 'val'" in words
    flags: dict[str, Any] = {
        "arms": ("AdamP=adamp", "Adam=adam", "SGD="),
        "columns": {"arm": "m", "seed": "rep"},
        "independent": True,
        "metrics": ("val=accuracy@validation*100",),
    }
    assert of(tmp_path, rows, **flags).trials == result.trials, "flags say the same as the file"


def test_a_row_a_number_with_splits_and_steps(tmp_path: Path) -> None:
    rows = [
        {"arm": arm, "seed": 0, "split": split, "epoch": step, "metric": name, "value": 70 + step}
        for arm in ("adam", "adamp")
        for split in ("val", "test")
        for step in (1, 2, 3)
        for name in ("acc", "other")
    ]
    result = of(tmp_path, rows, metrics=("acc=accuracy",))
    trial = trial_of(result, "adam", 0)
    assert scores(trial) == {("test", "accuracy"): 73.0, ("validation", "accuracy"): 73.0}
    expected = {("test", (1, 2, 3), (71.0, 72.0, 73.0)), ("validation", (1, 2, 3), (71.0, 72.0, 73.0))}
    assert {(s.split, tuple(s.step), tuple(s.value)) for s in trial.series} == expected
    assert "numbers from 'value', named by 'metric'" in in_words(result.mapping)


def test_a_table_of_curves_may_have_gaps(tmp_path: Path) -> None:
    rows = [{"arm": "adam", "seed": 0, "step": step, "accuracy": "" if step == 1 else 70 + step} for step in range(3)]
    (series,) = of(tmp_path, rows).trials[0].series
    assert (series.step, series.value) == ([0, 2], [70.0, 72.0])


def test_patterns_take_words_out_of_a_name(tmp_path: Path) -> None:
    rows = [{"run": f"digits-{arm}-s{seed}", "accuracy": 80.0 + seed} for arm, seed in made.each(2)]
    result = of(tmp_path, rows, patterns=("run={benchmark}-{arm}-s{seed}",), text=made.TWO)
    expected = {("digits", arm, seed) for arm, seed in made.each(2)}
    assert {(t.benchmark, t.arm, t.seed) for t in result.trials} == expected
    with pytest.raises(HarnessError, match=r"r.csv:2: 'digits-adam-s0' in 'run' does not fit the pattern 'x\{arm\}"):
        of(tmp_path, rows, patterns=("run=x{arm}{seed}",))


@given(st.sampled_from(["adam", "adamp", "a-b", "x_1"]), st.integers(0, 99), st.text("abc._", max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_pattern_finds_what_was_written(arm: str, seed: int, between: str) -> None:
    result = matched(f"run/{{arm}}{between}--s{{seed}}", f"run/{arm}{between}--s{seed}")
    assert result is not None
    assert result["seed"] == str(seed)
    assert f"run/{result['arm']}{between}--s{result['seed']}" == f"run/{arm}{between}--s{seed}"


def test_a_pattern_with_anything_and_a_word_twice() -> None:
    assert matched("*/{arm}/s{seed}", "any/thing/adam/s3") == {"arm": "adam", "seed": "3"}
    assert matched("{arm}/{arm}-{seed}", "adam/adam-1") == {"arm": "adam", "seed": "1"}
    assert matched("{arm}/{arm}-{seed}", "adam/adamp-1") is None
    assert matched("{arm}-{seed}", "a/b-1") is None, "a word has no slash"


DOUBTS: list[tuple[Rows, dict[str, Any], str]] = [
    (
        [row(arm=None, x="sgd")],
        {"columns": {"arm": "x"}},
        r"r.csv:2: unknown arm 'sgd' in 'mine'; valid: adam, adamp\ntranslate a name with --arm 'sgd=OURS'",
    ),
    ([row(arm=None, x="adam"), row(arm=None, x="sgd")], {}, r"r.csv:3: unknown arm 'sgd' in 'mine'"),
    (
        [row(arm=None, x="sgd")],
        {},
        "nothing says the arm of a result; name its column with --arm-column.*Columns: seed, accuracy, x. Arms of "
        "'mine': adam, adamp",
    ),
    ([row(arm=None, a="adam", b="adam")], {}, "'a' and 'b' both could be the arm"),
    ([row(seed=None)], {}, "nothing says the seed.*--seed-column.*cannot be paired"),
    ([row(seed="one")], {}, "r.csv:2: the seed 'one' is not a whole number"),
    ([row(seed="")], {}, r"r.csv:2: no seed \('seed' is empty there\)"),
    (
        [row(accuracy=None, acc=1.5)],
        {},
        r"none of its numbers has the name of a metric of the benchmarks \(digits: accuracy, loss\).*--metric "
        "THEIRS=OURS. There are: acc, arm, seed",
    ),
    ([row(accuracy="good")], {}, "r.csv:2: 'good' in the column 'accuracy' is not a number"),
    ([row()], {"metrics": ("acc=accuracy",)}, "has no number 'acc'; did you mean 'accuracy'"),
    (
        [row(accuracy=None, acc=1.5)],
        {"metrics": ("acc=acuracy",)},
        "no benchmark of 'mine' has the metric 'acuracy'; did you mean 'accuracy'",
    ),
    ([row()] * 2, {}, r"r.csv:3: a second accuracy of adam on digits \(test\) for seed 0, after .*r.csv:2"),
    ([row()], {"where": ("state=x",)}, "has no column 'state'; valid"),
    ([row()], {"where": ("seed=7",)}, "no result has '7' in the column"),
    ([row()], {"arms": ("adam=",)}, "the mapping leaves out every result"),
    ([row(accuracy=0.93)], {}, r"accuracy is in percent.*lies in \[0, 1\].*\*100'"),
    ([row()], {"columns": {"seed": "sead"}}, "has no column 'sead'; did"),
    ([row()], {"patterns": ("nme={arm}",)}, "has no column 'nme'"),
    (
        [row(split="x")],
        {"columns": {"split": "split"}},
        "r.csv:2: unknown split 'x' in 'mine'; valid: test, train, validation",
    ),
    ([row()], {"benchmark": "digit"}, "unknown benchmark 'digit' in 'mine'; did you mean 'digits'"),
]


@pytest.mark.parametrize(("rows", "flags", "message"), DOUBTS)
def test_each_doubt_is_one_message(tmp_path: Path, rows: Rows, flags: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=f"(?s){message}"):
        of(tmp_path, rows, **flags)


def test_several_unknown_names_are_told_at_once(tmp_path: Path) -> None:
    rows = [row(arm=name) for name in ("adam", "sgd", "lion")]
    with pytest.raises(HarnessError) as refused:
        of(tmp_path, rows, columns={"arm": "arm"})
    lines = str(refused.value).splitlines()
    assert len(lines) == 3
    assert "'sgd'" in lines[0]
    assert "'lion'" in lines[1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"arms": ("adamp",)}, "--arm THEIRS=OURS is expected"),
        ({"metrics": ("acc=accuracy*x",)}, "'x' is not a number to multiply by"),
        ({"metrics": ("val/acc",)}, r"--metric 'val/acc': THEIRS=OURS\[@SPLIT\]"),
        ({"metrics": ("acc=accuracy*-1",)}, "metrics.acc.times"),
        ({"metrics": ("acc=accuracy@eval",)}, "metrics.acc.split"),
        ({"patterns": ("path={who}",)}, r"unknown '\{who\}'; valid: arm, benchmark, seed, split, step"),
        ({"patterns": ("path=plain",)}, "names nothing"),
        ({"where": ("state",)}, "--where NAME=VALUE is expected"),
        ({"metric_column": "metric"}, "go together"),
    ],
)
def test_invalid_flags(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        with_flags(ImportMap(), Flags(**flags))


def test_a_map_is_checked_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text("arm: optimizer\nsead: seed\nmetrics:\n  acc: {metric: accuracy, split: dev}\n")
    with pytest.raises(SuiteError) as refused:
        read_map(file)
    message = str(refused.value)
    assert f"{file}:2:1: unknown key 'sead'; did you mean 'seed'?" in message
    assert f"{file}:4:" in message
    file.write_text("arm: {column: a, value: b}\n")
    with pytest.raises(SuiteError, match="give 'column' or 'value'"):
        read_map(file)
    with pytest.raises(HarnessError, match="no file"):
        read_map(tmp_path / "none.yaml")


def test_a_score_that_is_missing_or_not_finite_fails_its_trial(tmp_path: Path) -> None:
    numbers = [("", 0.5), ("inf", 0.5), (80.0, "nan"), ("NaN", 0.5)]
    rows = [row(seed=seed, accuracy=accuracy, loss=loss) for seed, (accuracy, loss) in enumerate(numbers)]
    result = of(tmp_path, rows)
    assert [trial.status for trial in result.trials] == [Status.FAILED, Status.FAILED, Status.DONE, Status.FAILED]
    assert trial_of(result, "adam", 0).error == f"accuracy on test is empty or NaN ({tmp_path / 'r.csv'}:2)"
    assert str(trial_of(result, "adam", 1).error).startswith("accuracy on test is inf")
    loss = scores(trial_of(result, "adam", 2))["test", "loss"]
    assert loss is not None
    assert math.isnan(loss), "another metric than the claim's may be missing"


def test_a_run_that_failed_there_fails_here(tmp_path: Path) -> None:
    source = read_source(made.write_wandb_table(tmp_path / "runs.csv", crashed=("adam", 1)))
    mapping = with_flags(ImportMap(), Flags(metrics=("acc=accuracy",)))
    failed = [trial for trial in trials_of(source, mapping, target(tmp_path)).trials if trial.status == Status.FAILED]
    assert [(trial.arm, trial.seed) for trial in failed] == [("adam", 1)]
    assert "the run is 'crashed' in its table of runs" in str(failed[0].error)


def test_several_benchmarks_are_told_apart_by_their_column(tmp_path: Path) -> None:
    rows = [
        {"dataset": name, "arm": arm, "seed": 0, "accuracy": 70.0}
        for name in ("MNIST", "letters")
        for arm in ("adam", "adamp")
    ]
    mapping = {"benchmark": {"column": "dataset", "names": {"MNIST": "digits"}}}
    assert {trial.benchmark for trial in of(tmp_path, rows, mapping, made.TWO).trials} == {"digits", "letters"}
    result = of(tmp_path, rows, {"benchmark": {"names": {"MNIST": "digits"}}}, made.TWO)
    detected = Theirs(column="dataset", names={"MNIST": "digits"})
    assert result.mapping.benchmark == detected, "the one column that fits with the translation"
    with pytest.raises(HarnessError, match=r"r.csv:2: unknown benchmark 'MNIST' in 'two'; valid: digits, letters"):
        of(tmp_path, rows, text=made.TWO)
    without = [{key: value for key, value in row.items() if key != "dataset"} for row in rows[:2]]
    with pytest.raises(HarnessError, match=r"nothing says the benchmark of a result.*--benchmark B"):
        of(tmp_path, without, text=made.TWO)


def test_what_a_trial_is_follows_from_file_mapping_and_place(tmp_path: Path) -> None:
    rows = [row(accuracy=80.0, acc2=81.0)]
    first = of(tmp_path, rows).trials[0].trial_id
    assert of(tmp_path, rows).trials[0].trial_id == first
    assert of(tmp_path, rows, metrics=("acc2=accuracy",)).trials[0].trial_id != first
    assert of(tmp_path, [*rows, {**rows[0], "seed": 1}]).trials[0].trial_id != first, "the file is another one"
    renamed = made.SUITE.replace("suite: mine", "suite: other")
    assert of(tmp_path, rows, text=renamed).trials[0].trial_id != first


def test_fields_of_a_tracker_and_splits_of_folders(tmp_path: Path) -> None:
    for arm, seed in made.each(2):
        for split in ("train", "val"):
            made.write_events(
                tmp_path / "runs" / arm / str(seed) / split, [(0, {"accuracy": 50.0}), (1, {"accuracy": 60.0})]
            )
    mapping = with_flags(ImportMap(), Flags(patterns=("path={arm}/{seed}/{split}",)))
    trials = trials_of(read_source(tmp_path / "runs"), mapping, target(tmp_path)).trials
    assert len(trials) == 4
    assert set(scores(trials[0])) == {("train", "accuracy"), ("validation", "accuracy")}
    assert trials[0].status == Status.FAILED, "the claim's metric is that of the test split"
    assert str(trials[0].error).startswith("accuracy on test is missing")


def test_a_long_list_of_names_ends_with_their_number() -> None:
    assert first_names(f"n{number}" for number in range(20)).endswith(", n19")
    assert first_names(f"n{number}" for number in range(21)).endswith(", n19, … (21 in all)")


@pytest.mark.parametrize(("seeds", "text"), [([2, 0, 1], "0 to 2"), ([0, 1], "0, 1"), ([0, 2, 4], "0, 2, 4")])
def test_seeds_in_a_row_are_a_range(seeds: list[int], text: str) -> None:
    assert seeds_in_words(seeds) == text


def test_seeds_that_split_one_data_set_need_a_ratio(tmp_path: Path) -> None:
    rows = [
        {"arm": arm, "fold": fold, "accuracy": made.score(arm, fold), "run": f"{arm}/cv{fold}"}
        for arm, fold in made.each(5)
    ]
    with pytest.raises(HarnessError, match=r"r.csv: 'fold' pairs the results.*--resampled RATIO"):
        of(tmp_path, rows)
    with pytest.raises(HarnessError, match=r"r.csv: 'cv' pairs the results"):
        of(tmp_path, rows, patterns=("run={arm}/cv{seed}",))
    with pytest.raises(HarnessError, match="--resampled 0: not a ratio"):
        of(tmp_path, rows, resampled="0")
    plain = of(tmp_path, rows, independent=True)
    corrected = of(tmp_path, rows, {"resampled": "k-fold"})
    assert (plain.mapping.resampled, corrected.mapping.resampled) == (None, 0.25)
    assert "seeds are independent as stated" in in_words(plain.mapping)
    assert "corrected resampled t test (n_test/n_train 0.25)" in in_words(corrected.mapping)
    assert {trial.trial_id for trial in plain.trials}.isdisjoint(trial.trial_id for trial in corrected.trials)
