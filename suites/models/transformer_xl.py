"""Transformer-XL: relative positions, and earlier hidden states as memory (Dai et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option
from suites.models.vocabulary import (
    PostNormLayer,
    TiedVocabulary,
    initialise_relative,
    normalise_weights,
    sinusoids,
    vocabulary_for,
)


class RelativeAttention(nn.Module):
    """Multi-head attention with relative positions over memory and window."""

    def __init__(self, width: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.queries = nn.Linear(width, heads * head_width, bias=False)
        self.keys_values = nn.Linear(width, 2 * heads * head_width, bias=False)
        self.positions = nn.Linear(width, heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width, bias=False)
        self.dropout = dropout

    def forward(self, x: Tensor, context: Tensor, distances: Tensor, content: Tensor, place: Tensor) -> Tensor:
        """Attend by section 3.3: scores (q + u)·k + (q + v)·r, causal.

        Args:
            x: the window, (T, B, C).
            context: memory and window, (M+T, B, C).
            distances: encodings (M+T, C) of the distances M+T-1 … 0.
            content, place: the biases u and v, (heads, head width).
        """
        steps, batch, _ = x.shape
        length = context.shape[0]
        queries = self.queries(x).view(steps, batch, self.heads, self.head_width)
        keys, values = self.keys_values(context).view(length, batch, 2, self.heads, self.head_width).unbind(2)
        relative = self.positions(distances).view(length, self.heads, self.head_width)
        by_place = shift(torch.einsum("tbhd,lhd->bhtl", queries + place, relative))
        # a float mask adds the position term and excludes later places
        later = torch.ones(steps, length, dtype=torch.bool, device=x.device).triu(1 + length - steps)
        bias = (by_place * self.head_width**-0.5).masked_fill(later, -torch.inf)
        mixed = F.scaled_dot_product_attention(
            (queries + content).permute(1, 2, 0, 3),
            keys.permute(1, 2, 0, 3),
            values.permute(1, 2, 0, 3),
            attn_mask=bias,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(mixed.permute(2, 0, 1, 3).reshape(steps, batch, self.heads * self.head_width))


def shift(scores: Tensor) -> Tensor:
    """Turn scores by distance into scores by key (Dai et al. 2019, appendix B).

    Row i moves left by T-1-i.

    Args:
        scores: (B, heads, T, L), the last axis by distances L-1 … 0.

    Returns:
        The same shape; entries of keys later than the query are undefined and must be masked.
    """
    batch, heads, steps, length = scores.shape
    padded = F.pad(scores, (1, 0)).view(batch, heads, length + 1, steps)
    return padded[:, :, 1:].reshape(batch, heads, steps, length)


class TransformerXL(nn.Module):
    """Layers over the window and the memory of each layer's earlier inputs.

    Attributes:
        memory, eval_memory: number of remembered places in training and in evaluation.
        clamp: in evaluation, largest encoded distance; 0: none.
    """

    def __init__(self, request: ModelRequest[TransformerXLOptions], vocabulary: TiedVocabulary) -> None:
        super().__init__()
        options = request.options
        self.vocabulary = vocabulary
        self.memory, self.eval_memory, self.clamp = options.memory, options.eval_memory, options.clamp
        sizes = (options.width, options.heads, options.head_width, options.attention_dropout)
        self.layers = nn.ModuleList(PostNormLayer(request, RelativeAttention(*sizes)) for _ in range(options.layers))
        biases = (options.heads, options.head_width)
        # one pair for all layers, as in the published base model
        self.content = nn.Parameter(torch.zeros(biases))
        self.place = nn.Parameter(torch.zeros(biases))
        self.dropout = nn.Dropout(options.dropout)

    def memory_shape(self, batch: int) -> tuple[int, ...] | None:
        """Shape (layers, M, B, C) of the full training memory; None without memory."""
        return (len(self.layers), self.memory, batch, self.vocabulary.width) if self.memory else None

    def forward(self, tokens: Tensor, targets: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Negative log likelihood of a window, and the memory for the next.

        Args:
            tokens, targets: (B, T).
            memory: (layers, M, B, C), M up to the full length; None at the start of a text.

        Returns:
            Nats (B, T), and the memory without gradients, None if its length is 0.
        """
        steps = tokens.shape[1]
        past = 0 if memory is None else memory.shape[1]
        distances = torch.arange(past + steps - 1, -1, -1, device=tokens.device)
        if self.clamp and not self.training:
            distances = distances.clamp(max=self.clamp)
        encodings = self.dropout(sinusoids(distances, self.vocabulary.width))
        x = self.dropout(self.vocabulary.embed(tokens.T))
        inputs = []
        for number, layer in enumerate(self.layers):
            inputs.append(x.detach())
            context = x if memory is None else torch.cat([memory[number], x])
            x = layer(x, context, encodings, self.content, self.place)
        losses = self.vocabulary.nll(self.dropout(x).transpose(0, 1), targets)
        return losses, self._remember(torch.stack(inputs), memory)

    def _remember(self, inputs: Tensor, memory: Tensor | None) -> Tensor | None:
        length = self.memory if self.training else self.eval_memory
        if not length:
            return None
        whole = inputs if memory is None else torch.cat([memory, inputs], dim=1)
        return whole[:, -length:]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerXLOptions:
    """Options of the model ``transformer-xl``."""

    layers: int = option(4, "Transformer layers", low=1)
    width: int = option(128, "width of embedding and layers", low=2)
    heads: int = option(4, "heads of the attention", low=1)
    head_width: int = option(32, "width of one head", low=1)
    inner: int = option(256, "width of the two-layer network inside", low=1)
    dropout: float = option(0.0, "dropout of embeddings, positions and both parts of a layer", low=0, high=0.99)
    attention_dropout: float = option(0.0, "dropout of the attention's weights", low=0, high=0.99)
    memory: int = option(64, "remembered places in training", low=0)
    eval_memory: int = option(64, "remembered places in evaluation", low=0)
    clamp: int = option(0, "largest distance encoded in evaluation; 0: none", low=0)
    deviation: float = option(0.02, "deviation of the initial weights", low=0)
    weight_norm: bool = option(False, "weight normalization of every linear layer")
    cutoffs: tuple[int, ...] = option((), "cutoffs of the adaptive softmax; none: the full softmax")


def build(request: ModelRequest[TransformerXLOptions]) -> TransformerXL:
    """Build the model for ``facts``: ``vocabulary`` (number of words) and ``steps``.

    Raises:
        HarnessError: the width is odd, or cutoffs do not fit the vocabulary.
    """
    options = request.options
    if options.width % 2:
        raise HarnessError(f"transformer-xl: width {options.width} must be even")
    model = TransformerXL(request, vocabulary_for("transformer-xl", request, options.deviation))
    initialise_relative(model, options.deviation)
    if options.weight_norm:
        normalise_weights(model)
    return model


METADATA = ModelMetadata(
    name="transformer-xl",
    target="build",
    summary="Transformer-XL: relative positions and memory",
    source="Dai et al., Transformer-XL, ACL 2019, arXiv 1901.02860",
    slots=("norm",),
    options=TransformerXLOptions,
)
