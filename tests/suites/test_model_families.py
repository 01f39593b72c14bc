"""Models: published sizes, scale-invariance of what should have it, memory and relative positions, weight files."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from task_lab import info_of
from torch import nn

from harness.errors import HarnessError, MissingDataError
from harness.trial.contracts import ModelRequest, Slot
from harness.trial.options import _without_none as without_none
from harness.trial.options import build as build_options
from methods.norms import RMSNorm
from suites.models.language_models import CausalLayer, shift
from suites.models.transformer import Attention
from suites.models.vocabulary import TiedVocabulary


def build(
    where: str, facts: dict[str, Any], norms: dict[str, Slot] | None = None, folder: Path | None = None, **keys: Any
) -> Any:
    module, name = where.split(":")
    info = info_of(module, name)
    places = {} if folder is None else {"backbone": folder}
    request = ModelRequest(build_options(info.options, keys), facts, norms or {}, places)
    torch.manual_seed(0)
    return getattr(importlib.import_module(module), info.target)(request)


CNN, SMALL, VISION = (
    "suites.models.cnn:bn-cnn",
    "suites.models.resnet:resnet-cifar",
    "suites.models.imagenet_zoo:torchvision",
)
LM, XL = "suites.models.language_models:transformer-lm", "suites.models.language_models:transformer-xl"
EMBEDDING = "suites.models.embedding:embedding"
IMAGES = {"channels": 3, "classes": 10, "size": 8}


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (56, 0.85)])
def test_cifar_resnets_have_their_published_sizes(depth: int, millions: float) -> None:
    # He et al. 2016, table 6; two 1×1 shortcuts add 2,752 here.
    assert round((count(build(SMALL, IMAGES, depth=depth)) - 2752) / 1e6, 2) == millions


def test_transformer_xl_base_has_its_published_size() -> None:
    # Dai et al. 2019, table 1: 151 M with 16 layers on the 267,735 words of WikiText-103.
    keys = {"layers": 16, "width": 410, "heads": 10, "head_width": 41, "inner": 2100}
    with torch.device("meta"):
        model = build(XL, {"vocabulary": 267735}, cutoffs=[20000, 40000, 200000], **keys)
    assert round(count(model) / 1e6) == 151


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        (CNN, {}),
        (CNN, {"norm": "group"}),
        (SMALL, {}),
        (SMALL, {"depth": 11, "block": "bottleneck"}),
        (SMALL, {"depth": 11, "block": "inverted"}),
        (CNN, {"norm": "none"}),
    ],
)
def test_convolutions_before_a_norm_are_scale_invariant(where: str, keys: dict[str, Any]) -> None:
    model = build(where, IMAGES, **keys)
    images = torch.randn(16, 3, 8, 8)
    before = model(images)
    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    assert len(convolutions) >= 3
    with torch.no_grad():
        for part in convolutions:
            part.weight *= 3.0
    assert torch.allclose(model(images), before, rtol=1e-3, atol=1e-3) is (keys.get("norm") != "none")


@pytest.mark.parametrize(
    ("where", "keys", "message"),
    [
        (CNN, {"widths": [8, 8], "strides": [1]}, "2 widths and 1 strides"),
        (CNN, {"widths": [12], "strides": [1], "norm": "group"}, "multiples of 8"),
        (SMALL, {"depth": 9}, "valid: 6n"),
        (LM, {"width": 30, "heads": 4}, "multiple of the 4 heads"),
        (XL, {"width": 31}, "must be even"),
        (XL, {"cutoffs": [50, 20]}, "cutoffs must rise"),
        (XL, {"cutoffs": [500]}, "below the 100 words"),
        (LM, {"cutoffs": [0]}, "cutoffs must rise"),
        (VISION, {}, "takes 3 channels, got 1"),
    ],
)
def test_impossible_sizes_are_one_clear_error(where: str, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        build(where, {**IMAGES, "channels": 1, "vocabulary": 100}, **keys)


@pytest.mark.parametrize("backbone", ["cnn", "resnet-cifar", pytest.param("resnet50", marks=pytest.mark.full)])
@pytest.mark.parametrize("pooling", ["average", "average+max"])
def test_embeddings_have_length_one(backbone: str, pooling: str) -> None:
    model = build(EMBEDDING, IMAGES, backbone=backbone, pooling=pooling, widths=[4, 8], dimension=6)
    out = model(torch.randn(3, 3, 32, 32))
    assert out.shape == (3, 6)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(3))


def test_a_pretrained_backbone_takes_weights_by_their_published_names(tmp_path: Path) -> None:
    from torchvision.models import resnet50

    published = resnet50(weights=None)
    torch.save(published.state_dict(), tmp_path / "resnet50.pth")
    model = build(EMBEDDING, IMAGES, backbone="resnet50", pretrained=True, folder=tmp_path)
    torch.testing.assert_close(model.body.state_dict()["layer3.1.conv2.weight"], published.layer3[1].conv2.weight.data)
    assert model.pretrained


def test_missing_foreign_or_harmful_weights_are_reported_and_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="random weights are not used instead"):
        build(EMBEDDING, IMAGES, backbone="resnet50", pretrained=True)
    with pytest.raises(MissingDataError, match="found 0"):
        build(EMBEDDING, IMAGES, pretrained=True, folder=tmp_path)
    torch.save({"0.weight": torch.zeros(2, 2)}, tmp_path / "weights.pth")
    with pytest.raises(HarnessError, match="is not of this backbone"):
        build(EMBEDDING, IMAGES, pretrained=True, folder=tmp_path)

    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return (exec, ("raise SystemExit('ran')",))

    torch.save({"0.weight": Harmful()}, tmp_path / "weights.pth")
    with pytest.raises(HarnessError, match="cannot be read"):
        build(EMBEDDING, IMAGES, pretrained=True, folder=tmp_path)


def test_the_shift_turns_distances_into_keys() -> None:
    steps, past = 4, 3
    length = steps + past
    scores = torch.randn(2, 1, steps, length)
    moved = shift(scores)
    for query in range(steps):
        for key in range(past + query + 1):
            distance = past + query - key
            torch.testing.assert_close(moved[:, :, query, key], scores[:, :, query, length - 1 - distance])


@pytest.mark.parametrize("where", [LM, XL])
def test_language_models_do_not_see_the_future(where: str) -> None:
    model = build(where, {"vocabulary": 50}, layers=2).eval()
    tokens = torch.randint(0, 50, (2, 9))
    changed = tokens.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 50
    targets = torch.randint(0, 50, (2, 9))
    before, after = model(tokens, targets)[0], model(changed, targets)[0]
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_memory_makes_two_windows_one() -> None:
    # One layer: its memory is exactly the earlier embeddings, so two windows must equal one long window.
    model = build(XL, {"vocabulary": 50}, layers=1, memory=8, eval_memory=8).eval()
    tokens, targets = torch.randint(0, 50, (2, 3, 12)).unbind(0)
    whole, _ = model(tokens, targets)
    first, memory = model(tokens[:, :6], targets[:, :6])
    second, later = model(tokens[:, 6:], targets[:, 6:], memory)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, rtol=1e-4, atol=1e-5)
    assert memory.shape == (1, 6, 3, 128)
    assert later.shape == (1, 8, 3, 128)
    assert not memory.requires_grad


def test_clamped_distances_matter_only_in_evaluation() -> None:
    tokens, targets = torch.randint(0, 50, (2, 3, 12)).unbind(0)
    free, clamped = (build(XL, {"vocabulary": 50}, layers=1, clamp=clamp) for clamp in (0, 3))
    torch.testing.assert_close(free(tokens, targets)[0], clamped(tokens, targets)[0])
    with torch.no_grad():
        for model in (free.eval(), clamped.eval()):
            # Scores of a fresh model hardly tell distances apart.
            model.layers[0].attention.positions.weight *= 50
            model.layers[0].attention.queries.weight *= 50
    assert not torch.allclose(free(tokens, targets)[0], clamped(tokens, targets)[0])


def test_the_adaptive_softmax_is_a_distribution_and_the_full_one_cross_entropy() -> None:
    torch.manual_seed(0)
    vocabulary = TiedVocabulary(40, 8, [5, 20])
    with torch.no_grad():
        for parameter in vocabulary.parameters():
            parameter.normal_()
    hidden = torch.randn(3, 8)
    every = torch.arange(40).expand(3, 40)
    total = (-vocabulary.nll(hidden[:, None].expand(3, 40, 8), every)).exp().sum(1)
    torch.testing.assert_close(total, torch.ones(3))
    vocabulary = TiedVocabulary(30, 8)
    hidden, targets = torch.randn(2, 5, 8), torch.randint(0, 30, (2, 5))
    logits = hidden @ vocabulary.weight.T + vocabulary.bias
    expected = nn.functional.cross_entropy(logits.view(-1, 30), targets.view(-1), reduction="none").view(2, 5)
    torch.testing.assert_close(vocabulary.nll(hidden, targets), expected)


@pytest.mark.parametrize("where", [LM, XL])
def test_weight_norm_makes_every_linear_layer_scale_invariant(where: str) -> None:
    plain, model = (build(where, {"vocabulary": 50}, layers=1, weight_norm=on) for on in (False, True))
    tokens, targets = torch.randint(0, 50, (2, 3, 6)).unbind(0)
    # At the start g = ‖v‖: the same function as without.
    torch.testing.assert_close(plain(tokens, targets)[0], model(tokens, targets)[0])
    directions = [p for name, p in model.named_parameters() if name.endswith("original1")]
    linear = [part for part in plain.modules() if isinstance(part, nn.Linear)]
    assert len(directions) == len(linear) > 0
    before = model(tokens, targets)[0]
    with torch.no_grad():
        for v in directions:
            v *= 5.0
    torch.testing.assert_close(model(tokens, targets)[0], before)


@pytest.mark.parametrize("where", [LM, XL])
def test_the_norm_slot_reaches_every_norm_of_a_language_model(where: str) -> None:
    model = build(where, {"vocabulary": 50}, {"language": Slot("rms", RMSNorm, {})}, layers=2)
    assert sum(isinstance(part, RMSNorm) for part in model.modules()) == 4
    assert not any(type(part) is nn.LayerNorm for part in model.modules())
    assert torch.isfinite(model(torch.zeros(2, 4, dtype=torch.long), torch.zeros(2, 4, dtype=torch.long))[0]).all()


def test_a_union_keeps_its_kinds_beside_none() -> None:
    assert without_none(int | str | None) == (int | str, True)
    assert without_none(int | None) == (int, True)
    assert without_none(int | str) == (int | str, False)


def test_attention_inputs_begin_smaller_by_a_root_of_two() -> None:
    model = build("suites.models.transformer:transformer", {"vocabulary": 50, "padding": 0}, layers=1, width=64)
    attention = next(part for part in model.modules() if isinstance(part, Attention))
    bound = (6 / (2 * 64)) ** 0.5
    assert attention.out.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert attention.queries.weight.abs().max().item() == pytest.approx(bound / 2**0.5, rel=0.01)


def test_a_pre_norm_layer_adds_to_its_input() -> None:
    model = build(LM, {"vocabulary": 50}, layers=1, norm_first=True, dropout=0.0)
    layer = next(part for part in model.modules() if isinstance(part, CausalLayer))
    for linear, bias in ((layer.out, 2.0), (layer.narrow, 1.0)):
        nn.init.zeros_(linear.weight)
        nn.init.constant_(linear.bias, bias)
    x = torch.randn(4, 2, layer.out.in_features)
    torch.testing.assert_close(layer(x), x + 3)
