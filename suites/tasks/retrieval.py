"""Image retrieval by metric learning, scored by Recall@k on unseen classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Artifact, Evaluation, StepResult
from harness.trial.loading import PendingBatch
from harness.trial.options import option
from harness.trial.seeds import seed_torch
from suites.tasks.augment import AugmentOptions
from suites.tasks.common import (
    ImageBatch,
    ImageTask,
    NetworkWithLoss,
    calibrate_batch_norms,
    evaluating,
    freeze_batch_norms,
    share_of,
)

LOSSES = ("proxy-anchor", "triplet-semihard")
RANKS = (1, 2, 4, 8)
SHOWN, NEAREST = 6, 5  # queries of the picture, and neighbours of each


class Triplets(nn.Module):
    """Mean triplet loss over the semi-hard triplets of a batch: Schroff et al. 2015, equation 3."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        from pytorch_metric_learning import losses, miners

        self.miner = miners.TripletMarginMiner(margin=margin, type_of_triplets="semihard")
        self.loss = losses.TripletMarginLoss(margin=margin)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of embeddings (B, dimension); 0 without semi-hard triplets."""
        return self.loss(embeddings, labels, self.miner(embeddings, labels))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalOptions(AugmentOptions):
    """Options of the task ``retrieval``."""

    loss: str = option("proxy-anchor", "loss of the embeddings", choices=LOSSES)
    margin: float = option(0.1, "δ of Proxy-Anchor or margin of the triplets", low=0)
    alpha: float = option(32.0, "α of Proxy-Anchor", low=0)
    proxy_lr_scale: float = option(100.0, "learning rate of the proxies over that of the network", low=0)
    images_per_class: int = option(0, "images of each class in a batch; 0: plain permutation", low=0)
    bn: str = option("training", "BatchNorm statistics in training", choices=("training", "frozen"))
    warm_epochs: int = option(0, "first epochs that train the embedding layer and proxies only", low=0)


class Retrieval(ImageTask):
    """Metric learning on training classes, nearest neighbours by cosine similarity on others.

    ``bn: frozen`` runs BatchNorm with fixed statistics: those of a pretrained backbone, else of
    the initial network on one pass over the training images. Convolutions are then not scale-invariant.
    """

    metadata = TaskMetadata(
        name="retrieval",
        target="Retrieval",
        summary="metric learning, scored by Recall@k on classes unseen in training",
        slots=("optimizer",),
        metrics=(*(f"recall-at-{rank}" for rank in RANKS), "trivial.recall-at-1"),
        reads=("images",),
        options=RetrievalOptions,
    )

    options: RetrievalOptions
    model: NetworkWithLoss  # gives embeddings (B, dimension) of length one

    def build(self) -> nn.Module:
        self.load_images()
        self._check_classes()
        classes, self.train_labels = self.splits["train"].labels.unique(return_inverse=True)
        labels = self.train_labels.cpu()
        self.by_class = [(labels == number).nonzero()[:, 0] for number in range(len(classes))]
        embedding = self.context.build_model({"channels": self.data.channels, "size": self.data.size})
        self.model = NetworkWithLoss(embedding, self._criterion(len(classes), embedding)).to(self.device)
        if self.options.bn == "frozen":
            if not getattr(embedding, "pretrained", False):
                calibrate_batch_norms(embedding, self.calibration())
            freeze_batch_norms(embedding)
        return self.model

    def _check_classes(self) -> None:
        """Require disjoint classes and batches of whole classes (HarnessError)."""
        trained = set(self.splits["train"].labels.tolist())
        shared = len(trained & set(self.splits["test"].labels.tolist()))
        if shared:
            raise HarnessError(f"retrieval: {shared} classes are both in train and in test; classes must be disjoint")
        size, each = self.recipe.batch_size, self.options.images_per_class
        if each and (size % each or size // each > len(trained)):
            limit = f"at most {len(trained)} classes with images_per_class {each}"
            raise HarnessError(f"retrieval: batch_size {size} does not consist of {limit}")

    def _criterion(self, classes: int, embedding: nn.Module) -> nn.Module:
        if self.options.loss == "triplet-semihard":
            return Triplets(self.options.margin)
        from pytorch_metric_learning.losses import ProxyAnchorLoss

        dimension = embedding.project.out_features
        # a separate stream: proxies do not depend on the number of the network's draws
        seed_torch(self.streams.number("init", "proxies"))
        return ProxyAnchorLoss(classes, dimension, margin=self.options.margin, alpha=self.options.alpha)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [{"params": list(self.model.network.parameters())}]
        proxies = list(self.model.loss.parameters())
        return [*groups, {"params": proxies, "lr_scale": self.options.proxy_lr_scale}] if proxies else groups

    def readings(self, epoch: int) -> Iterator[PendingBatch[ImageBatch]]:
        train, each = self.splits["train"], self.options.images_per_class
        for index, (places, generator) in enumerate(self.shuffled(epoch)):
            if each:
                drawn = self.streams.torch("order", epoch, index)
                places = self._balanced(self.recipe.batch_size // each, each, drawn)
            yield train.reading(places, self.options.augment, generator).then(partial(self._labelled, places))

    def _labelled(self, places: Tensor, taken: tuple[Tensor, Tensor]) -> ImageBatch:
        return ImageBatch(taken[0], self.train_labels[places.to(self.device, non_blocking=True)])

    def _balanced(self, classes: int, each: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randperm(len(self.by_class), generator=generator)[:classes].tolist()
        return torch.cat([_some(self.by_class[number], each, generator) for number in chosen])

    def training_step(self, batch: ImageBatch, step: int) -> StepResult:
        if self.options.bn == "frozen":
            freeze_batch_norms(self.model)  # train() may have been called since
        if self.options.warm_epochs:
            warm = step < self.options.warm_epochs * self.steps_per_epoch()
            self.model.network.body.requires_grad_(not warm)
        return StepResult(self.model.loss(self.model(batch.images), batch.labels))

    def scores(self, split: str) -> Evaluation:
        """Recall@k in percent against the gallery or the split's rest."""
        labels, gallery_labels = self.splits[split].labels, self.splits[self._gallery_of(split)].labels
        hits = gallery_labels[self._nearest(split)] == labels[:, None]
        metrics = {f"recall-at-{rank}": share_of(hits[:, :rank].any(1)) for rank in RANKS}
        metrics["trivial.recall-at-1"] = chance(labels, gallery_labels, alone=self._gallery_of(split) == split)
        return Evaluation(metrics, {"item": self.data.splits[split].items, "correct": hits[:, 0].cpu().numpy()})

    def _gallery_of(self, split: str) -> str:
        """Gallery of a split's queries, or the split itself."""
        return "gallery" if split == "test" and "gallery" in self.splits else split

    def _nearest(self, split: str) -> Tensor:
        """Gallery indices (Q, 8), nearest first."""
        gallery = self._gallery_of(split)
        queries = self.outputs(self.model, split)
        others = None if gallery == split else self.outputs(self.model, gallery)
        return neighbours(queries, others, max(RANKS), self.recipe.eval_batch)

    def artifacts(self) -> list[Artifact]:
        from suites.tasks.pictures import as_pixels, framed, save_rows

        part, gallery = self.splits["test"], self.splits[self._gallery_of("test")]
        queries = torch.linspace(0, len(part) - 1, min(SHOWN, len(part))).long().to(self.device)
        with evaluating(self.model):
            nearest = self._nearest("test")[queries, :NEAREST]
        pictures = as_pixels(part.take(queries)[0], part.mean, part.std)
        rows = []
        for picture, query, near in zip(pictures, queries, nearest, strict=True):
            images, labels = gallery.take(near)
            right = (labels == part.labels[query]).tolist()
            beside = zip(as_pixels(images, gallery.mean, gallery.std), right, strict=True)
            rows.append([framed(picture, None), *(framed(other, same) for other, same in beside)])
        path = save_rows(rows, self.context.folder / "neighbours.png")
        caption = "test queries, then their nearest neighbours; those of another class are red with a cross"
        return [Artifact("neighbours", "picture", path, caption)]


def _some(places: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` of the items, repeating only if there are too few."""
    order = torch.randperm(len(places), generator=generator)
    return places[order.repeat(-(-count // len(places)))[:count]]


def neighbours(queries: Tensor, gallery: Tensor | None, most: int, batch: int) -> Tensor:
    """Indices of the ``most`` nearest gallery items (G, D) per query (Q, D), by exact cosine similarity."""
    others = queries if gallery is None else gallery
    most = min(most, len(others) - (gallery is None))
    nearest = []
    for start in range(0, len(queries), batch):
        similarity = queries[start : start + batch] @ others.T
        if gallery is None:
            rows = torch.arange(len(similarity), device=similarity.device)
            similarity[rows, start + rows] = -torch.inf
        nearest.append(similarity.topk(most, dim=1).indices)
    return torch.cat(nearest)


def chance(labels: Tensor, gallery: Tensor, *, alone: bool) -> float:
    """Recall@1 in percent of random neighbours, without the query if ``alone``."""
    itself = int(alone)
    counts = torch.bincount(gallery, minlength=int(labels.max()) + 1)[labels].double() - itself
    return 100 * float((counts / (len(gallery) - itself)).mean())


METADATA = Retrieval.metadata
