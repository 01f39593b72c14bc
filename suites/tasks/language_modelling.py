"""Language modelling: the next token of running text, scored by perplexity."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Diagnostic, Evaluation, StepResult, Task
from harness.trial.data_parallel import Replicas, rows_of
from harness.trial.options import option
from suites.data.types import Labels, Text
from suites.tasks.common import evaluating, weight_probe
from suites.tasks.norm_diagnostic import NormDiagnostic

# An evaluation lane has at least this many windows, so that few tokens are scored with little context.
LEAST_WINDOWS = 8


@dataclass(frozen=True, slots=True)
class LanguageBatch:
    """Tokens (B, T), next tokens (B, T), number of the window."""

    tokens: Tensor
    targets: Tensor
    window: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModellingOptions:
    """Options of the task ``language-modelling``."""

    length: int = option(32, "tokens of a training window", low=1)
    eval_length: int | None = option(None, "tokens of an evaluation window; null: as in training")
    rotate: bool = option(True, "start the lanes at a random place of the text in each epoch")
    iid: bool = option(False, "shuffle the tokens of each split across documents")


class LanguageModelling(Task):
    """Cross-entropy of the next token over contiguous windows.

    The training text is cut into ``batch_size`` lanes read in parallel, window after window, so that a model's
    memory holds the preceding text. The lanes start elsewhere in each epoch (``rotate``).

    ``iid`` is an intervention: the tokens of each split are shuffled across documents, so that only their frequencies
    can be learnt and every batch is an independent sample.
    """

    metadata = TaskMetadata(
        name="language-modelling",
        target="LanguageModelling",
        summary="next token of running text, scored by perplexity",
        slots=("optimizer", "norm"),
        metrics=("perplexity", "loss", "bits-per-token", "trivial.perplexity"),
        reads=("text",),
        options=LanguageModellingOptions,
    )

    options: LanguageModellingOptions
    data: Text
    model: nn.Module
    last: tuple[Tensor, Tensor, Tensor | None]
    norm_probe: NormDiagnostic | None = None
    validated: float | None = None  # perplexity of the present weights on validation, if computed

    def build(self) -> nn.Module:
        self.data = self.context.load_data()
        self.length = self.options.length
        self.texts = {name: self._text(name, tokens) for name, tokens in self.data.splits.items()}
        if self.steps_per_epoch() < 1:
            wanted = f"batch_size {self.recipe.batch_size} × length {self.length}"
            few = f"{len(self.texts['train'])} training tokens are too few for {wanted}"
            raise HarnessError(f"language-modelling: {few}; lower one of them")
        facts = {"vocabulary": len(self.data.vocabulary), "steps": self.recipe.total_steps(self.steps_per_epoch())}
        self.model = self.context.build_model(facts).to(self.device)
        shape = self.model.memory_shape(self.recipe.batch_size)
        if shape is not None:
            # among the weights, so that checkpoints contain it
            self.model.register_buffer("carried", torch.zeros(shape, device=self.device))
        self.remembered = shape[1] if shape is not None else 0
        self.lanes = slice(None)
        return self.model

    def _text(self, split: str, tokens: Labels) -> Tensor:
        if self.options.iid:
            tokens = self.streams.numpy("data", "iid", split).permutation(tokens)
        return torch.tensor(np.asarray(tokens), device=self.device)

    def steps_per_epoch(self) -> int:
        return (len(self.texts["train"]) // self.recipe.batch_size - 1) // self.length

    def batches(self, epoch: int) -> Iterator[LanguageBatch]:
        text = self.texts["train"]
        if self.options.rotate:
            text = text.roll(-int(self.streams.numpy("order", epoch).integers(len(text))))
        lanes = in_lanes(text, self.recipe.batch_size)
        for window in range(self.steps_per_epoch()):
            start = window * self.length
            part = lanes[:, start : start + self.length + 1]
            yield LanguageBatch(part[:, :-1], part[:, 1:], window)

    def training_step(self, batch: LanguageBatch, step: int) -> StepResult:
        """Mean negative log likelihood of one window, in nats a token."""
        filled = min(self.remembered, batch.window * self.length)
        memory = self.model.carried[:, -filled:, self.lanes].clone() if filled else None
        if self.norm_probe is not None:
            self.norm_probe.begin(step)
            self.last = (batch.tokens, batch.targets, memory)
        losses, memory = self.model(batch.tokens, batch.targets, memory)
        self.validated = None
        if memory is not None:
            self.model.carried[:, -memory.shape[1] :, self.lanes] = memory
        return StepResult(losses.mean())

    def share(self, batch: LanguageBatch, replicas: Replicas) -> LanguageBatch:
        self.lanes = replicas.rows(self.recipe.batch_size)
        return rows_of(batch, self.recipe.batch_size, self.lanes)

    def gather(self, replicas: Replicas) -> None:
        if self.remembered and replicas.count > 1:
            own = torch.zeros_like(self.model.carried)
            own[:, :, self.lanes] = self.model.carried[:, :, self.lanes]
            torch.distributed.all_reduce(own)
            self.model.carried.copy_(own)

    def evaluate(self, split: str) -> Evaluation:
        """Perplexity, nats and bits a token.

        Every token but the first of each lane is scored once. There are up to ``eval_batch`` lanes, each at least eight
        windows long; the rest after cutting, less than a token a lane, is not scored.
        """
        if split not in self.texts:
            return Evaluation({})
        text = self.texts[split]
        length = int(self.options.eval_length or self.length)
        lanes = in_lanes(text, max(1, min(self.recipe.eval_batch, len(text) // (LEAST_WINDOWS * length))))
        total, count, memory = 0.0, 0, None
        with evaluating(self.model):
            for start in range(0, lanes.shape[1] - 1, length):
                part = lanes[:, start : start + length + 1]
                losses, memory = self.model(part[:, :-1], part[:, 1:], memory)
                total += float(losses.double().sum())
                count += losses.numel()
        loss = total / max(1, count)
        if split == "validation":
            self.validated = perplexity(loss)
        trivial = perplexity(unigram_loss(self.texts["train"], text, words=len(self.data.vocabulary)))
        scores = {"perplexity": perplexity(loss), "loss": loss, "bits-per-token": loss / math.log(2)}
        return Evaluation({**scores, "trivial.perplexity": trivial})

    def probe(self, model: nn.Module) -> Diagnostic | None:
        if self.compares_norms:
            total = self.recipe.total_steps(self.steps_per_epoch())
            self.norm_probe = NormDiagnostic(model, total, lambda: self.model(*self.last)[0].mean())
            return self.norm_probe
        return weight_probe(model)

    @property
    def compares_norms(self) -> bool:
        """True if the arm fills a norm slot."""
        return any(name.split(".")[0] == "norm" for name in self.context.slots)

    def mechanisms(self) -> dict[str, float]:
        """Last validation perplexity of arms with a norm slot, for mechanism checks."""
        if not self.compares_norms:
            return {}
        if self.validated is None:
            self.evaluate("validation")
        return {"validation_perplexity": self.validated} if self.validated is not None else {}


def in_lanes(text: Tensor, lanes: int) -> Tensor:
    """Cut the text into equal consecutive lanes (lanes, length), dropping the rest."""
    length = len(text) // lanes
    return text[: lanes * length].view(lanes, length)


def perplexity(loss: float) -> float:
    """exp of nats a token; infinite where that overflows."""
    return math.exp(loss) if loss < 700 else math.inf


def unigram_loss(train: Tensor, text: Tensor, words: int) -> float:
    """Nats a token of ``text`` under smoothed frequencies of ``train``."""
    counts = torch.bincount(train, minlength=words).double() + 1
    return float(-(counts / counts.sum()).log()[text].mean())


METADATA = LanguageModelling.metadata
