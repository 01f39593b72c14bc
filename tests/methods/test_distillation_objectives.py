"""The objectives as modules: weights, ablations, state, mechanisms."""

from typing import Any

import pytest
import torch
from loss_batches import CLASSES, ITEMS, STUDENT, TEACHER, shapes
from loss_batches import distillation_batch as a_batch
from torch import Tensor

from methods.distillation.cross_entropy import CrossEntropy
from methods.distillation.features import MGD, SRRL
from methods.distillation.inputs import DistillationBatch, Objective, RandomStream, shape_arguments
from methods.distillation.kd import DKD, KD, WSLD, kd_loss
from methods.distillation.nkd import NKD, nkd_loss
from methods.distillation.self_distillation import PSKD
from methods.distillation.uskd import USKD, TfNKD


def make(kind: type[Objective], **options: Any) -> Any:
    torch.manual_seed(0)
    return kind(**shape_arguments(kind, **shapes()), **options)


def test_shapes_that_do_not_fit_are_refused() -> None:
    batch = a_batch()
    with pytest.raises(ValueError, match=r"labels must be \(12,\) indices or \(12, 6\) masses, got \(3,\)"):
        make(KD)(DistillationBatch(batch.logits, batch.labels[:3], batch.teacher_logits))
    with pytest.raises(ValueError, match=r"teacher_logits must be \(12, 6\)"):
        make(KD)(DistillationBatch(batch.logits, batch.labels, torch.zeros(ITEMS, 3)))
    with pytest.raises(ValueError, match="two classes or more"):
        make(CrossEntropy)(DistillationBatch(torch.zeros(3, 1), torch.zeros(3, dtype=torch.long)))
    with pytest.raises(ValueError, match="feature must be"):
        make(USKD)(DistillationBatch(batch.logits, batch.labels, feature=torch.zeros(ITEMS, STUDENT + 1)))
    with pytest.raises(ValueError, match="one size"):
        make(MGD)(
            DistillationBatch(
                batch.logits, batch.labels, feature=batch.feature, teacher_feature=torch.zeros(ITEMS, 4, 2, 2)
            )
        )


# Weights and ablations


def test_cross_entropy_weights() -> None:
    batch = a_batch(5)
    plain = make(CrossEntropy)(batch).total.detach()
    assert make(KD, alpha=0.3)(batch).terms["cross_entropy"] == pytest.approx(0.7 * float(plain))
    assert make(KD, alpha=3.5, ce_weight=1.0)(batch).terms["cross_entropy"] == pytest.approx(float(plain))
    with pytest.raises(ValueError, match="set ce_weight"):
        KD(alpha=3.5)
    for kind in (NKD, DKD, WSLD, USKD, SRRL, MGD, TfNKD):
        assert make(kind)(batch).terms["cross_entropy"] == pytest.approx(float(plain))


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
    released, other = make(USKD)(batch).terms, make(USKD, rank=source)(batch).terms
    for name in ("cross_entropy", "target", "weak"):
        assert released[name] == other[name]
    assert not torch.isclose(released["non_target"], other["non_target"])


def test_uskd_rank_by_teacher_follows_the_teacher() -> None:
    batch = a_batch(9)
    quantities = make(USKD, rank="teacher").diagnostics(batch)
    assert float(quantities["rank_teacher_spearman"]) == pytest.approx(1)
    assert abs(float(make(USKD, rank="random").diagnostics(batch)["rank_teacher_spearman"])) < 0.5
    with pytest.raises(ValueError, match="needs teacher_logits"):
        make(USKD, rank="teacher")(DistillationBatch(batch.logits, batch.labels, feature=batch.feature))


def test_uskd_never_reads_the_teacher_unless_it_ranks_by_it() -> None:
    batch = a_batch(10)
    alone = DistillationBatch(batch.logits, batch.labels, feature=batch.feature)
    assert make(USKD)(batch).total == make(USKD)(alone).total


def test_uskd_trains_the_feature_through_the_weak_head() -> None:
    batch = a_batch(11)
    make(USKD)(batch).total.backward()
    assert float(batch.feature.grad.abs().sum()) > 0
    silent = a_batch(11)
    USKD(STUDENT, CLASSES, mu=0.0)(silent).total.backward()
    assert float(silent.feature.grad.abs().sum()) == 0


def test_ps_kd_learns_from_its_own_past() -> None:
    objective, batch = PSKD(40, CLASSES, alpha=0.5), a_batch(12)
    plain = make(CrossEntropy)(batch).total
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
    objective.generation.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
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
