"""The help set: what it selects, that it never sees a hidden label, UMAP's start, the split by recording, KNN alone."""

import numpy as np
import pytest
from numpy.typing import NDArray

from methods.alignment import help_set
from methods.alignment.diagnostics import purity
from methods.alignment.knn_baselines import KNNMotion, KNNPredictor, KNNRaw, KNNStatic, Majority, item_features

CLASSES = 4
Target = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


def a_target(seed: int = 0, items: int = 60, shots: int = 1, spread: float = 2.0) -> Target:
    """Overlapping classes: items, hidden labels, shots, their labels."""
    g = np.random.default_rng(seed)
    centres = g.normal(size=(CLASSES, 5))
    hidden = g.integers(CLASSES, size=items)
    labels = np.repeat(np.arange(CLASSES), shots)
    features = centres[hidden] + spread * g.normal(size=(items, 5))
    return features, hidden, centres[labels] + spread * g.normal(size=(len(labels), 5)), labels


def test_neighbour_count_is_the_released_rule() -> None:
    assert [help_set.neighbour_count(k) for k in (1, 2, 3, 5)] == [1, 2, 2, 3]
    assert help_set.neighbour_count(3, 7) == 3
    with pytest.raises(ValueError, match="at least 1"):
        help_set.neighbour_count(0)


@pytest.mark.parametrize("confidence", ["farthest", "nearest"])
@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_votes_are_those_of_sklearn(neighbours: int, confidence: str) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    items, _, support, labels = a_target(1, shots=5)
    votes = help_set.vote(items, support, labels, neighbours, confidence)
    theirs = KNeighborsClassifier(n_neighbors=neighbours).fit(support, labels)
    np.testing.assert_array_equal(votes.labels, theirs.predict(items))
    reach, nearest = theirs.kneighbors(items)
    pick = np.max if confidence == "farthest" else np.min
    expected = [pick(r[labels[n] == y]) for r, n, y in zip(reach, nearest, votes.labels, strict=True)]
    np.testing.assert_allclose(votes.distances, expected)


def test_modes_select_as_described() -> None:
    items, _, support, labels = a_target(2)
    votes = help_set.vote(items, support, labels, 1)
    for mode in (0, 1, 2):
        created = help_set.make_help_set(items, support, labels, CLASSES, help_set.HelpSetOptions(mode=mode, share=0.4))
        np.testing.assert_array_equal(created.labels, votes.labels[created.places])
        assert len(set(created.places.tolist())) == len(created.places)
        counts = np.bincount(votes.labels, minlength=CLASSES)
        kept = np.bincount(created.labels, minlength=CLASSES)
        if mode == 1:
            assert len(created.places) == int(60 * 0.4)
            assert votes.distances[created.places].max() <= np.delete(votes.distances, created.places).min()
        quota = np.full(CLASSES, int(60 * 0.4 / CLASSES)) if mode == 0 else (counts * 0.4).astype(int)
        if mode != 1:
            np.testing.assert_array_equal(kept, np.minimum(counts, quota))
            for label in range(CLASSES):
                members = np.flatnonzero(votes.labels == label)
                left = np.setdiff1d(members, created.places)
                if len(left) and kept[label]:
                    chosen = created.places[created.labels == label]
                    assert votes.distances[chosen].max() <= votes.distances[left].min()


def test_hidden_labels_are_not_accepted_without_the_oracle() -> None:
    items, hidden, support, labels = a_target(3)
    for oracle, value in ((False, hidden), (True, None)):
        with pytest.raises(ValueError, match="hidden_labels require oracle_labels=True"):
            help_set.make_help_set(
                items, support, labels, CLASSES, help_set.HelpSetOptions(oracle_labels=oracle), hidden_labels=value
            )


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_the_oracle_leaks_and_the_default_does_not(mode: int) -> None:
    items, hidden, support, labels = a_target(4)
    plain = help_set.make_help_set(items, support, labels, CLASSES, help_set.HelpSetOptions(mode=mode))
    leaking = help_set.HelpSetOptions(mode=mode, oracle_labels=True)
    oracle = help_set.make_help_set(items, support, labels, CLASSES, leaking, hidden_labels=hidden)
    np.testing.assert_array_equal(plain.places, oracle.places)
    assert purity(oracle.labels, hidden[oracle.places]) == 1
    assert purity(plain.labels, hidden[plain.places]) < 0.9
    shuffled = np.random.default_rng(0).permutation(hidden)
    leaked = help_set.make_help_set(items, support, labels, CLASSES, leaking, hidden_labels=shuffled)
    assert not np.array_equal(leaked.labels, oracle.labels)


def pipeline(hidden_of_rest: NDArray[np.int64], oracle: bool) -> help_set.HelpSet:
    """Everything from a labelled target on but UMAP: the split draws shots by label, the rest loses its labels."""
    g = np.random.default_rng(5)
    labels = np.repeat(np.arange(CLASSES), 12)
    features = g.normal(size=(48, 6)) + labels[:, None]
    split = help_set.choose_support(labels, list(range(48)), 1, np.random.default_rng(0))
    labels = labels.copy()
    labels[split.rest] = hidden_of_rest
    embedding = features[:, :2]
    return help_set.make_help_set(
        embedding[split.rest],
        embedding[split.support],
        labels[split.support],
        CLASSES,
        help_set.HelpSetOptions(oracle_labels=oracle),
        hidden_labels=labels[split.rest] if oracle else None,
    )


def test_permuting_the_hidden_labels_changes_nothing_but_the_oracle() -> None:
    hidden = np.repeat(np.arange(CLASSES), 11)
    permuted = np.random.default_rng(1).permutation(hidden)
    first, second = pipeline(hidden, False), pipeline(permuted, False)
    for name in ("places", "labels", "votes"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    first, second = pipeline(hidden, True), pipeline(permuted, True)
    np.testing.assert_array_equal(first.places, second.places)
    assert not np.array_equal(first.labels, second.labels)


# The first UMAP of a process compiles for half a minute on a busy machine; the next take a tenth of a second.
@pytest.mark.full
def test_umap_starts_at_random_where_spectral_fails() -> None:
    assert help_set.umap_init(64, 62) == "spectral"
    assert help_set.umap_init(64, 63) == "random"
    assert help_set.umap_init(60, 128) == "random"
    items = np.random.default_rng(0).normal(size=(12, 7))
    wide = help_set.reduce(items, dimensions=11, random_state=1)
    assert wide.shape == (12, 11)
    assert bool(np.isfinite(wide).all())
    assert help_set.reduce(items, dimensions=10, random_state=1).shape == (12, 10)
    np.testing.assert_array_equal(wide, help_set.reduce(items, dimensions=11, random_state=1))
    with pytest.raises(ValueError, match="3 items or more"):
        help_set.reduce(items[:2], random_state=0)


def test_corruption_is_a_dose() -> None:
    labels = np.random.default_rng(0).integers(CLASSES, size=40)
    for share in (0.0, 0.25, 0.75, 1.0):
        corrupted = help_set.corrupt_labels(labels, share, CLASSES, np.random.default_rng(1))
        assert (corrupted != labels).sum() == round(40 * share)
        assert corrupted.min() >= 0
        assert corrupted.max() < CLASSES
    with pytest.raises(ValueError, match="share"):
        help_set.corrupt_labels(labels, 1.5, CLASSES, np.random.default_rng(1))


def test_what_the_help_set_refuses() -> None:
    items, _, support, labels = a_target(6)
    for options, message in (
        ({"mode": 3}, "mode must be one of 0, 1, 2"),
        ({"share": 0.0}, "share must lie"),
        ({"confidence": "middle"}, "farthest, nearest"),
    ):
        with pytest.raises(ValueError, match=message):
            help_set.HelpSetOptions(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="share a width"):
        help_set.make_help_set(items[:, :3], support, labels, CLASSES)


def test_support_and_rest_share_no_recording() -> None:
    g = np.random.default_rng(2)
    recordings = np.repeat(np.arange(30), 3)
    labels = (recordings % 3).astype(np.int64)
    split = help_set.choose_support(labels, recordings.tolist(), 2, g)
    assert np.bincount(labels[split.support]).tolist() == [2, 2, 2]
    assert len(set(recordings[split.support])) == 6
    assert not set(recordings[split.support]) & set(recordings[split.rest])
    assert len(split.rest) == 90 - 6 * 3
    again = help_set.choose_support(labels, recordings.tolist(), 2, np.random.default_rng(2))
    np.testing.assert_array_equal(split.support, again.support)
    with pytest.raises(ValueError, match="class 0 has 10 separate recordings"):
        help_set.choose_support(labels, recordings.tolist(), 11, g)


# KNN alone: a channel with a fingerprint of the session and a motion of the action


def items_of(session: NDArray[np.int64], action: NDArray[np.int64], g: np.random.Generator) -> NDArray[np.float64]:
    prints = np.random.default_rng(7).normal(size=(10, 6))
    time = np.arange(40)[:, None]
    waves = np.stack([np.sin(2 * np.pi * (a + 1) * time / 40) * np.ones(6) for a in range(4)])
    noise = 0.05 * g.normal(size=(len(session), 40, 6))
    return 10 + prints[session][:, None, :] + 0.3 * waves[action] + noise


def test_static_reads_the_session_and_motion_the_action() -> None:
    g = np.random.default_rng(8)
    action = g.integers(4, size=80)
    session = g.integers(10, size=80)
    support_action, support_session = np.arange(4), np.arange(4)
    items, support = items_of(session, action, g), items_of(support_session, support_action, g)
    empty = np.array([], dtype=np.int64)

    def accuracy(predictor: KNNPredictor, truth: NDArray[np.int64]) -> float:
        return float((predictor.predict(items, support, support_action, empty) == truth).mean())

    assert accuracy(KNNMotion(), action) == 1
    assert accuracy(KNNStatic(), action) < 0.5
    existing = session < 4
    static = KNNStatic().predict(items[existing], support, support_action, empty)
    np.testing.assert_array_equal(static, session[existing])
    raw = KNNRaw().predict(items[existing], support, support_action, empty)
    assert (raw == session[existing]).mean() > 0.9


def test_item_features() -> None:
    items = np.random.default_rng(9).normal(size=(3, 1, 20, 4))
    assert item_features(items, "raw").shape == (3, 80)
    assert item_features(items, "static").shape == (3, 4)
    motion = item_features(items, "motion").reshape(3, 20, 4)
    np.testing.assert_allclose(motion.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(motion.std(axis=1), 1)
    assert bool((item_features(np.ones((2, 5, 3)), "motion") == 0).all())
    with pytest.raises(ValueError, match="raw, static, motion"):
        item_features(items, "spectral")


def test_majority_takes_the_sources_class() -> None:
    items = np.zeros((5, 4, 3))
    source = np.array([2, 2, 1, 0, 2])
    assert Majority().predict(items, items[:2], np.array([0, 1]), source).tolist() == [2] * 5
    with pytest.raises(ValueError, match="source labels are required"):
        Majority().predict(items, items[:2], np.array([0, 1]), source[:0])
