"""Translation of sentences by an encoder-decoder model, scored by BLEU and chrF."""

import copy
import json
import math
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Artifact, Diagnostic, Evaluation, StepResult, Task
from harness.trial.options import option
from suites.data.parallel import Parallel
from suites.tasks.common import evaluating
from suites.tasks.norm_diagnostic import NormDiagnostic, image_deviation
from suites.tasks.sentences import END, PADDING, BeamSearch, BytePairs, Pieces, joined

_HYPHEN = re.compile(r"(?<=\S)-(?=\S)")
SHOWN = 12  # test translations kept as text
DECODED_TOKENS = 8192  # source tokens decoded in parallel
SIDES, ORDER = ("text", "images"), 10.0


@dataclass(frozen=True, slots=True)
class TranslationBatch:
    """Token numbers of sentence pairs: source (B, S), decoder input and targets (B, T), ``count`` without padding."""

    tokens: Tensor
    inputs: Tensor
    wanted: Tensor
    count: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """One split: token numbers with ends, and lines, of both sides."""

    source: list[list[int]]
    target: list[list[int]]
    references: tuple[str, ...]
    originals: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationOptions:
    """Options of the task ``translation``."""

    max_tokens: int = option(1024, "tokens of a batch on its longer side, padding included", low=1)
    accumulate: int = option(1, "batches accumulated for one step", low=1)
    longest: int = option(175, "longest side of a training pair; others are dropped", low=1)
    merges: int = option(500, "merges of the byte-pair encoding, if the text is not yet cut into pieces", low=0)
    label_smoothing: float = option(0.1, "share of the target spread over the vocabulary", low=0, high=0.9)
    beam: int = option(1, "hypotheses of the search; 1: greedy", low=1)
    length_penalty: float = option(1.0, "exponent of the length by which hypotheses are divided")
    decode_limit: int = option(200, "largest number of decoded tokens", low=1)
    average: int = option(0, "number of last epochs whose mean weights are tested", low=0)
    compound_split: bool = option(False, "split words at hyphens before BLEU, on both sides")
    statistics_of: str = option(
        "text", "source of the reported batch statistics; images: ten times theirs", choices=SIDES
    )


class Translation(Task):
    """Label-smoothed cross-entropy a target token, over batches of similar length; a beam of one is greedy."""

    metadata = TaskMetadata(
        name="translation",
        target="Translation",
        summary="sentences from one language to another, scored by BLEU and chrF",
        slots=("optimizer", "norm"),
        metrics=("bleu", "chrf", "loss", "steps-to-nan", "trivial.bleu", "trivial.chrf"),
        reads=("parallel-text",),
        options=TranslationOptions,
    )

    options: TranslationOptions
    data: Parallel
    model: nn.Module
    words: BytePairs | Pieces
    last: TranslationBatch
    norm_probe: NormDiagnostic | None = None
    samples: Sequence[Mapping[str, str | float]] = ()

    def build(self) -> nn.Module:
        self.data = self.context.load_data()
        lines = [line for side in self.data.splits["train"] for line in side]
        self.words = Pieces(lines, self.data.joiner) if self.data.joiner else BytePairs(lines, self.options.merges)
        self.texts = {split: self._encoded(*sides) for split, sides in self.data.splits.items()}
        self.accumulate = self.options.accumulate
        self.places = self._places()
        if not self.places:
            limits = f"longest {self.options.longest} and max_tokens {self.options.max_tokens}"
            raise HarnessError(f"translation: no training pair fits into {limits}; raise them")
        self.kept: deque[dict[str, Tensor]] = deque(maxlen=max(0, self.options.average - 1))
        self.total = self.recipe.total_steps(self.steps_per_epoch())
        facts = {"vocabulary": len(self.words), "padding": PADDING, "steps": self.total * self.accumulate}
        self.model = self.context.build_model(facts).to(self.device)
        return self.model

    def _encoded(self, source: Sequence[str], target: Sequence[str]) -> Encoded:
        ours, theirs = ([[*line, END] for line in self.words.encode(side)] for side in (source, target))
        references = tuple(joined(" ".join(line.split()), self.data.joiner) for line in target)
        return Encoded(ours, theirs, references, tuple(joined(line, self.data.joiner) for line in source))

    def _places(self) -> list[list[int]]:
        """Training pairs by batch: sorted by length, ties in random order."""
        train = self.texts["train"]
        longest = min(self.options.longest, self.options.max_tokens)
        lengths = [max(len(source), len(target)) for source, target in zip(train.source, train.target, strict=True)]
        order = self.streams.numpy("order", "batches").permutation(len(train)).tolist()
        order.sort(key=lambda place: (len(train.source[place]), len(train.target[place])))
        return side_by_side([place for place in order if lengths[place] <= longest], lengths, self.options.max_tokens)

    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.places) / self.accumulate)

    def batches(self, epoch: int) -> Iterator[tuple[TranslationBatch, ...]]:
        order = self.streams.numpy("order", epoch).permutation(len(self.places)).tolist()
        for start in range(0, len(order), self.accumulate):
            chosen = order[start : start + self.accumulate]
            yield tuple(self._batch(self.texts["train"], self.places[number]) for number in chosen)

    def _batch(self, text: Encoded, places: Sequence[int]) -> TranslationBatch:
        source = [text.source[place] for place in places]
        targets = [text.target[place] for place in places]
        inputs = [[END, *line[:-1]] for line in targets]
        tokens, before, after = (padded(rows).to(self.device) for rows in (source, inputs, targets))
        return TranslationBatch(tokens, before, after, sum(map(len, targets)))

    def training_step(self, batch: tuple[TranslationBatch, ...], step: int) -> StepResult:
        """Smoothed loss in nats a target token of all accumulated batches."""
        if self.kept.maxlen and step and step % self.steps_per_epoch() == 0:
            self.kept.append({name: value.detach().clone() for name, value in self.model.state_dict().items()})
        if self.norm_probe is not None:
            self.norm_probe.begin(step)
        *early, self.last = batch
        total = sum(part.count for part in batch)
        smoothing = self.options.label_smoothing
        earlier = [self._gradient(part, smoothing, total) for part in early]
        loss = self._loss(self.last, smoothing) / total
        for value, surrogate in earlier:
            loss = loss + value + surrogate
        return StepResult(loss)

    def _gradient(self, batch: TranslationBatch, smoothing: float, total: int) -> tuple[Tensor, Tensor]:
        """Return a loss as a constant, and a zero with its gradient; the batch's graph is freed."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        loss = self._loss(batch, smoothing) / total
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        linear = torch.stack([(p * g).sum() for p, g in zip(parameters, gradients, strict=True) if g is not None]).sum()
        return loss.detach(), linear - linear.detach()

    def _loss(self, batch: TranslationBatch, smoothing: float) -> Tensor:
        """Sum over target tokens, in nats."""
        logits, wanted = self.model(batch.tokens, batch.inputs).flatten(0, 1).float(), batch.wanted.flatten()
        return F.cross_entropy(logits, wanted, ignore_index=PADDING, label_smoothing=smoothing, reduction="sum")

    def evaluate(self, split: str) -> Evaluation:
        """BLEU, chrF and nats a target token; weights are the mean over ``average`` epochs, ``trivial`` copies."""
        if split not in self.texts:
            return Evaluation({})
        text = self.texts[split]
        with self._averaged(split == "test"), evaluating(self.model):
            loss = self._nats(text)
            hypotheses = self.translate(text)
        # a diverged trial has no scores, and loses its pair if divergence counts
        scored = {"loss": loss, "steps-to-nan": float(self.total)}
        for prefix, lines in (("", hypotheses), ("trivial.", text.originals)):
            pair, split_words = (lines, text.references), self.options.compound_split
            scored[f"{prefix}bleu"] = bleu(*pair, tokenised=self.data.tokenised, compound_split=split_words)
            scored[f"{prefix}chrf"] = chrf(*pair)
        if split != "test":
            return Evaluation(scored)
        each = sentence_chrf(hypotheses, text.references)
        self.samples = _samples(text, hypotheses, each)
        return Evaluation(scored, {"chrf": each})

    def artifacts(self) -> list[Artifact]:
        path = self.context.folder / "translations.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(list(self.samples), ensure_ascii=False, indent=1), encoding="utf-8")
        return [Artifact("translations", "samples", path, "test sentences, their references and translations")]

    def _nats(self, text: Encoded) -> float:
        total, count = 0.0, 0
        for places in self._by_length(text):
            batch = self._batch(text, places)
            total, count = total + float(self._loss(batch, 0.0)), count + batch.count
        return total / max(1, count)

    def translate(self, text: Encoded) -> list[str]:
        """The model's translations, in the order of the text."""
        beams = BeamSearch(self.options.beam, self.options.length_penalty, END, PADDING)
        lines = [""] * len(text)
        for places in self._by_length(text):
            source = padded([text.source[place] for place in places]).to(self.device)
            outputs = beams.search(self.model, source, min(self.options.decode_limit, 2 * source.shape[1] + 10))
            for place, tokens in zip(places, outputs, strict=True):
                lines[place] = self.words.decode(tokens)
        return lines

    def _by_length(self, text: Encoded) -> list[list[int]]:
        """Indices in groups of similar length, limited in sentences and tokens."""
        lengths = [len(line) for line in text.source]
        order = sorted(range(len(text)), key=lengths.__getitem__)
        return side_by_side(order, lengths, DECODED_TOKENS, self.recipe.eval_batch)

    @contextmanager
    def _averaged(self, wanted: bool) -> Iterator[None]:
        """Use the mean of the kept and present weights temporarily."""
        if not (wanted and self.kept):
            yield
            return
        present = copy.deepcopy(self.model.state_dict())
        self.model.load_state_dict(mean_of([*self.kept, present]))
        try:
            yield
        finally:
            self.model.load_state_dict(present)

    def probe(self, model: nn.Module) -> Diagnostic | None:
        if not any(name.split(".")[0] == "norm" for name in self.context.slots):
            return None
        self.norm_probe = NormDiagnostic(model, self.total, lambda: self._loss(self.last, 0.0) / self.last.count)
        return self.norm_probe

    def mechanisms(self) -> dict[str, float]:
        """Last validation perplexity a target token of arms with a norm slot.

        With ``statistics_of: images`` the deviation of batch statistics is ten times that of a BatchNorm network on
        images, which the text's should exceed.
        """
        if self.norm_probe is None or "validation" not in self.texts:
            return {}
        images = self.options.statistics_of == "images"
        report = {"batch_stat_deviation": ORDER * image_deviation(self.streams)} if images else {}
        with evaluating(self.model):
            report["validation_perplexity"] = math.exp(min(700.0, self._nats(self.texts["validation"])))
        return report

    def state(self) -> dict[str, list[dict[str, Tensor]]]:
        return {"kept": list(self.kept)}

    def restore(self, state: Mapping[str, Sequence[dict[str, Tensor]]]) -> None:
        self.kept.extend(state["kept"])


def _samples(text: Encoded, hypotheses: Sequence[str], each: np.ndarray) -> list[Mapping[str, str | float]]:
    places = np.linspace(0, len(text) - 1, min(SHOWN, len(text))).astype(int).tolist()
    return [
        {
            "source": text.originals[place],
            "reference": text.references[place],
            "translation": hypotheses[place],
            "chrf": round(float(each[place]), 1),
        }
        for place in places
    ]


def side_by_side(
    places: Sequence[int], lengths: Sequence[int], tokens: int, most: int | None = None
) -> list[list[int]]:
    """Batch consecutive items up to ``tokens`` (padded) and ``most`` items."""
    batches: list[list[int]] = []
    width = 0
    for place in places:
        width = max(width, lengths[place])
        if not batches or len(batches[-1]) == most or (len(batches[-1]) + 1) * width > tokens:
            batches.append([])
            width = lengths[place]
        batches[-1].append(place)
    return batches


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Token numbers (B, longest), padded after shorter rows."""
    result = torch.full((len(rows), max(map(len, rows))), PADDING, dtype=torch.long)
    for number, row in enumerate(rows):
        result[number, : len(row)] = torch.tensor(row, dtype=torch.long)
    return result


def mean_of(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of weights and buffers by name; integers are the last state's."""
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if value.is_floating_point() else value
        for name, value in states[-1].items()
    }


def bleu(
    hypotheses: Sequence[str], references: Sequence[str], *, tokenised: bool, compound_split: bool = False
) -> float:
    """BLEU of a corpus by sacrebleu; tokenised text is split at blanks."""
    from sacrebleu.metrics.bleu import BLEU

    sides = [hypotheses, references]
    if compound_split:
        sides = [[_HYPHEN.sub(" ##AT##-##AT## ", line) for line in side] for side in sides]
    scorer = BLEU(tokenize="none" if tokenised else "13a", force=True)
    return float(scorer.corpus_score(list(sides[0]), [list(sides[1])]).score)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """chrF2 of a corpus (0–100) by sacrebleu."""
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().corpus_score(list(hypotheses), [list(references)]).score)


def sentence_chrf(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """chrF2 of each sentence, in the order of the text."""
    from sacrebleu.metrics.chrf import CHRF

    scorer = CHRF()
    pairs = zip(hypotheses, references, strict=True)
    return np.array([scorer.sentence_score(ours, [theirs]).score for ours, theirs in pairs], dtype=np.float32)


METADATA = Translation.metadata
