"""Text classifiers from scratch: averaged embeddings, and a Transformer encoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option
from suites.models.transformer import EncoderLayer, TransformerOptions
from suites.models.vocabulary import norm_for, sinusoids


def averaged(x: Tensor, padding: Tensor) -> Tensor:
    """Mean over places of (B, T, C) without ``padding`` (B, T); 0 if all are padding."""
    kept = ~padding[..., None]
    return (x * kept).sum(1) / kept.sum(1).clamp(min=1)


class BagOfEmbeddings(nn.Module):
    """Mean of the words' embeddings, then a linear layer (Joulin et al. 2017)."""

    def __init__(self, words: int, padding: int, classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.padding = padding
        self.embedding = nn.Embedding(words, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, K) of tokens (B, T)."""
        return self.head(self.dropout(averaged(self.embedding(tokens), tokens == self.padding)))


class TextTransformer(nn.Module):
    """Encoder layers over embedded words and places, averaged, then a linear layer."""

    def __init__(self, request: ModelRequest[TextTransformerOptions]) -> None:
        super().__init__()
        options, facts = request.options, request.facts
        self.width, self.padding = options.width, int(facts["padding"])
        self.embedding = nn.Embedding(int(facts["vocabulary"]), options.width)
        nn.init.normal_(self.embedding.weight, std=options.width**-0.5)
        self.layers = nn.ModuleList(EncoderLayer(request) for _ in range(options.layers))
        self.last = norm_for(request, "encoder") if options.norm_first else None
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(options.width, int(facts["classes"]))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, K) of tokens (B, T)."""
        padding = tokens == self.padding
        places = sinusoids(torch.arange(tokens.shape[1], device=tokens.device), self.width)
        x = self.dropout((self.embedding(tokens) * self.width**0.5 + places).transpose(0, 1))
        for layer in self.layers:
            x = layer(x, padding)
        if self.last is not None:
            x = self.last(x, padding)
        return self.head(averaged(x.transpose(0, 1), padding))


@dataclass(frozen=True, slots=True, kw_only=True)
class BagOfEmbeddingsOptions:
    """Options of the model ``bag-of-embeddings``."""

    width: int = option(64, "width of the embedding", low=1)
    dropout: float = option(0.0, "dropout of the averaged embedding", low=0, high=0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTransformerOptions(TransformerOptions):
    """Options of the model ``text-transformer``."""

    layers: int = option(2)
    width: int = option(64)
    heads: int = option(4)
    inner: int = option(128)


def build_bag(request: ModelRequest[BagOfEmbeddingsOptions]) -> BagOfEmbeddings:
    """Build the network for ``facts``: ``vocabulary``, ``padding`` and ``classes``."""
    facts, options = request.facts, request.options
    sizes = int(facts["vocabulary"]), int(facts["padding"]), int(facts["classes"])
    return BagOfEmbeddings(*sizes, options.width, options.dropout)


def build_transformer(request: ModelRequest[TextTransformerOptions]) -> TextTransformer:
    """Build the network for ``facts``: ``vocabulary``, ``padding``, ``classes`` and ``steps``."""
    options = request.options
    if options.width % options.heads:
        raise HarnessError(f"text-transformer: width {options.width} is not a multiple of the {options.heads} heads")
    return TextTransformer(request)


METADATA = (
    ModelMetadata(
        name="bag-of-embeddings",
        target="build_bag",
        summary="a text's averaged word embeddings and a linear layer",
        source="Joulin et al., Bag of Tricks for Efficient Text Classification, EACL 2017, arXiv 1607.01759",
        options=BagOfEmbeddingsOptions,
    ),
    ModelMetadata(
        name="text-transformer",
        target="build_transformer",
        summary="a small Transformer encoder over the words of a text, averaged, and a linear layer",
        source="Vaswani et al., Attention Is All You Need, NeurIPS 2017, arXiv 1706.03762",
        options=TextTransformerOptions,
        slots=("norm",),
    ),
)
