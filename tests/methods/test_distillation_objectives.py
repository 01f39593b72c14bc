"""The objectives as modules: one contract, options, state, mechanisms, no side effects."""

from __future__ import annotations

import copy
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import methods.distillation as package
from methods.distillation.dkd import DKD
from methods.distillation.inputs import DistillationBatch, Objective, RandomStream, shape_arguments
from methods.distillation.kd import KD, kd_loss
from methods.distillation.mgd import MGD
from methods.distillation.nkd import NKD, nkd_loss
from methods.distillation.ps_kd import PSKD
from methods.distillation.srrl import SRRL
from methods.distillation.uskd import USKD
from methods.metadata import MethodMetadata

ITEMS, CLASSES, STUDENT, TEACHER = 12, 6, 5, 4
SHAPES = {"classes": CLASSES, "feature_channels": STUDENT, "teacher_channels": TEACHER, "items": 40}


def infos() -> Iterator[tuple[MethodMetadata, Any]]:
    for module in pkgutil.iter_modules(package.__path__):
        loaded = importlib.import_module(f"methods.distillation.{module.name}")
        if hasattr(loaded, "METADATA"):
            yield loaded.METADATA, getattr(loaded, loaded.METADATA.target)


METHODS = {info.name: (info, factory) for info, factory in infos()}


def make(name: str, **options: Any) -> Objective:
    torch.manual_seed(0)
    factory = METHODS[name][1]
    return factory(**shape_arguments(factory, **SHAPES), **options)


def a_batch(
    seed: int = 0, mixed: bool = False, maps: bool = True, dtype: torch.dtype = torch.float32
) -> DistillationBatch:
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (ITEMS,), generator=g)
    masses = torch.softmax(3 * torch.randn(ITEMS, CLASSES, generator=g), dim=1)
    size = (3, 3) if maps else ()
    head = nn.Linear(TEACHER, CLASSES)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=g) / 2)
    return DistillationBatch(
        logits=(2 * torch.randn(ITEMS, CLASSES, generator=g)).to(dtype).requires_grad_(),
        labels=masses if mixed else labels,
        teacher_logits=(2 * torch.randn(ITEMS, CLASSES, generator=g)).to(dtype),
        feature=torch.randn(ITEMS, STUDENT, *size, generator=g).to(dtype).requires_grad_(),
        teacher_feature=torch.randn(ITEMS, TEACHER, *size, generator=g).to(dtype),
        teacher_head=head,
        index=torch.randperm(40, generator=g)[:ITEMS],
        progress=0.4,
        epoch=4,
    )


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_record_is_the_constructor(name: str) -> None:
    info, factory = METHODS[name]
    parameters = inspect.signature(factory).parameters
    assert set(info.required) == {k for k, p in parameters.items() if p.default is inspect.Parameter.empty}
    assert info.slot == "objective"
    assert factory.name == info.name
    assert set(factory.needs) == set(info.needs)
    assert factory.__doc__
    for option, values in info.options.items():
        for value in values:
            make(name, **{option: value})
    for option, values in info.options.items():
        if all(isinstance(value, str) for value in values):
            with pytest.raises(ValueError, match=rf"{name}: {option} must be one of"):
                make(name, **{option: "no such"})


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("name", sorted(METHODS))
def test_total_is_the_sum_of_the_terms_and_has_a_gradient(name: str, maps: bool, mixed: bool) -> None:
    objective, batch = make(name), a_batch(mixed=mixed, maps=maps)
    loss = objective(batch)
    torch.testing.assert_close(loss.total.detach(), torch.stack(list(loss.terms.values())).sum())
    assert not any(term.requires_grad for term in loss.terms.values())
    loss.total.backward()
    assert batch.logits.grad is not None
    assert bool(batch.logits.grad.isfinite().all())
    assert float(batch.logits.grad.abs().sum()) > 0
    for parameter in objective.parameters():
        assert parameter.grad is not None


@pytest.mark.parametrize("name", sorted(METHODS))
def test_total_is_the_terms_of_the_slow_form(name: str) -> None:
    objective, batch = make(name), a_batch(1)
    twin = copy.deepcopy(objective)
    ours = torch.autograd.grad(objective(batch).total, batch.logits)[0]
    theirs = torch.autograd.grad(sum(twin.terms(batch).values()), batch.logits)[0]
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_diagnostics_are_the_recorded_names_and_disturb_nothing(name: str) -> None:
    info, _ = METHODS[name]
    objective, batch = make(name), a_batch(2)
    assert objective.diagnostics() == {}
    objective.record = True
    objective(batch)
    before = {key: value.clone() for key, value in objective.state_dict().items()}
    quantities = objective.diagnostics()
    assert set(quantities) == set(info.diagnostics)
    for quantity, value in quantities.items():
        assert value.ndim == 0, quantity
        assert not value.requires_grad, quantity
        assert bool(value.isfinite()), quantity
    shares = [float(v) for k, v in quantities.items() if k.startswith("grad_share_")]
    assert sum(shares) == pytest.approx(1)
    after = objective.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.grad is None for p in objective.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(METHODS))
def test_half_precision_gives_a_single_precision_loss(name: str, dtype: torch.dtype) -> None:
    objective, wide = make(name), a_batch(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        batch = a_batch(3, dtype=dtype)
        loss = objective(batch)
    assert loss.total.dtype == torch.float32
    torch.testing.assert_close(loss.total, make(name)(wide).total, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_missing_input_is_named(name: str) -> None:
    batch = a_batch()
    bare = DistillationBatch(batch.logits, batch.labels)
    needs = METHODS[name][0].needs
    if not needs:
        assert bool(make(name)(bare).total.isfinite())
        return
    with pytest.raises(ValueError, match=rf"{name}: the batch lacks"):
        make(name)(bare)


def test_shapes_that_do_not_fit_are_refused() -> None:
    batch = a_batch()
    with pytest.raises(ValueError, match=r"labels must be \(12,\) indices or \(12, 6\) masses, got \(3,\)"):
        make("kd")(DistillationBatch(batch.logits, batch.labels[:3], batch.teacher_logits))
    with pytest.raises(ValueError, match=r"teacher_logits must be \(12, 6\)"):
        make("kd")(DistillationBatch(batch.logits, batch.labels, torch.zeros(ITEMS, 3)))
    with pytest.raises(ValueError, match="two classes or more"):
        make("cross-entropy")(DistillationBatch(torch.zeros(3, 1), torch.zeros(3, dtype=torch.long)))
    with pytest.raises(ValueError, match="feature must be"):
        make("uskd")(DistillationBatch(batch.logits, batch.labels, feature=torch.zeros(ITEMS, STUDENT + 1)))
    with pytest.raises(ValueError, match="one size"):
        make("mgd")(
            DistillationBatch(
                batch.logits, batch.labels, feature=batch.feature, teacher_feature=torch.zeros(ITEMS, 4, 2, 2)
            )
        )


# Weights and ablations


def test_cross_entropy_weights() -> None:
    batch = a_batch(5)
    plain = make("cross-entropy")(batch).total.detach()
    assert make("kd", alpha=0.3)(batch).terms["cross_entropy"] == pytest.approx(0.7 * float(plain))
    assert make("kd", alpha=3.5, ce_weight=1.0)(batch).terms["cross_entropy"] == pytest.approx(float(plain))
    with pytest.raises(ValueError, match="set ce_weight"):
        KD(alpha=3.5)
    for name in ("nkd", "dkd", "wsld", "uskd", "srrl", "mgd", "tf-nkd"):
        assert make(name)(batch).terms["cross_entropy"] == pytest.approx(float(plain))


def test_nkd_ablations() -> None:
    batch = a_batch(6)
    assert batch.teacher_logits is not None
    full = NKD(temperature=3.0, gamma=3.5)(batch)
    target = NKD(temperature=3.0, gamma=0.0)(batch)
    assert float(target.terms["non_target"]) == 0
    assert target.terms["target"] == full.terms["target"]
    assert float(NKD(alpha=0.0)(batch).terms["target"]) == 0
    unnormalised = NKD(temperature=3.0, gamma=3.5, normalise=False)(batch)
    assert not torch.isclose(unnormalised.total, full.total)
    every = NKD(temperature=3.0, gamma=3.5, mask="all")(batch).terms["non_target"]
    torch.testing.assert_close(every, 3.5 * kd_loss(batch.logits, batch.teacher_logits, 3.0).detach())
    torch.testing.assert_close(
        full.total, full.terms["cross_entropy"] + nkd_loss(batch.logits, batch.teacher_logits, batch.labels, 3.0, 3.5)
    )


def test_dkd_warms_up_linearly() -> None:
    batch = a_batch(7)
    full = DKD()(batch).terms["non_target"]
    torch.testing.assert_close(DKD(warmup_epochs=20)(batch).terms["non_target"], full * 4 / 20)
    torch.testing.assert_close(DKD(warmup_epochs=2)(batch).terms["non_target"], full)
    torch.testing.assert_close(DKD(warmup_fraction=0.5)(batch).terms["non_target"], full * 0.8)
    with pytest.raises(ValueError, match="not both"):
        DKD(warmup_epochs=2, warmup_fraction=0.1)


@pytest.mark.parametrize("source", ["paper", "random", "uniform", "teacher", "weak", "student", "unnormalised"])
def test_uskd_rank_sources_change_only_the_non_target_term(source: str) -> None:
    batch = a_batch(8)
    released, other = make("uskd")(batch).terms, make("uskd", rank=source)(batch).terms
    for name in ("cross_entropy", "target", "weak"):
        assert released[name] == other[name]
    assert not torch.isclose(released["non_target"], other["non_target"])


def test_uskd_rank_by_teacher_follows_the_teacher() -> None:
    batch = a_batch(9)
    quantities = make("uskd", rank="teacher").diagnostics(batch)
    assert float(quantities["rank_teacher_spearman"]) == pytest.approx(1)
    assert abs(float(make("uskd", rank="random").diagnostics(batch)["rank_teacher_spearman"])) < 0.5
    with pytest.raises(ValueError, match="needs teacher_logits"):
        make("uskd", rank="teacher")(DistillationBatch(batch.logits, batch.labels, feature=batch.feature))


def test_uskd_never_reads_the_teacher_unless_it_ranks_by_it() -> None:
    batch = a_batch(10)
    alone = DistillationBatch(batch.logits, batch.labels, feature=batch.feature)
    assert make("uskd")(batch).total == make("uskd")(alone).total


def test_uskd_trains_the_feature_through_the_weak_head() -> None:
    batch = a_batch(11)
    assert batch.feature is not None
    make("uskd")(batch).total.backward()
    assert batch.feature.grad is not None
    assert float(batch.feature.grad.abs().sum()) > 0
    silent = a_batch(11)
    USKD(STUDENT, CLASSES, mu=0.0)(silent).total.backward()
    assert silent.feature is not None
    assert silent.feature.grad is not None
    assert float(silent.feature.grad.abs().sum()) == 0


def test_ps_kd_learns_from_its_own_past() -> None:
    objective, batch = PSKD(40, CLASSES, alpha=0.5), a_batch(12)
    assert batch.index is not None
    plain = make("cross-entropy")(batch).total
    torch.testing.assert_close(objective(batch).total, plain)  # nothing seen yet: labels alone
    assert int(objective.seen.sum()) == ITEMS
    again = objective(batch)
    own = batch.logits.detach().softmax(1)
    share = 0.5 * batch.progress
    expected = (1 - share) * plain - share * (own * batch.logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(again.total, expected)
    objective.eval()
    changed = DistillationBatch(batch.logits + 1, batch.labels, index=batch.index + 0)
    before = objective.predictions.clone()
    objective(changed)
    assert torch.equal(before, objective.predictions)


def test_srrl_is_zero_where_the_connected_feature_is_the_teachers() -> None:
    batch = a_batch(13)
    objective = SRRL(STUDENT, TEACHER)
    assert batch.feature is not None
    assert batch.teacher_head is not None
    with torch.no_grad():
        connected = objective.connector(batch.feature)
        logits = batch.teacher_head(connected.mean(dim=(2, 3)))
    perfect = DistillationBatch(batch.logits, batch.labels, logits, batch.feature, connected, batch.teacher_head)
    terms = objective(perfect).terms
    assert float(terms["feature"]) == pytest.approx(0, abs=1e-9)
    assert float(terms["regression"]) == pytest.approx(0, abs=1e-9)


def test_mgd_masks_whole_channels_at_the_ratio() -> None:
    objective = MGD(64, 64, mask_ratio=0.25)
    seen: list[Tensor] = []
    objective.generation.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    feature = torch.ones(50, 64, 2, 2)
    batch = DistillationBatch(
        torch.zeros(50, CLASSES), torch.zeros(50, dtype=torch.long), feature=feature, teacher_feature=feature
    )
    objective(batch)
    whole = seen[0].mean(dim=(2, 3))
    assert set(whole.unique().tolist()) == {0.0, 1.0}
    assert float((whole == 0).double().mean()) == pytest.approx(0.25, abs=0.03)


def test_gradient_norms_are_those_of_the_terms() -> None:
    batch = a_batch(14)
    assert batch.teacher_logits is not None
    quantities = NKD(temperature=3.0, gamma=3.5).diagnostics(batch)
    probability = batch.logits.detach().softmax(1)
    one_hot = torch.nn.functional.one_hot(batch.labels, CLASSES)
    torch.testing.assert_close(quantities["grad_norm_cross_entropy"], (probability - one_hot).norm() / ITEMS)
    mass = 1 - batch.teacher_logits.softmax(1).gather(1, batch.labels[:, None]).mean()
    torch.testing.assert_close(quantities["teacher_non_target_mass"], mass)


def test_random_stream_is_its_own() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    stream = RandomStream(7)
    first = stream.uniform((3,), torch.zeros(1))
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(RandomStream(7).uniform((3,), torch.zeros(1)), first)
