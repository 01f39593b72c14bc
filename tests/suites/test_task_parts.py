"""Parts of the tasks against what they claim: augmentation, mixing, frozen BatchNorm, recall, memory, unigrams."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from task_lab import DIGITS, RETRIEVAL, Cell
from torch import nn

from harness.errors import HarnessError
from suites.data.types import Text
from suites.tasks.augment import AUGMENTATIONS, MixingOptions, augment, crop_boxes, mix_batch, resized_crop, translate
from suites.tasks.classification import score
from suites.tasks.common import calibrate_batch_norms, evaluating, freeze_batch_norms
from suites.tasks.language_modelling import in_lanes, perplexity, unigram_loss
from suites.tasks.retrieval import chance, neighbours

XL = Cell(
    "suites.tasks.language_modelling:language-modelling",
    "suites.data.help_topics:help-topics",
    "suites.models.language_models:transformer-xl",
    {"batch_size": 4, "length": 8, "eval_batch": 4},
    {"min_count": 10},
    {"layers": 1, "width": 16, "heads": 2, "head_width": 8, "inner": 16, "memory": 12, "eval_memory": 12},
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_augmentation_keeps_shapes_and_follows_the_generator(kind: str) -> None:
    images = torch.rand(6, 3, 16, 16, generator=generator())
    out, again, other = (augment(images, kind, generator(seed)) for seed in (1, 1, 2))
    assert out.shape == images.shape
    assert torch.equal(out, again)
    assert torch.equal(out, other) == (kind == "none")


def test_an_unknown_augmentation_lists_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="none, shift, crop-flip, imagenet, flip"):
        augment(torch.zeros(1, 1, 8, 8), "rotate", generator())


def test_translation_moves_every_image_by_its_own_step() -> None:
    images = torch.zeros(200, 2, 9, 9)
    images[:, :, 4, 4] = 1
    moved = translate(images, 2, generator())
    assert torch.equal(moved.sum(dim=(2, 3)), torch.ones(200, 2))
    rows, columns = moved[:, 0].flatten(1).argmax(1) // 9 - 4, moved[:, 0].flatten(1).argmax(1) % 9 - 4
    assert set(rows.tolist()) == set(columns.tolist()) == {-2, -1, 0, 1, 2}
    assert torch.equal(moved[:, 0], moved[:, 1])


def test_flip_mirrors_half_of_the_images_and_does_no_more() -> None:
    images = torch.rand(400, 3, 4, 4, generator=generator())
    flipped = augment(images, "flip", generator())
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert (mirrored ^ (flipped == images).flatten(1).all(1)).all()
    assert 150 < mirrored.sum() < 250


def test_crop_boxes_lie_inside_and_cover_the_stated_area() -> None:
    boxes = crop_boxes(2000, generator())
    top, left, height, width = boxes.unbind(1)
    assert (boxes >= 0).all()
    assert (top + height <= 1 + 1e-6).all()
    assert (left + width <= 1 + 1e-6).all()
    area = height * width
    assert area.min() > 0.06
    assert area.max() <= 1
    assert ((width / height).log().abs() < math.log(1.8)).all()


def test_a_resized_crop_shows_the_box_it_drew() -> None:
    # On a linear ramp the crop of a box is the ramp between its borders.
    ramp = ((torch.arange(32) + 0.5) / 32).expand(50, 1, 32, 32)
    out = resized_crop(ramp, generator(3))
    _, left, _, width = crop_boxes(50, generator(3)).unbind(1)
    expected = left[:, None] + width[:, None] * (torch.arange(32) + 0.5) / 32
    torch.testing.assert_close(out[:, 0, 16, 2:-2], expected[:, 2:-2], atol=0.02, rtol=0)


def test_cutmix_pastes_the_area_that_its_weight_says() -> None:
    images = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 16, 16)
    for seed in range(20):
        mixed, partner, weight = mix_batch(
            images, generator(seed), MixingOptions(cutmix=1.0, mixup=0.0, mix_probability=1.0)
        )
        own = (mixed == images).float().mean(dim=(1, 2, 3))
        torch.testing.assert_close(own, torch.where(partner == torch.arange(8), 1.0, weight))
        assert ((mixed == images) | (mixed == images[partner])).all()


def test_mixup_is_the_weighted_mean_and_can_be_rare() -> None:
    images = torch.rand(8, 1, 4, 4, generator=generator())
    mixed, partner, weight = mix_batch(images, generator(1), MixingOptions(cutmix=0.0, mixup=0.4, mix_probability=1.0))
    torch.testing.assert_close(mixed, weight * images + (1 - weight) * images[partner])
    untouched = [
        mix_batch(images, generator(s), MixingOptions(cutmix=1.0, mixup=0.0, mix_probability=0.25))[2] == 1
        for s in range(200)
    ]
    assert 120 < sum(untouched) < 180


def test_mixed_labels_are_weighted_as_the_images() -> None:
    task = replace(DIGITS, recipe={**DIGITS.recipe, "mixup": 1.0}).build(0)
    model = task.build()
    batch = next(iter(task.batches(0)))
    logits = model(batch.images)
    soft = batch.weight * nn.functional.one_hot(batch.labels, 10) + (1 - batch.weight) * nn.functional.one_hot(
        batch.mixed_labels, 10
    )
    expected = nn.functional.cross_entropy(logits, soft.float())
    torch.testing.assert_close(task.training_step(batch, 0).loss, expected)
    assert 0 < batch.weight < 1


def test_calibration_gives_the_statistics_of_the_initial_network() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3))
    batches = [torch.randn(16, 1, 9, 9) + 2 for _ in range(3)]
    weights = [p.clone() for p in model.parameters()]
    calibrate_batch_norms(model, batches)
    activations = [model[0](batch) for batch in batches]
    mean = torch.stack([a.mean(dim=(0, 2, 3)) for a in activations]).mean(0)
    variance = torch.stack([a.transpose(0, 1).flatten(1).var(1) for a in activations]).mean(0)
    torch.testing.assert_close(model[1].running_mean, mean)
    torch.testing.assert_close(model[1].running_var, variance)
    assert model[1].momentum == 0.1
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))
    # Both layers are normalised from the start, as they would be in training.
    freeze_batch_norms(model)
    out = model(torch.cat(batches))
    assert out.mean(dim=(0, 2, 3)).abs().max() < 0.1
    torch.testing.assert_close(out.std(dim=(0, 2, 3)), torch.ones(3), atol=0.15, rtol=0)


@pytest.mark.parametrize(
    "cell",
    [
        replace(DIGITS, recipe={**DIGITS.recipe, "frozen_bn": True}),
        replace(RETRIEVAL, recipe={**RETRIEVAL.recipe, "bn": "frozen"}),
    ],
)
def test_frozen_statistics_stay_while_weights_learn(cell: Cell) -> None:
    task = cell.build(0)
    model = task.build()
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    before = [(norm.running_mean.clone(), norm.weight.clone()) for norm in norms]
    assert all(mean.abs().max() > 0 for mean, _ in before)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()  # as the loop does before each step
    task.training_step(next(iter(task.batches(0))), 0).loss.backward()
    optimizer.step()
    task.evaluate("validation")
    for norm, (mean, weight) in zip(norms, before, strict=True):
        assert torch.equal(norm.running_mean, mean)
        assert not torch.equal(norm.weight, weight)


@pytest.mark.parametrize(("frozen", "low", "high"), [(False, 0.999, 1.0), (True, 0.0, 0.05)])
def test_the_projection_fires_on_convolutions_only_with_batch_statistics(frozen: bool, low: float, high: float) -> None:
    from methods.optimizers.adamp import AdamP

    task = replace(DIGITS, recipe={**DIGITS.recipe, "frozen_bn": frozen}).build(0)
    model = task.build()
    optimizer = AdamP(model.parameters(), lr=1e-2, weight_decay=1e-2, record=True)
    convolutions = [part.weight for part in model.modules() if isinstance(part, nn.Conv2d)]
    fired = []
    for step, batch in enumerate(batch for epoch in range(8) for batch in task.batches(epoch)):
        optimizer.zero_grad()
        model.train()
        task.training_step(batch, step).loss.backward()
        optimizer.step()
        views = optimizer.fired_views()
        fired += [bool(views[weight]) for weight in convolutions]
    assert low <= np.mean(fired) <= high


def test_evaluation_mode_is_left_as_it_was_found() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    model.train()
    model[0].eval()
    with evaluating(model):
        assert not model.training
        assert not torch.is_grad_enabled()
    assert [part.training for part in model.modules()] == [True, False, True]
    assert torch.is_grad_enabled()


def test_accuracies_equal_scikit_learn() -> None:
    from sklearn.metrics import top_k_accuracy_score

    logits, labels = torch.randn(300, 12, generator=generator()), torch.randint(0, 12, (300,), generator=generator(1))
    scores = score(logits, labels, 3)
    for name, top in (("top1-accuracy", 1), ("top5-accuracy", 5)):
        theirs = top_k_accuracy_score(labels, logits, k=top, labels=range(12))
        assert scores[name] == pytest.approx(100 * theirs)
    assert scores["trivial.top1-accuracy"] == pytest.approx(100 * float((labels == 3).float().mean()))
    assert "top5-accuracy" not in score(logits[:, :9], labels % 9, 0)


def test_neighbours_equal_a_sort_of_all_similarities() -> None:
    queries = nn.functional.normalize(torch.randn(37, 5, generator=generator()), dim=1)
    gallery = nn.functional.normalize(torch.randn(23, 5, generator=generator(1)), dim=1)
    expected = (queries.double() @ gallery.double().T).argsort(dim=1, descending=True)[:, :8]
    assert torch.equal(neighbours(queries, gallery, 8, 10), expected)
    alone = queries.double() @ queries.double().T
    alone.fill_diagonal_(-2)
    assert torch.equal(neighbours(queries, None, 8, 10), alone.argsort(dim=1, descending=True)[:, :8])
    assert neighbours(queries[:3], None, 8, 10).shape == (3, 2)


def test_chance_is_what_random_embeddings_reach() -> None:
    labels = torch.randint(0, 7, (600,), generator=generator()) ** 2 % 7
    hits = []
    for seed in range(40):
        embeddings = nn.functional.normalize(torch.randn(600, 16, generator=generator(seed)), dim=1)
        result = neighbours(embeddings, None, 1, 100)[:, 0]
        hits.append(float((labels[result] == labels).double().mean()))
    assert chance(labels, labels, alone=True) == pytest.approx(100 * np.mean(hits), abs=1.0)


def test_recall_counts_the_right_class_among_the_nearest() -> None:
    task = RETRIEVAL.build(0)
    model = task.build()
    metrics = task.evaluate("test").metrics
    part = task.data.splits["test"]
    with evaluating(model):
        embeddings = model(task.splits["test"].take(torch.arange(len(part)))[0]).numpy().astype(np.float64)
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -2)
    order = np.argsort(-similarity, axis=1)
    for rank in (1, 2, 4, 8):
        hits = (part.labels[order[:, :rank]] == part.labels[:, None]).any(1)
        assert metrics[f"recall-at-{rank}"] == pytest.approx(100 * hits.mean(), abs=0.5)


def test_retrieval_refuses_classes_that_are_in_both_splits() -> None:
    data = RETRIEVAL.data_for(0)
    mixed = replace(data, splits={**data.splits, "test": data.splits["train"]})
    with pytest.raises(HarnessError, match="50 classes are both in train and in test"):
        RETRIEVAL.build(0, data=mixed).build()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"batch_size": 10_000}, "must lie in 1–300"),
        ({"batch_size": 20, "images_per_class": 3}, "does not consist of"),
        ({"batch_size": 204, "images_per_class": 4}, "at most 50 classes"),
    ],
)
def test_retrieval_refuses_batches_that_cannot_be_filled(recipe: dict[str, int], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        replace(RETRIEVAL, recipe=recipe).build(0).build()


def test_balanced_batches_hold_whole_classes() -> None:
    task = replace(RETRIEVAL, recipe={"batch_size": 20, "images_per_class": 4}).build(0)
    task.build()
    for batch in task.batches(0):
        assert sorted(torch.bincount(batch.labels).tolist(), reverse=True)[:5] == [4] * 5
        assert len(torch.unique(batch.images.flatten(1), dim=0)) == 20


def test_proxies_learn_a_hundred_times_faster() -> None:
    task = RETRIEVAL.build(0)
    model = task.build()
    network, proxies = task.parameter_groups(model)
    assert proxies["lr_scale"] == 100
    assert [p.shape for p in proxies["params"]] == [(50, 16)]
    assert len(network["params"]) + 1 == len(list(model.parameters()))
    triplets = replace(RETRIEVAL, recipe={"batch_size": 20, "loss": "triplet-semihard", "images_per_class": 4}).build(0)
    assert len(triplets.parameter_groups(triplets.build())) == 1


def test_warm_epochs_train_only_what_follows_the_backbone() -> None:
    task = replace(RETRIEVAL, recipe={"batch_size": 20, "warm_epochs": 1}).build(0)
    model = task.build()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    moved: list[set[bool]] = []
    for step in range(task.steps_per_epoch() + 1):
        optimizer.zero_grad()
        task.training_step(next(iter(task.batches(step))), step).loss.backward()
        optimizer.step()
        body = {not torch.equal(p, start[name]) for name, p in model.named_parameters() if ".body." in name}
        moved.append(body)
    assert all(result == {False} for result in moved[:-1])
    assert True in moved[-1]
    assert not torch.equal(model.network.project.weight, start["network.project.weight"])


def test_windows_follow_each_other_in_every_lane() -> None:
    task = XL.build(0)
    task.build()
    batches = list(task.batches(2))
    lanes = torch.cat([batch.tokens for batch in batches], dim=1)
    assert torch.equal(lanes[:, 1:], torch.cat([batch.targets for batch in batches], dim=1)[:, :-1])
    text = task.texts["train"]
    offset = (text.unfold(0, 60, 1) == lanes[0, :60]).all(1).nonzero()[0, 0]
    rolled = text.roll(-int(offset))
    assert torch.equal(in_lanes(rolled, 4)[:, : lanes.shape[1]], lanes)


def test_memory_is_carried_from_window_to_window_and_saved() -> None:
    task = XL.build(0)
    model = task.build()
    batches = list(task.batches(0))[:3]
    losses = [float(task.training_step(batch, step).loss.detach()) for step, batch in enumerate(batches)]
    whole = torch.cat([batch.tokens for batch in batches], 1), torch.cat([batch.targets for batch in batches], 1)
    # One layer and 12 remembered places: windows 1 and 2 see everything that one long window shows them.
    joint, _ = model(whole[0][:, :16], whole[1][:, :16])
    assert losses[0] == pytest.approx(float(joint[:, :8].mean().detach()), rel=1e-4)
    assert losses[1] == pytest.approx(float(joint[:, 8:].mean().detach()), rel=1e-4)
    assert losses[2] != pytest.approx(float(model(batches[2].tokens, batches[2].targets)[0].mean().detach()), rel=1e-7)
    assert "carried" in model.state_dict()
    assert model.carried.abs().sum() > 0


def text_of(tokens: list[int], words: int) -> Text:
    array = np.array(tokens, dtype=np.int64)
    return Text({"train": array, "validation": array, "test": array}, tuple(map(str, range(words))))


def test_every_token_after_the_first_of_a_lane_is_scored_once() -> None:
    task = replace(XL, recipe={"batch_size": 2, "length": 5, "eval_batch": 3}).build(
        0, data=text_of(list(range(40)) * 4, 40)
    )
    model = task.build()
    counted: list[int] = []

    class Counting(nn.Module):
        def forward(self, tokens: torch.Tensor, targets: torch.Tensor, memory: object) -> tuple[torch.Tensor, None]:
            counted.extend(targets.flatten().tolist())
            return torch.ones(targets.shape), None

    task.model = Counting()
    metrics = task.evaluate("test").metrics
    assert model is not task.model
    assert len(counted) == 3 * (160 // 3 - 1)
    assert metrics["loss"] == pytest.approx(1.0)
    assert metrics["perplexity"] == pytest.approx(math.e)
    assert metrics["bits-per-token"] == pytest.approx(1 / math.log(2))


def test_the_unigram_loss_is_the_cross_entropy_of_the_counts() -> None:
    train_text, other = torch.tensor([0, 0, 1]), torch.tensor([0, 2])
    expected = -(math.log(3 / 6) + math.log(1 / 6)) / 2
    assert unigram_loss(train_text, other, words=3) == pytest.approx(expected)
    assert perplexity(1e4) == math.inf


def test_shuffled_tokens_keep_their_frequencies() -> None:
    plain, shuffled = (replace(XL, recipe={**XL.recipe, "iid": iid}).build(0) for iid in (False, True))
    plain.build(), shuffled.build()
    for split in ("train", "test"):
        assert not torch.equal(plain.texts[split], shuffled.texts[split])
        assert torch.equal(plain.texts[split].sort().values, shuffled.texts[split].sort().values)


def test_a_text_that_is_too_short_is_one_clear_error() -> None:
    with pytest.raises(HarnessError, match="too few for batch_size 4"):
        XL.build(0, data=text_of([0, 1] * 10, 2)).build()
