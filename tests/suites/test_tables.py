"""User tables: reading and splitting, and what networks and estimators learn of them."""

import gzip
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_lab import Cell, options_for, read_own, sizes, train

from harness.errors import HarnessError, MissingDataError
from harness.trial.contracts import DataRequest, ModelRequest
from harness.trial.seeds import Streams
from suites.data.splitting import drawn, shares_of
from suites.data.table_files import _joined as joined
from suites.data.tables import TableData
from suites.models import estimators
from suites.tasks.prediction_scores import class_scores, number_scores
from suites.tasks.tabular import Encoding

TABLE = "suites.data.tables:table"
CLASSIFICATION = "suites.tasks.tabular:tabular-classification"
REGRESSION = "suites.tasks.tabular:tabular-regression"
MLP, SKLEARN = "suites.models.estimators:mlp", "suites.models.estimators:sklearn"
pytestmark = pytest.mark.filterwarnings("ignore:table. ")


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def flowers(count: int = 60) -> str:
    rows = [f"{n % 3 + n / 100:.2f},{['red', 'blue'][n % 2]},{['a', 'b', 'c'][n % 3]}" for n in range(count)]
    return "length,colour,kind\n" + "\n".join(rows) + "\n"


def table(path: Path, target: str = "kind", **keys: Any) -> TableData:
    return read_own(TABLE, path, target=target, **keys)


# what is read


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_of_numbers_and_of_categories_are_told_apart(tmp_path: Path, separator: str) -> None:
    data = table(written(tmp_path / "own.csv", flowers().replace(",", separator)))
    assert (data.numeric, data.categorical, data.levels) == (("length",), ("colour",), (("blue", "red"),))
    assert sizes(data) == {"train": 42, "validation": 6, "test": 12}
    row = int(data.splits["test"].items[0])
    assert data.splits["test"].numbers[0, 0] == pytest.approx(row % 3 + row / 100)
    assert data.splits["test"].targets[0] == "abc"[row % 3]
    assert data.levels[0][data.splits["test"].levels[0, 0]] == ["red", "blue"][row % 2]


def test_parquet_gzip_and_csv_say_the_same(tmp_path: Path) -> None:
    csv = written(tmp_path / "own.csv", flowers())
    (tmp_path / "own.csv.gz").write_bytes(gzip.compress(csv.read_bytes()))
    pd.read_csv(csv).to_parquet(tmp_path / "own.parquet")
    first, *others = (table(tmp_path / name).splits["train"] for name in ("own.csv", "own.csv.gz", "own.parquet"))
    for other in others:
        for field in ("numbers", "levels", "targets", "items"):
            np.testing.assert_array_equal(getattr(first, field), getattr(other, field))


def test_a_folder_has_files_by_split_and_a_column_of_numbers_is_one_in_all_of_them(tmp_path: Path) -> None:
    header, *rows = flowers().splitlines()
    for name, some in (("train", rows[:30]), ("val", rows[30:40]), ("test", [*rows[40:], "long,red,a"])):
        written(tmp_path / "own" / f"{name}.csv", "\n".join([header, *some]))
    with pytest.raises(HarnessError, match=r"test\.csv:22: 'length' is 'long' where a number is expected"):
        table(tmp_path / "own")
    written(tmp_path / "own" / "test.csv", "\n".join([header, *rows[40:]]))
    assert sizes(table(tmp_path / "own")) == {"train": 30, "validation": 10, "test": 20}


def test_the_hugging_face_layout_of_parquet_files_is_read(tmp_path: Path) -> None:
    frame = pd.read_csv(written(tmp_path / "own.csv", flowers()))
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for number, part in enumerate((frame[:20], frame[20:40])):
        part.to_parquet(tmp_path / "hub" / "data" / f"train-{number:05d}-of-00002.parquet")
    frame[40:].to_parquet(tmp_path / "hub" / "data" / "validation-00000-of-00001.parquet")
    data = table(tmp_path / "hub", split={"validation": 0.25})
    assert sizes(data) == {"train": 30, "validation": 10, "test": 20}
    assert data.splits["test"].items.tolist() == list(range(40, 60))


def test_missing_values_are_filled_from_training_marked_and_said(tmp_path: Path) -> None:
    lines = flowers().splitlines()
    lines[3] = "NA,blue,c"
    lines[4] = "0.3,?,a"
    lines[9] = "1.2,red,"
    path = written(tmp_path / "own.csv", "\n".join(lines))
    with pytest.warns(UserWarning, match="table: ") as message:
        data = table(path, split={"test": 10})
    text = [str(item.message) for item in message]
    assert any("own.csv:10: 1 rows lack 'kind' and are ignored" in item for item in text), text
    assert any("missing values: length 1, colour 1" in item for item in text), text
    train_rows = data.splits["train"]
    assert sum(sizes(data).values()) == 59
    features = Encoding.of(train_rows, 10)(train_rows)
    assert np.isfinite(features).all()
    gap = np.isnan(train_rows.numbers[:, 0])
    median = np.nanmedian(train_rows.numbers[:, 0])
    filled = np.where(gap, median, train_rows.numbers[:, 0])
    np.testing.assert_allclose(features[:, 0], (filled - filled.mean()) / filled.std(), rtol=1e-5, atol=1e-5)
    if gap.any():
        assert len(np.unique(features[~gap, 1])) == 1 != len(np.unique(features[:, 1]))


def test_categories_that_training_never_saw_share_one_feature(tmp_path: Path) -> None:
    header = "colour,size,kind"
    written(tmp_path / "own/train.csv", "\n".join([header, *["red,1,a", "red,2,b", "blue,3,a", "green,4,b"] * 3]))
    written(tmp_path / "own/test.csv", "\n".join([header, "mauve,1,a", "ochre,2,b", "red,1,b"]))
    data = table(tmp_path / "own")
    encoded = Encoding.of(data.splits["train"], 2)(data.splits["test"])
    assert encoded.shape == (3, 1 + 2)
    np.testing.assert_array_equal(encoded[0, 1:], encoded[1, 1:])
    assert not np.array_equal(encoded[0, 1:], encoded[2, 1:])


@pytest.mark.parametrize(
    ("text", "keys", "expected"),
    [
        ("a,b\n1,2\n1,2,3\n", {"target": "b"}, r"own\.csv:3: 3 fields, but the header has 2 columns"),
        ("a,a\n1,2\n", {"target": "a"}, r"own\.csv:1: duplicate column 'a'"),
        ("", {"target": "a"}, r"own\.csv:1: the file is empty; its first line must name the columns"),
        ("a,b\n", {"target": "b"}, r"own\.csv has no rows"),
        (flowers(), {"target": "knid"}, r"own\.csv:1: no column 'knid' \(target\); did you mean 'kind'"),
        (flowers(), {"ignore": ["lenght"]}, r"no column 'lenght' \(ignore\); did you mean 'length'"),
        (flowers() + "oops,red,a\n", {}, r"own\.csv:62: 'length' is 'oops' .* categorical: \[length\]"),
        (flowers(), {"split": {"vaildation": 0.1}}, r"split: unknown name 'vaildation'; did you mean 'validation'"),
        (flowers(), {"split": {"test": "half"}}, r"split: 'test' is 'half'; expected a share \(0\.2\) or a count"),
        (flowers(), {"split": {"test": 0.6, "val": 0.5}}, r"leave none of 60 rows to train on"),
        (flowers(), {"split_column": "colour"}, r"own\.csv:2: 'colour' is 'red', not a valid split"),
        ("kind\na\nb\n", {}, r"no column to predict 'kind' from"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, keys: dict[str, Any], expected: str) -> None:
    with pytest.raises(HarnessError, match=expected) as refused:
        table(written(tmp_path / "own.csv", text), **keys)
    assert "\n" not in str(refused.value)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="none does not exist"):
        table(tmp_path / "none")
    with pytest.raises(HarnessError, match=r"own\.txt: unsupported file extension; valid: \.csv"):
        table(written(tmp_path / "own.txt", "a b"))
    written(tmp_path / "folder" / "first.csv", flowers())
    written(tmp_path / "folder" / "second.csv", flowers())
    with pytest.raises(HarnessError, match=r"has no train\.csv .* but first\.csv, second\.csv"):
        table(tmp_path / "folder")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(HarnessError, match=r"bad\.parquet is not a readable Parquet file"):
        table(tmp_path / "bad.parquet")


# how it is split


def test_a_column_may_say_the_split_and_validation_may_be_drawn_from_training(tmp_path: Path) -> None:
    words = ["train"] * 6 + ["val"] * 2 + ["Test"] * 2
    rows = [f"{n},{'ab'[n % 2]},{word}" for n, word in enumerate(words)]
    path = written(tmp_path / "own.csv", "\n".join(["x,kind,part", *rows]))
    assert sizes(table(path, split_column="part")) == {"train": 6, "validation": 2, "test": 2}
    with pytest.raises(HarnessError, match="has its own validation; remove 'validation'"):
        table(path, split_column="part", split={"validation": 0.1})
    assert table(path, split_column="part").numeric == ("x",)


def test_rows_of_a_group_stay_on_one_side(tmp_path: Path) -> None:
    rows = [f"{n},p{n // 5},{'ab'[n % 2]}" for n in range(100)]
    data = table(written(tmp_path / "own.csv", "\n".join(["x,person,kind", *rows])), group="person")
    people = {name: set((part.items // 5).tolist()) for name, part in data.splits.items()}
    assert sum(map(len, people.values())) == len(set.union(*people.values())) == 20
    assert sizes(data) == {"train": 70, "validation": 10, "test": 20}
    assert data.numeric == ("x",)  # who it is, is not read


def request(seed: int) -> DataRequest[Any]:
    return DataRequest(None, Path("/nowhere"), Streams(seed), "own")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=5, max_size=120), st.floats(0.05, 0.4), st.floats(0.0, 0.3), st.integers(0, 9)
)
def test_a_drawn_split_shares_out_every_item_once_and_every_class_alike(
    labels: list[int], test: float, validation: float, seed: int
) -> None:
    strata = np.array(labels)
    parts = drawn(request(seed), {"test": test, "validation": validation}, strata)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))
    assert len(parts["test"]) == max(1, round(test * len(labels)))
    again = drawn(request(seed), {"test": test, "validation": validation}, strata)
    assert all(np.array_equal(parts[name], again[name]) for name in parts)
    for label in set(labels):
        size = labels.count(label)
        got = int((strata[parts["test"]] == label).sum())
        assert abs(got - size * len(parts["test"]) / len(labels)) < 2
        alone = sum(labels.count(other) == 1 for other in set(labels))
        assert size > 1 or alone > len(parts["train"]) or label in strata[parts["train"]]


def test_shares_may_be_counts_and_have_the_names_of_folders() -> None:
    assert shares_of({"val": 0.1, "testing": 7}, "own") == {"validation": 0.1, "test": 7.0}
    parts = drawn(request(0), {"validation": 0.1, "test": 7.0}, np.zeros(50, dtype=int))
    assert {name: len(part) for name, part in parts.items()} == {"test": 7, "validation": 5, "train": 38}


# what is learnt


def cell(task: str, data: str, model: str, model_keys: Mapping[str, Any] | None = None, **recipe: Any) -> Cell:
    return Cell(task, f"suites.data.tables:{data}", model, recipe, model_keys=model_keys or {})


def test_a_network_learns_breast_cancer_and_says_what_the_trivial_predictor_scores() -> None:
    task = cell(CLASSIFICATION, "breast-cancer", MLP, {"hidden": (16,)}).build(0)
    train(task, 60)
    result = task.evaluate("test")
    assert result.metrics["accuracy"] > 90
    assert result.metrics["roc-auc"] > 95
    labels = np.concatenate([task.targets[name] for name in ("train",)])
    majority = int(np.bincount(labels).argmax())
    assert result.metrics["trivial.accuracy"] == pytest.approx(100 * (task.targets["test"] == majority).mean())
    assert result.metrics["trivial.balanced-accuracy"] == result.metrics["trivial.roc-auc"] == 50
    assert result.metrics["accuracy"] == pytest.approx(100 * result.items["correct"].mean())
    assert result.metrics["log-loss"] == pytest.approx(result.items["cost"].mean())
    assert result.metrics["log-loss"] < result.metrics["trivial.log-loss"]


def test_a_network_learns_diabetes_in_the_unit_of_the_target() -> None:
    task = cell(REGRESSION, "diabetes", MLP, {"hidden": ()}).build(0)
    train(task, 200)
    result = task.evaluate("test")
    assert result.metrics["r2"] > 0.3
    assert result.metrics["rmse"] < result.metrics["trivial.rmse"]
    assert result.metrics["mae"] == pytest.approx(result.items["absolute_error"].mean())
    targets, mean = task.targets["test"], task.targets["train"].mean()
    assert result.metrics["trivial.rmse"] == pytest.approx(math.sqrt(((targets - mean) ** 2).mean()))


@pytest.mark.parametrize(
    ("task", "data", "name", "parameters", "metric", "least"),
    [
        (CLASSIFICATION, "wine", "sklearn.ensemble.RandomForestClassifier", {"n_estimators": 20}, "accuracy", 85),
        (CLASSIFICATION, "iris", "sklearn.linear_model.LogisticRegression", {"C": 10}, "accuracy", 85),
        (REGRESSION, "diabetes", "sklearn.linear_model.Ridge", {}, "r2", 0.3),
        (REGRESSION, "diabetes", "sklearn.linear_model.GammaRegressor", {"alpha": 0.01}, "r2", 0.2),
    ],
)
def test_an_estimator_is_fitted_once_and_scored(
    task: str, data: str, name: str, parameters: dict[str, Any], metric: str, least: float
) -> None:
    keys = {"estimator": name, "parameters": parameters}
    first, again = (cell(task, data, SKLEARN, keys).build(0) for _ in range(2))
    for created in (first, again):
        model = created.build()
        assert not list(model.parameters())
        assert not created.trains
    result = first.evaluate("test").metrics
    assert result[metric] > least
    assert result == again.evaluate("test").metrics
    assert first.probe(model) is None


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("sklearn.ensemble.RandomForrest", {}, "did you mean 'sklearn.ensemble.RandomForestClassifier'"),
        ("os.system", {}, "unknown estimator 'os.system' of scikit-learn; valid: sklearn"),
        ("sklearn.utils._testing.assert_allclose", {}, "unknown estimator"),
        ("sklearn.preprocessing.StandardScaler", {}, "is not a classifier, or needs other estimators"),
        ("sklearn.linear_model.Ridge", {}, "Ridge is not a classifier, or needs other estimators; .*valid: sklearn"),
        ("sklearn.svm.LinearSVC", {}, "has no probabilities"),
        ("sklearn.svm.SVC", {}, "has no probabilities"),
        (
            "sklearn.tree.DecisionTreeClassifier",
            {"max_dept": 3},
            "unknown parameter 'max_dept' of .*; did you mean 'max_depth'",
        ),
        ("sklearn.ensemble.RandomForestClassifier", {"random_state": 1}, "remove 'random_state' of"),
    ],
)
def test_another_name_or_parameter_is_refused(name: str, parameters: dict[str, Any], expected: str) -> None:
    options = options_for(estimators.build_estimator, estimator=name, parameters=parameters)
    with pytest.raises(HarnessError, match=expected):
        estimators.build_estimator(ModelRequest(options, {"features": 2, "outputs": 2, "classes": 2}))


def test_a_parameter_that_the_estimator_refuses_is_one_message() -> None:
    keys = {"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": "deep"}}
    with pytest.raises(HarnessError, match=r"tree\.DecisionTreeClassifier cannot be fitted: .*max_depth") as text:
        cell(CLASSIFICATION, "iris", SKLEARN, keys).build(0).build()
    assert "\n" not in str(text.value)


@pytest.mark.parametrize(
    ("task", "target", "expected"),
    [
        (REGRESSION, "kind", "the target 'kind' is text .*tabular-classification"),
        (CLASSIFICATION, "length", "different numbers in 60 rows, too many for classes; use the task tabular-regress"),
    ],
)
def test_a_target_of_the_other_kind_names_the_other_task(tmp_path: Path, task: str, target: str, expected: str) -> None:
    path = written(tmp_path / "own.csv", flowers())
    with pytest.raises(HarnessError, match=expected):
        Cell(task, TABLE, MLP, data_keys={"path": str(path), "target": target}).build(0).build()


def test_scores_are_scikit_learns() -> None:
    from sklearn import metrics

    draws = np.random.default_rng(0)
    probabilities, labels = draws.dirichlet(np.ones(4), 50), draws.integers(0, 4, 50)
    result = class_scores(probabilities, labels)
    assert result["log-loss"] == pytest.approx(metrics.log_loss(labels, probabilities))
    ovr = metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert result["roc-auc"] == pytest.approx(100 * ovr)
    text = probabilities.argmax(1)
    assert result["balanced-accuracy"] == pytest.approx(100 * metrics.balanced_accuracy_score(labels, text))
    assert math.isnan(class_scores(probabilities, np.zeros(50, dtype=int))["roc-auc"])
    predicted, targets = draws.normal(size=(2, 30))
    numbers = number_scores(predicted, targets)
    assert numbers["r2"] == pytest.approx(metrics.r2_score(targets, predicted))
    assert numbers["rmse"] == pytest.approx(metrics.root_mean_squared_error(targets, predicted))


def test_a_column_of_several_files_is_of_texts_as_soon_as_one_is() -> None:
    column = joined([np.array([1.0, np.nan]), np.array(["a", None], dtype=object)])
    assert column.tolist() == ["1", None, "a", None]
