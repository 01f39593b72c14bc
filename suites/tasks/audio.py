"""Audio tagging and classification: waveforms to tags or to one class."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Evaluation, StepResult
from harness.trial.loading import FileRows, Loader, PendingBatch
from harness.trial.options import option
from suites.data.sounds import SoundFiles, Sounds, SoundSplit, decode
from suites.tasks.common import ShuffledTask
from suites.tasks.prediction_scores import class_items, costs, frequencies

SCORES = ("roc-auc", "pr-auc", "accuracy", "f1")


@dataclass(frozen=True, slots=True)
class AudioBatch:
    """Waveforms (B, T) and targets: classes (B,) or tags (B, C)."""

    waves: Tensor
    targets: Tensor


class Excerpts:
    """Excerpts of ``length`` samples of a split, zero padded; 0: whole recordings of an array."""

    def __init__(self, split: SoundSplit, length: int, device: torch.device, loader: Loader | None = None) -> None:
        held = split.waves
        if not length and isinstance(held, SoundFiles):
            raise HarnessError("audio: recordings in files differ in length; set samples to the length of an excerpt")
        self.files = held if isinstance(held, SoundFiles) else None
        self.in_files = self.files is not None
        self.waves = None if isinstance(held, SoundFiles) else held
        self.length = length or int(held.shape[1])  # type: ignore[union-attr]
        targets = torch.tensor(split.targets, device=device)
        self.targets = targets.float() if targets.dim() == 2 else targets
        self.device, self.loader = device, loader or Loader(device)

    def __len__(self) -> int:
        return len(self.targets)

    def at(self, places: Tensor, shares: Tensor) -> Tensor:
        """Excerpts (B, length), each at a share (0–1) of the room."""
        return self.loader.now(self.reading(places, shares))

    def reading(self, places: Tensor, shares: Tensor) -> PendingBatch[Tensor]:
        chosen, begin, files, length = places.tolist(), shares.tolist(), self.files, self.length
        if files is None:
            return PendingBatch((), partial(self._cut, chosen, begin))

        def read(row: int, file: Path) -> np.ndarray:
            return excerpt(decode(file.read_bytes(), files.rate, str(file)), begin[row], length)

        rows = FileRows([files.paths[place] for place in chosen], read, (length,), torch.float32)
        return PendingBatch((rows,), lambda waves: waves)

    def _cut(self, places: list[int], shares: list[float]) -> Tensor:
        assert self.waves is not None
        pairs = zip(places, shares, strict=True)
        cut = np.stack([excerpt(self.waves[place], share, self.length) for place, share in pairs])
        return torch.from_numpy(cut).float().to(self.device)


def excerpt(wave: np.ndarray, share: float, length: int) -> np.ndarray:
    """Cut ``length`` samples at ``share`` of the room, or pad with zeros."""
    room = len(wave) - length
    first = round(share * abs(room))
    if room >= 0:
        return wave[first : first + length]
    out = np.zeros(length, dtype=wave.dtype)
    out[first : first + len(wave)] = wave
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioOptions:
    """Options of the task ``audio``."""

    samples: int = option(0, "length of an excerpt; 0: the whole recording", low=0)
    chunks: int = option(1, "excerpts of a recording whose probabilities are averaged", low=1)
    threshold: float = option(0.5, "probability above which a tag is predicted", low=0, high=1)
    label_smoothing: float = option(0.0, "share of the target spread over all classes", low=0, high=1)


class Audio(ShuffledTask):
    """Binary cross-entropy on tags or cross-entropy on classes, depending on the data.

    In training an excerpt begins at random (stream ``augment``); in evaluation the probabilities of ``chunks`` evenly
    spaced excerpts are averaged. Tags are scored by ROC-AUC and PR-AUC (macro) and F1 of all decisions at
    ``threshold`` (micro), classes by accuracy and macro F1.
    """

    metadata = TaskMetadata(
        name="audio",
        target="Audio",
        summary="audio tagging (ROC-AUC, PR-AUC, F1) and classification (accuracy, F1) on waveforms",
        slots=("optimizer",),
        metrics=(*SCORES, "loss", *(f"trivial.{name}" for name in SCORES)),
        reads=("sounds",),
        options=AudioOptions,
    )

    options: AudioOptions
    data: Sounds
    splits: dict[str, Excerpts]
    least_batch = 2

    def build(self) -> nn.Module:
        self.data = self.context.load_data()
        self.read_splits(lambda split: Excerpts(split, self.options.samples, self.device, self.loader))
        targets = self.data.splits["train"].targets
        classes = len(self.data.classes)
        self.prior = targets.mean(axis=0) if self.data.tags else frequencies(targets, classes)
        facts = {"classes": classes, "rate": self.data.rate}
        self.model = self.context.build_model(facts).to(self.device)
        return self.model

    def readings(self, epoch: int) -> Iterator[PendingBatch[AudioBatch]]:
        train = self.splits["train"]
        for places, generator in self.shuffled(epoch):
            shares = torch.rand(len(places), generator=generator)
            yield train.reading(places, shares).then(partial(self._with_targets, places))

    def _with_targets(self, places: Tensor, waves: Tensor) -> AudioBatch:
        return AudioBatch(waves, self.splits["train"].targets[places.to(self.device, non_blocking=True)])

    def training_step(self, batch: AudioBatch, step: int) -> StepResult:
        logits = self.model(batch.waves)
        if self.data.tags:
            return StepResult(F.binary_cross_entropy_with_logits(logits, batch.targets))
        return StepResult(F.cross_entropy(logits, batch.targets, label_smoothing=self.options.label_smoothing))

    def scores(self, split: str) -> Evaluation:
        """Scores in percent, loss, scores of the dummy baseline, outputs by item."""
        probabilities = self.probabilities(split)
        targets = self.data.splits[split].targets
        constant = np.broadcast_to(self.prior, probabilities.shape)
        metrics = self._scores(probabilities, targets)
        metrics["loss"] = _log_loss(probabilities, targets)
        metrics.update({f"trivial.{name}": value for name, value in self._scores(constant, targets).items()})
        items = self.data.splits[split].items
        if self.data.tags:
            return Evaluation(metrics, {"item": items})
        return Evaluation(metrics, class_items(items, probabilities.argmax(1), targets, self.data.classes))

    def probabilities(self, split: str) -> np.ndarray:
        """Probabilities (N, classes), averaged over the chunks."""
        part, chunks = self.splits[split], self.options.chunks
        shares = [chunk / (chunks - 1) if chunks > 1 else 0.5 for chunk in range(chunks)]
        groups = torch.arange(len(part)).split(self.recipe.eval_batch)
        taken = self.loader.ahead(
            part.reading(places, torch.full((len(places),), share)) for places in groups for share in shares
        )
        means = []
        for places in groups:
            total = torch.zeros(len(places), len(self.data.classes), device=self.device)
            for _ in shares:
                logits = self.model(next(taken)).float()
                total += logits.sigmoid() if self.data.tags else logits.softmax(1)
            means.append((total / chunks).cpu())
        return torch.cat(means).double().numpy()

    def _scores(self, probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        if self.data.tags:
            return tag_scores(probabilities, targets, self.options.threshold)
        return class_scores(probabilities, targets)


def tag_scores(probabilities: np.ndarray, targets: np.ndarray, threshold: float) -> dict[str, float]:
    """ROC-AUC, average precision (means over tags) and F1 of (N, C), in percent; NaN if no tag counts."""
    from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

    true = targets.any(axis=0)
    mixed = true & ~targets.all(axis=0)
    ranked, positive = targets[:, mixed], targets[:, true]
    predicted = (probabilities > threshold).astype(int)
    return {
        "roc-auc": 100 * float(roc_auc_score(ranked, probabilities[:, mixed])) if mixed.any() else float("nan"),
        "pr-auc": 100 * float(average_precision_score(positive, probabilities[:, true]))
        if true.any()
        else float("nan"),
        "f1": 100 * float(f1_score(targets.ravel(), predicted.ravel(), zero_division=0.0)),
    }


def class_scores(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Accuracy and macro F1 in percent of probabilities (N, C); a class absent on both sides has an F1 of 0."""
    from sklearn.metrics import accuracy_score, f1_score

    predicted, classes = probabilities.argmax(1), range(probabilities.shape[1])
    return {
        "accuracy": 100 * float(accuracy_score(targets, predicted)),
        "f1": 100 * float(f1_score(targets, predicted, labels=classes, average="macro", zero_division=0.0)),
    }


def _log_loss(probabilities: np.ndarray, targets: np.ndarray) -> float:
    safe = probabilities.clip(1e-7, 1 - 1e-7)
    if targets.ndim == 2:
        return float(-(targets * np.log(safe) + (1 - targets) * np.log(1 - safe)).mean())
    return float(costs(safe, targets).mean())


METADATA = Audio.metadata
