"""Identities of NKD and USKD."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from methods.distillation.cross_entropy import CrossEntropy
from methods.distillation.inputs import DistillationBatch, Objective
from methods.distillation.kd import kd_loss, nckd_loss
from methods.distillation.logits import is_target, others_log_softmax
from methods.distillation.nkd import NKD
from methods.distillation.ranking import descending_order, rank_scores, zipf_masses
from methods.distillation.uskd import USKD, USKDOptions, find_targets, target_labels, uskd_non_target_loss
from suites.checks.result import Check
from suites.models.taps import tapped, taps_of

ROWS, CLASSES = 64, 100
COPIES = 3  # of every parameter: value, gradient, momentum


def _logits(seed: int, deviation: float = 2.0, rows: int = ROWS) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first, second = (deviation * torch.randn(rows, CLASSES, generator=generator, dtype=torch.float64) for _ in range(2))
    return first, second, torch.randint(0, CLASSES, (rows,), generator=generator)


def nontarget_equals_nckd(normalise: bool = True) -> Check:
    """NKD's non-target term and DKD's NCKD have equal gradients, if normalised."""
    largest, parts = 0.0, []
    for temperature in (1.0, 3.0, 4.0):
        student, teacher, labels = _logits(0)
        nkd = NKD(temperature=temperature, gamma=1.0, alpha=0.0, ce_weight=0.0, normalise=normalise)
        ours, theirs = (student.clone().requires_grad_() for _ in range(2))
        nkd(DistillationBatch(ours, labels, teacher)).total.backward()
        nckd_loss(theirs, teacher, labels, temperature).backward()
        assert ours.grad is not None
        assert theirs.grad is not None
        error = float((ours.grad - theirs.grad).abs().max())
        largest = max(largest, error)
        parts.append(f"T {temperature:g}: {error:.1e}")
    return Check.zero(largest, 1e-12, "largest difference of the gradients, " + ", ".join(parts))


def mask_bug_equals_kd(mask: str = "all") -> Check:
    """With a mask of every class NKD's non-target term is KD's cross-entropy."""
    temperature = 3.0
    student, teacher, labels = _logits(1)
    nkd = NKD(temperature=temperature, gamma=1.0, alpha=0.0, ce_weight=0.0, mask=mask)
    ours = float(nkd(DistillationBatch(student, labels, teacher)).total)
    soft = (teacher / temperature).softmax(dim=1)
    written = -(soft * (student / temperature).softmax(dim=1).log()).sum(dim=1).mean() * temperature**2
    detail = f"T {temperature:g}: NKD's term {ours:.6f}, KD written out {float(written):.6f}, KD's function "
    detail += f"{float(kd_loss(student, teacher, temperature)):.6f}"
    return Check.zero(abs(ours - float(written)), 1e-9, detail)


def rank_agreement(deviation: float = 2.0, source: str = "released") -> Check:
    """Log-probability and probability ranks agree on 60 % of top classes.

    Non-target classes of normal logits. The printed 60.5 comes from 512 rows, whose own standard error is 2.2: the
    tolerance is two of those.
    """
    student, weak, labels = _logits(2, deviation, rows=8 * 512)
    dropped = F.one_hot(labels, CLASSES).bool()
    scores = [rank_scores(student, weak, dropped, kind, teacher=None, noise=None) for kind in (source, "paper")]
    orders = [descending_order(ranked.masked_fill(dropped, -9e9)) for ranked in scores]
    share = 100 * float((orders[0][:, 0] == orders[1][:, 0]).double().mean())
    whole = 100 * float((orders[0] == orders[1]).all(dim=1).double().mean())
    detail = f"standard deviation {deviation:g}: same top class on {share:.1f} %, same full order on {whole:.1f} %"
    return Check(ours=share, theirs=60.5, tolerance=4.4, unit="percent", detail=detail)


def target_exceeds_one(clamp: bool = False) -> Check:
    """Soft target labels exceed 1 where S² is above the batch's mean."""
    student, _, labels = _logits(3, deviation=3.0)
    probability = student.softmax(dim=1).gather(1, labels[:, None])
    soft = target_labels(probability, torch.ones_like(probability), "squared", clamp)
    above = probability.square() > probability.square().mean(dim=0, keepdim=True)
    agree = float(((soft > 1) == above).double().mean())
    detail = f"largest P {float(soft.max()):.3f}; {int((soft > 1).sum())} of {ROWS} labels exceed 1"
    return Check.exact(agree * float(bool((soft > 1).any())), 1.0, "boolean", detail)


def zero_mass_class_dropped(zero_mass: str = "released") -> Check:
    """A one-hot vector and its hard label give different non-target losses."""
    student, weak, labels = _logits(4)
    forms = labels, F.one_hot(labels, CLASSES).double()
    targets = [find_targets(form, student, zero_mass) for form in forms]
    losses = [float(uskd_non_target_loss(student, weak, target)) for target in targets]
    equal = abs(losses[0] - losses[1]) < 1e-9
    return Check.exact(float(equal), 0.0, "boolean", f"hard label {losses[0]:.4f}, one-hot vector {losses[1]:.4f}")


def zipf_not_contiguous(zipf_over: str = "all") -> Check:
    """Zipf masses 1/1 … 1/C are not contiguous without the target.

    ``ours`` is the share of rows whose sorted masses are contiguous; ``theirs`` the share whose target ranks last.
    """
    student, weak, labels = _logits(5)
    options = USKDOptions(zipf_over=zipf_over)
    dropped = F.one_hot(labels, CLASSES).bool()
    scores = rank_scores(student, weak, dropped, options.rank, teacher=None, noise=None)
    masses = zipf_masses(scores, dropped, over=options.zipf_over).sort(dim=1, descending=True).values[:, :-1]
    law = 1 / torch.arange(1, CLASSES, dtype=masses.dtype)
    contiguous = ((masses - law / law.sum()).abs().max(dim=1).values < 1e-9).double().mean()
    last = (descending_order(scores)[:, -1] == labels).double().mean()
    detail = f"contiguous on {100 * float(contiguous):.1f} % of rows, target last on {100 * float(last):.1f} %"
    return Check.exact(float(contiguous), float(last), "boolean", detail)


def nontarget_sums_equal(normalise: bool = True) -> Check:
    """NKD compares non-target parts of equal sum, by construction; KD's parts differ."""
    student, teacher, labels = _logits(6)
    dropped = is_target(student, labels)
    plain = [logits.softmax(dim=1).masked_fill(dropped, 0.0).sum(dim=1) for logits in (student, teacher)]
    parts = [others_log_softmax(logits, dropped).exp().masked_fill(dropped, 0.0) for logits in (student, teacher)]
    normalised = [part.sum(dim=1) for part in parts]
    gaps = [float((student - teacher).abs().mean()) for student, teacher in (normalised, plain)]
    detail = f"mean distance of the sums: NKD {gaps[0]:.1e}, KD {gaps[1]:.3f}"
    return Check(ours=gaps[0 if normalise else 1], theirs=0.0, tolerance=1e-12, unit="probability", detail=detail)


def negligible_cost(classes: int = 1000, tolerance: float = 0.05) -> Check:
    """A step of USKD costs at most 5 % above cross-entropy.

    Counted, not timed: multiplications of forward and backward pass, and bytes of parameters (with gradient and
    momentum) and of tensors saved, for a ResNet-18 on 32 images of 224 pixels. ``ours`` is the larger of the two
    ratios.
    """
    plain, ours = _step_cost(CrossEntropy(), classes), _step_cost(USKD(256, classes), classes)
    ratios = [cost / other for cost, other in zip(ours, plain, strict=True)]
    detail = f"arithmetic × {ratios[0]:.4f}, memory × {ratios[1]:.4f}"
    unit = "ratio of step time and of peak memory"
    return Check(ours=max(ratios), theirs=1.0, tolerance=tolerance, unit=unit, detail=detail)


def _step_cost(objective: Objective, classes: int) -> tuple[int, int]:
    from torchvision.models import resnet18

    with torch.device("meta"):
        network, images, labels = resnet18(num_classes=classes), torch.empty(32, 3, 224, 224), torch.zeros(32).long()
    objective = objective.to("meta")
    kept: dict[int, int] = {}

    def note(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return saved

    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        with tapped(network, taps_of(network), last=False) as features:
            logits = network(images)
        objective(DistillationBatch(logits, labels, feature=features.middle)).total.backward()
    parameters = sum(p.numel() * p.element_size() for p in nn.ModuleList([network, objective]).parameters())
    return counter.get_total_flops(), COPIES * parameters + sum(kept.values())
