"""Text classification with a vocabulary of the training texts."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Evaluation, StepResult
from harness.trial.options import option
from suites.data.documents import Documents
from suites.data.types import vocabulary_of
from suites.models.estimators import Estimator
from suites.tasks.common import ShuffledTask
from suites.tasks.prediction_scores import CLASS_SCORES, class_evaluation, frequencies

WORDS = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Token numbers (B, T), padded, and labels (B,)."""

    tokens: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextClassificationOptions:
    """Options of the task ``text-classification``."""

    length: int = option(128, "number of first tokens of a text to read", low=1)
    level: str = option("words", "kind of token", choices=("words", "characters"))
    lower: bool = option(True, "lower-case the text")
    min_count: int = option(2, "rarer tokens of the training texts are unknown", low=1)
    most_words: int = option(20_000, "number of most frequent tokens in the vocabulary", low=2)
    label_smoothing: float = option(0.0, "share of the target spread over all classes", low=0, high=1)


class TextClassification(ShuffledTask):
    """Cross-entropy on the classes of texts; an estimator reads TF-IDF weights (N, vocabulary)."""

    metadata = TaskMetadata(
        name="text-classification",
        target="TextClassification",
        summary="a text to a class, scored by accuracy, balanced accuracy, log-loss and ROC-AUC",
        slots=("optimizer", "norm"),
        metrics=(*CLASS_SCORES, *(f"trivial.{name}" for name in CLASS_SCORES)),
        reads=("documents",),
        options=TextClassificationOptions,
    )

    options: TextClassificationOptions
    data: Documents
    splits: dict[str, TextBatch]
    least_batch = 2
    shares = True

    def build(self) -> nn.Module:
        self.data = self.context.load_data()
        cut = {name: [self._tokens(text) for text in part.texts] for name, part in self.data.splits.items()}
        options = self.options
        words = vocabulary_of((token for text in cut["train"] for token in text), options.min_count)
        self.vocabulary = words[: options.most_words]
        self.padding = len(self.vocabulary)
        if self.padding < 2:
            raise HarnessError(
                f"{self.data.path}: no token occurs {options.min_count} times in training; lower min_count"
            )
        numbers = {word: place for place, word in enumerate(self.vocabulary)}
        self.splits = {name: self._numbered(cut[name], name, numbers) for name in cut}
        self.prior = frequencies(self.data.splits["train"].labels, len(self.data.classes))
        facts = {
            "vocabulary": self.padding + 1,
            "padding": self.padding,
            "classes": len(self.data.classes),
            "steps": self.recipe.total_steps(max(1, self.steps_per_epoch())),
        }
        self.model = self.context.build_model(facts).to(self.device)
        self.trains = not isinstance(self.model, Estimator)
        if isinstance(self.model, Estimator):
            self._fit(self.model, cut)
        else:
            self.check_batch_size()
        return self.model

    def _tokens(self, text: str) -> list[str]:
        text = text.lower() if self.options.lower else text
        tokens = list(text) if self.options.level == "characters" else WORDS.findall(text)
        return tokens[: self.options.length]

    def _numbered(self, texts: Sequence[Sequence[str]], split: str, numbers: dict[str, int]) -> TextBatch:
        longest = max(1, max(map(len, texts)))
        tokens = np.full((len(texts), longest), self.padding, dtype=np.int64)
        for row, text in enumerate(texts):
            tokens[row, : len(text)] = [numbers.get(token, 0) for token in text]
        labels = torch.tensor(self.data.splits[split].labels, device=self.device)
        return TextBatch(torch.tensor(tokens, device=self.device), labels)

    def _fit(self, model: Estimator, texts: dict[str, list[list[str]]]) -> None:
        """Fit an estimator to the training texts' TF-IDF weights; keep every split's."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        # the unknown word, which comes first, carries no information
        weights = TfidfVectorizer(analyzer=list, vocabulary=list(self.vocabulary[1:]))
        train = weights.fit_transform(texts["train"])
        model.fit(train, self.data.splits["train"].labels, self.recipe.threads)
        self.weights = {name: weights.transform(some) for name, some in texts.items()}

    def batches(self, epoch: int) -> Iterator[TextBatch]:
        train = self.splits["train"]
        for places, _ in self.shuffled(epoch):
            yield TextBatch(self._cut(train.tokens[places]), train.labels[places])

    def _cut(self, tokens: Tensor) -> Tensor:
        used = (tokens != self.padding).any(0).nonzero()
        return tokens[:, : int(used[-1]) + 1 if len(used) else 1]

    def training_step(self, batch: TextBatch, step: int) -> StepResult:
        smoothing = self.options.label_smoothing
        return StepResult(F.cross_entropy(self.model(batch.tokens), batch.labels, label_smoothing=smoothing))

    def scores(self, split: str) -> Evaluation:
        """Scores with those of the dummy baseline; outcomes and costs by text."""
        part = self.data.splits[split]
        probabilities = torch.tensor(self._outputs(split)).softmax(1).numpy()
        return class_evaluation(probabilities, part.labels, self.prior, part.items, self.data.classes)

    def _outputs(self, split: str) -> np.ndarray:
        if isinstance(self.model, Estimator):
            return self.model.answers(self.weights[split])
        parts = self.splits[split].tokens.split(self.recipe.eval_batch)
        return torch.cat([self.model(self._cut(part)) for part in parts]).double().cpu().numpy()


METADATA = TextClassification.metadata
