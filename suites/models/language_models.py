"""Transformer language models: over one window, with memory (Transformer-XL), and tensorized.

Transformer-XL (Dai et al. 2019) has relative positions and earlier hidden states as memory.

The attention of the Tensorized Transformer (Ma et al. 2019) is a third-order tensor over places,
T[i, j, m] = Σ_r g_r Q_ir K_jr V_mr, with a diagonal core; the slice of place i is flattened and projected to the width.
So the projection has as many columns as pairs of places, and the model fixes the window's length. Positions are
relative, with two biases, as in Transformer-XL. The authors' language models mask nothing: a place's slice contains
keys and values of later places, and the projection can read the next token from them. ``causal`` masks both axes;
``causal: false`` is the released behaviour.
"""

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
    norm_for,
    normalise_weights,
    sinusoids,
    vocabulary_for,
)


class CausalLayer(nn.Module):
    """Causal self-attention and two-layer network on (T, B, C), pre-norm (``norm_first``) or post-norm."""

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


def build_lm(request: ModelRequest[TransformerLMOptions]) -> TransformerLM:
    """Build the model for ``facts``: ``vocabulary`` (number of words) and ``steps``."""
    options = request.options
    width, heads = options.width, options.heads
    if width % heads or width % 2:
        raise HarnessError(f"transformer-lm: width {width} must be even and a multiple of the {heads} heads")
    model = TransformerLM(request, vocabulary_for("transformer-lm", request))
    if options.weight_norm:
        normalise_weights(model)
    return model


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
    """Turn scores (B, heads, T, L) by distance L-1 … 0 into scores by key (Dai et al. 2019, appendix B).

    Row i moves left by T-1-i; entries of keys later than the query are undefined and must be masked.
    """
    batch, heads, steps, length = scores.shape
    padded = F.pad(scores, (1, 0)).view(batch, heads, length + 1, steps)
    return padded[:, :, 1:].reshape(batch, heads, steps, length)


class TransformerXL(nn.Module):
    """Layers over the window and remembered inputs of each layer; ``clamp`` cuts distances in evaluation."""

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
        """Negative log likelihood (B, T) of a window in nats, and the memory for the next without gradients.

        ``memory`` is (layers, M, B, C), M up to the full length; None at the start of a text or of length 0.
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


def build_xl(request: ModelRequest[TransformerXLOptions]) -> TransformerXL:
    """Build the model for ``facts``: ``vocabulary`` (number of words) and ``steps``."""
    options = request.options
    if options.width % 2:
        raise HarnessError(f"transformer-xl: width {options.width} must be even")
    model = TransformerXL(request, vocabulary_for("transformer-xl", request, options.deviation))
    initialise_relative(model, options.deviation)
    if options.weight_norm:
        normalise_weights(model)
    return model


class MultiLinearAttention(nn.Module):
    """Multi-linear attention of one core on (T, B, C), at most ``length`` places; the diagonal is one."""

    def __init__(self, width: int, head_width: int, length: int, causal: bool) -> None:
        super().__init__()
        self.length, self.causal, self.head_width = length, causal, head_width
        self.queries_keys_values = nn.Linear(width, 3 * head_width, bias=False)
        self.positions = nn.Linear(width, head_width, bias=False)
        self.out = nn.Linear(length * length, width, bias=False)

    def forward(self, x: Tensor, distances: Tensor, content: Tensor, place: Tensor) -> Tensor:
        """Attend in x (T, B, C), T up to ``length``, to encodings (T, C) of distances, with biases (head width,)."""
        steps = len(x)
        queries, keys, values = self.queries_keys_values(x).chunk(3, dim=-1)
        relative = self.positions(distances)
        # (T, B, J, R): scores by rank, before the values
        by_rank = (queries + content)[:, :, None] * keys.transpose(0, 1) + (queries + place)[:, :, None] * relative
        tensor = torch.einsum("tbjr,mbr->tbjm", by_rank, values)
        if self.causal:
            visible = torch.ones(steps, steps, dtype=torch.bool, device=x.device).tril()
            tensor = tensor * (visible[:, None, :, None] & visible[:, None, None, :])
        weight = self.out.weight.view(-1, self.length, self.length)[:, :steps, :steps]
        return F.linear(tensor.flatten(2), weight.flatten(1))


class TensorizedLM(nn.Module):
    """Layers between a tied embedding and softmax; no memory."""

    def __init__(self, request: ModelRequest[TensorizedLMOptions], vocabulary: TiedVocabulary) -> None:
        super().__init__()
        options = request.options
        self.vocabulary = vocabulary
        self.length = options.length
        sizes = (options.width, options.head_width, options.length, options.causal)
        self.layers = nn.ModuleList(PostNormLayer(request, MultiLinearAttention(*sizes)) for _ in range(options.layers))
        # one pair for all layers, as in the published code's original
        self.content = nn.Parameter(torch.zeros(options.head_width))
        self.place = nn.Parameter(torch.zeros(options.head_width))
        self.dropout = nn.Dropout(options.dropout)

    def memory_shape(self, batch: int) -> tuple[int, ...] | None:
        """None: windows are independent."""
        return None

    def forward(self, tokens: Tensor, targets: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Negative log likelihood in nats (B, T) of targets (B, T) after tokens (B, T), and no memory."""
        steps = tokens.shape[1]
        if steps > self.length:
            raise ValueError(f"tensorized-lm reads windows of at most {self.length} tokens, got {steps}")
        distances = torch.arange(steps - 1, -1, -1, device=tokens.device)
        encodings = self.dropout(sinusoids(distances, self.vocabulary.width))
        x = self.dropout(self.vocabulary.embed(tokens.T))
        for layer in self.layers:
            x = layer(x, encodings, self.content, self.place)
        return self.vocabulary.nll(self.dropout(x).transpose(0, 1), targets), None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorizedLMOptions:
    """Options of the model ``tensorized-lm``."""

    layers: int = option(3, "Transformer layers", low=1)
    width: int = option(256, "width of embedding and layers", low=2)
    head_width: int = option(40, "rank of the attention's core", low=1)
    inner: int = option(2100, "width of the two-layer network inside", low=1)
    length: int = option(32, "largest window: the attention's projection has its square as columns", low=1)
    causal: bool = option(True, "mask later places; the released code does not")
    dropout: float = option(0.0, "dropout of embeddings, positions and both parts of a layer", low=0, high=0.99)
    deviation: float = option(0.02, "deviation of the initial weights", low=0)
    cutoffs: tuple[int, ...] = option((), "cutoffs of the adaptive softmax; none: the full softmax")


def build_tensorized(request: ModelRequest[TensorizedLMOptions]) -> TensorizedLM:
    """Build the model for ``facts``: ``vocabulary`` (number of words) and ``steps``."""
    options, deviation = request.options, request.options.deviation
    if options.width % 2:
        raise HarnessError(f"tensorized-lm: width {options.width} must be even")
    model = TensorizedLM(request, vocabulary_for("tensorized-lm", request, deviation))
    initialise_relative(model, deviation)
    return model


METADATA = (
    ModelMetadata(
        name="transformer-lm",
        target="build_lm",
        summary="Transformer language model over one window, tied embedding",
        source="Vaswani et al., Attention Is All You Need, NeurIPS 2017, arXiv 1706.03762",
        slots=("norm",),
        options=TransformerLMOptions,
    ),
    ModelMetadata(
        name="transformer-xl",
        target="build_xl",
        summary="Transformer-XL: relative positions and memory",
        source="Dai et al., Transformer-XL, ACL 2019, arXiv 1901.02860",
        slots=("norm",),
        options=TransformerXLOptions,
    ),
    ModelMetadata(
        name="tensorized-lm",
        target="build_tensorized",
        summary="Tensorized Transformer language model: multi-linear attention of one core",
        source="Ma et al., A Tensorized Transformer for Language Modeling, NeurIPS 2019, arXiv 1906.09777",
        slots=("norm",),
        options=TensorizedLMOptions,
    ),
)
