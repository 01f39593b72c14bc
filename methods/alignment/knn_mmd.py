"""KNN-MMD: source and target aligned by class and globally."""

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.alignment.inputs import Adaptation, AdaptationBatch, classification
from methods.alignment.mk_mmd import ROOTS, SIGMAS, ClassDiscrepancy, class_mk_mmd, gaussian_kernels, mk_mmd_loss
from methods.checks import check_choice
from methods.metadata import MethodMetadata, Uniform
from methods.precision import widen

FORMS: tuple[str, ...] = ("released", "paper")


class KNNMMD(Adaptation):
    """Source cross-entropy + w_l·Σ_c MK-MMD(source_c, help_c)/C + w_g·MK-MMD(source, target).

    The help set (``help_set.make_help_set``) gives target items of high confidence the labels of their nearest shots.
    The local sum runs over the classes that both batches hold. Weight 0 switches a term off.

    Args:
        local_weight: w_l.
        global_weight: w_g; the released code has one constant 2 for both.
        sigmas: standard deviations of the Gaussian kernels, in the embedding's unit.
        global_target: the source's counterpart in the global term: ``released`` a batch of the test set, ``paper``
            the help set.
        support: ``paper`` keeps the shots for validation; ``released`` adds them, with their labels, to the help set.
        root: ``guarded``, or ``released`` with a NaN gradient if both samples are equal.
    """

    name = "knn-mmd"

    def __init__(
        self,
        *,
        local_weight: float = 2.0,
        global_weight: float = 2.0,
        sigmas: Sequence[float] = SIGMAS,
        global_target: str = "released",
        support: str = "paper",
        root: str = "guarded",
    ) -> None:
        super().__init__()
        check_choice(self.name, "global_target", global_target, FORMS)
        check_choice(self.name, "support", support, FORMS)
        check_choice(self.name, "root", root, ROOTS)
        if local_weight < 0 or global_weight < 0:
            raise ValueError(f"knn-mmd: weights must be at least 0, got {local_weight} and {global_weight}")
        self.local_weight, self.global_weight, self.sigmas = local_weight, global_weight, tuple(sigmas)
        self.global_target, self.support, self.root = global_target, support, root

    def uses(self) -> frozenset[str]:
        """Fields read by the terms of weight above 0."""
        wanted: set[str] = set()
        if self.local_weight or self.global_target == "paper":
            wanted |= {"help_features", "help_labels"}
        if self.local_weight and self.support == "released":
            wanted |= {"support_features", "support_labels"}
        if self.global_weight and self.global_target == "released":
            wanted.add("target_features")
        return frozenset(wanted)

    def help_set(self, batch: AdaptationBatch) -> tuple[Tensor, Tensor]:
        """Embeddings and labels of the local term's target side."""
        features, labels = batch.require("help_features"), batch.require("help_labels")
        if self.support == "paper":
            return features, labels
        return (
            torch.cat([features, batch.require("support_features")]),
            torch.cat([labels, batch.require("support_labels")]),
        )

    def local(self, batch: AdaptationBatch) -> ClassDiscrepancy:
        """MK-MMD per class between source and help set."""
        features, labels = self.help_set(batch)
        return class_mk_mmd(
            batch.source_features, batch.source_labels, features, labels, batch.classes, self.sigmas, self.root
        )

    def target(self, batch: AdaptationBatch) -> Tensor:
        """The target side of the global term."""
        return batch.require("target_features" if self.global_target == "released" else "help_features")

    def terms(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """``cross_entropy``, ``local``, ``global``; terms of weight 0 are omitted."""
        terms = {"cross_entropy": classification(batch.source_logits, batch.source_labels)}
        if self.local_weight:
            terms["local"] = self.local_weight * self.local(batch).values.sum() / batch.classes
        if self.global_weight:
            whole = mk_mmd_loss(batch.source_features, self.target(batch), self.sigmas, self.root)
            terms["global"] = self.global_weight * whole
        return terms

    def probe(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """MK-MMD by class and globally, share of aligned classes, mean kernel value (at 0 no gradient passes)."""
        quantities = {}
        if batch.help_features is not None and batch.help_labels is not None:
            ours, theirs = (batch.source_features, batch.source_labels), (batch.help_features, batch.help_labels)
            values, present = class_mk_mmd(*ours, *theirs, batch.classes, self.sigmas)
            quantities["class_mmd"] = values.sum() / present.sum().clamp_min(1)
            quantities["aligned_class_share"] = present.float().mean()
        if batch.target_features is not None:
            source, target = widen(batch.source_features), widen(batch.target_features)
            quantities["global_mmd"] = mk_mmd_loss(source, target, self.sigmas)
            quantities["mean_kernel"] = gaussian_kernels(source, target, self.sigmas).mean()
        return quantities


METADATA = MethodMetadata(
    of=KNNMMD,
    title="KNN-MMD",
    role="method",
    paper="KNN-MMD: Cross Domain Wireless Sensing via Local Distribution Alignment, IEEE Transactions on Mobile "
    "Computing 2025, arXiv 2412.04783",
    summary="classes of source and target drawn together through target items that a KNN on the shots has labelled",
    options={"global_target": FORMS, "support": FORMS, "root": ROOTS},
    search_space={"local_weight": Uniform(0.1, 10.0, log=True), "global_weight": Uniform(0.1, 10.0, log=True)},
    needs=("target_data", "help_set"),
    diagnostics=(
        "term_cross_entropy",
        "term_local",
        "term_global",
        "class_mmd",
        "aligned_class_share",
        "global_mmd",
        "mean_kernel",
    ),
)
