"""A Transformer language model: causal self-attention over one window, sinusoidal positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option
from suites.models.vocabulary import TiedVocabulary, norm_for, normalise_weights, sinusoids, vocabulary_for


class CausalLayer(nn.Module):
    """Causal self-attention and a two-layer network on (T, B, C), each with a residual and a norm.

    ``norm_first`` normalises the input of each part (pre-norm); otherwise the sum (post-norm, as published in 2017).
    """

    def __init__(self, request: ModelRequest[TransformerLMOptions]) -> None:
        super().__init__()
        options = request.options
        width, inner = options.width, options.inner
        self.heads, self.norm_first = options.heads, options.norm_first
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        self.attention_norm, self.network_norm = norm_for(request, "language"), norm_for(request, "language")
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, C) to the same."""
        if self.norm_first:
            x = x + self.dropout(self.attend(self.attention_norm(x)))
            return x + self.dropout(self.network(self.network_norm(x)))
        x = self.attention_norm(x + self.dropout(self.attend(x)))
        return self.network_norm(x + self.dropout(self.network(x)))

    def attend(self, x: Tensor) -> Tensor:
        """Attend from each place to itself and earlier places."""
        steps, batch, width = x.shape
        heads = self.queries_keys_values(x).view(steps, batch, 3, self.heads, width // self.heads)
        queries, keys, values = heads.permute(2, 1, 3, 0, 4)  # each (B, heads, T, width/heads)
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return self.out(mixed.permute(2, 0, 1, 3).reshape(steps, batch, width))

    def network(self, x: Tensor) -> Tensor:
        """Two linear layers with ReLU between."""
        return self.narrow(F.relu(self.widen(x)))


class TransformerLM(nn.Module):
    """Layers between a tied embedding and softmax, without memory between windows."""

    def __init__(self, request: ModelRequest[TransformerLMOptions], vocabulary: TiedVocabulary) -> None:
        super().__init__()
        options = request.options
        self.vocabulary = vocabulary
        self.layers = nn.ModuleList(CausalLayer(request) for _ in range(options.layers))
        self.last = norm_for(request, "language") if options.norm_first else nn.Identity()
        self.dropout = nn.Dropout(options.dropout)

    def memory_shape(self, batch: int) -> tuple[int, ...] | None:
        """None: windows are independent."""
        return None

    def forward(self, tokens: Tensor, targets: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Negative log likelihood in nats (B, T) of targets after tokens, and no memory."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        positions = sinusoids(places, self.vocabulary.width)[:, None]
        x = self.dropout(self.vocabulary.embed(tokens.T) + positions)
        for layer in self.layers:
            x = layer(x)
        return self.vocabulary.nll(self.last(x).transpose(0, 1), targets), None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerLMOptions:
    """Options of the model ``transformer-lm``."""

    layers: int = option(3, "Transformer layers", low=1)
    width: int = option(64, "width of embedding and layers", low=2)
    heads: int = option(4, "heads of the attention", low=1)
    inner: int = option(256, "width of the two-layer network inside", low=1)
    dropout: float = option(0.0, "dropout of embeddings and of both parts of a layer", low=0, high=0.99)
    norm_first: bool = option(False, "normalise inputs (pre-norm) instead of sums (post-norm)")
    weight_norm: bool = option(False, "weight normalization of every linear layer")
    cutoffs: tuple[int, ...] = option((), "cutoffs of the adaptive softmax; none: the full softmax")


def build(request: ModelRequest[TransformerLMOptions]) -> TransformerLM:
    """Build the model for ``facts``: ``vocabulary`` (number of words) and ``steps``.

    Raises:
        HarnessError: the width is odd or not a multiple of the heads, or cutoffs do not fit the vocabulary.
    """
    options = request.options
    width, heads = options.width, options.heads
    if width % heads or width % 2:
        raise HarnessError(f"transformer-lm: width {width} must be even and a multiple of the {heads} heads")
    model = TransformerLM(request, vocabulary_for("transformer-lm", request))
    if options.weight_norm:
        normalise_weights(model)
    return model


METADATA = ModelMetadata(
    name="transformer-lm",
    target="build",
    summary="Transformer language model over one window, tied embedding",
    source="Vaswani et al., Attention Is All You Need, NeurIPS 2017, arXiv 1706.03762",
    slots=("norm",),
    options=TransformerLMOptions,
)
