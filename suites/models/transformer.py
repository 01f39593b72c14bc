"""The encoder-decoder Transformer with one embedding for source, target and softmax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option
from suites.models.vocabulary import norm_for, sinusoids

Part = Callable[[Tensor], Tensor]
# A finite score for closed places: with −∞ a fully closed softmax would be NaN.
SHUT = -1e9


class Attention(nn.Module):
    """Multi-head attention of (T, B, C) to a context (S, B, C)."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        width = options.width
        self.heads, self.dropout = options.heads, options.attention_dropout
        self.queries, self.keys, self.values, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, context: Tensor, padding: Tensor, causal: bool = False) -> Tensor:
        """Attend; ``padding`` (B, S) is true for padding of the context."""
        closed = padding[:, None, None, :]
        if causal:
            steps = len(x)
            closed = closed | torch.ones(steps, steps, dtype=torch.bool, device=x.device).triu(1)
        return self.mix(x, *self.project(context), closed)

    def project(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, S, C/heads) of a context (S, B, C)."""
        return self._split(self.keys(context)), self._split(self.values(context))

    def mix(self, x: Tensor, keys: Tensor, values: Tensor, closed: Tensor | None) -> Tensor:
        """Attend to keys and values except where ``closed``, broadcastable to (B, heads, T, S), is true."""
        queries = self._split(self.queries(x))
        bias = None
        if closed is not None:
            bias = torch.zeros(closed.shape, dtype=queries.dtype, device=x.device).masked_fill(closed, SHUT)
        dropped = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, dropout_p=dropped)
        return self.out(mixed.permute(2, 0, 1, 3).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """(T, B, C) to (B, heads, T, C/heads)."""
        return x.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3)


@dataclass(slots=True)
class Cache:
    """Keys and values of a decoder layer for N hypotheses, (N, heads, S or t, C/heads); ``closed`` is padding."""

    source: tuple[Tensor, Tensor]
    closed: Tensor
    own: tuple[Tensor, Tensor] | None = None

    def grow(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add a token's keys and values; return all."""
        if self.own is not None:
            keys, values = (torch.cat(pair, dim=2) for pair in zip(self.own, (keys, values), strict=True))
        self.own = (keys, values)
        return self.own

    def select(self, rows: Tensor) -> None:
        """Continue with these hypotheses (N,), each of the same source as its row."""
        assert self.own is not None
        self.own = (self.own[0][rows], self.own[1][rows])


class Network(nn.Module):
    """Two linear layers with ReLU between."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        width, inner = options.width, options.inner
        self.widen, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.dropout = nn.Dropout(options.inner_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, C) to the same."""
        return self.narrow(self.dropout(F.relu(self.widen(x))))


class EncoderLayer(nn.Module):
    """Self-attention and network, each with a residual and a norm."""

    def __init__(self, request: ModelRequest[TransformerOptions]) -> None:
        super().__init__()
        options = request.options
        self.norm_first = options.norm_first
        self.attention_norm = norm_for(request, "encoder")
        self.attention = Attention(options)
        self.network_norm = norm_for(request, "encoder")
        self.network = Network(options)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """(S, B, C) with padding (B, S) to (S, B, C)."""
        if self.norm_first:
            y = self.attention_norm(x, padding)
            x = x + self.dropout(self.attention(y, y, padding))
            return x + self.dropout(self.network(self.network_norm(x, padding)))
        x = self.attention_norm(x + self.dropout(self.attention(x, x, padding)), padding)
        return self.network_norm(x + self.dropout(self.network(x)), padding)


class DecoderLayer(nn.Module):
    """Causal self-attention, source attention and network, with residuals and norms."""

    def __init__(self, request: ModelRequest[TransformerOptions]) -> None:
        super().__init__()
        options = request.options
        self.norm_first = options.norm_first
        self.self_norm = norm_for(request, "decoder")
        self.self_attention = Attention(options)
        self.source_norm = norm_for(request, "decoder")
        self.source_attention = Attention(options)
        self.network_norm = norm_for(request, "decoder")
        self.network = Network(options)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, x: Tensor, padding: Tensor, source: Tensor, source_padding: Tensor) -> Tensor:
        """Run on (T, B, C) with padding (B, T) and the encoded source (S, B, C)."""
        return self._run(
            x,
            padding,
            lambda y: self.self_attention(y, y, padding, causal=True),
            lambda y: self.source_attention(y, source, source_padding),
        )

    def start(self, source: Tensor, source_padding: Tensor) -> Cache:
        """A cache over the encoded source."""
        return Cache(self.source_attention.project(source), source_padding[:, None, None, :])

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        """Advance one token, (1, N, C) to the same."""
        return self._run(
            x,
            None,
            lambda y: self.self_attention.mix(y, *cache.grow(*self.self_attention.project(y)), None),
            lambda y: self.source_attention.mix(y, *cache.source, cache.closed),
        )

    def _run(self, x: Tensor, padding: Tensor | None, own: Part, source: Part) -> Tensor:
        if self.norm_first:
            x = x + self.dropout(own(self.self_norm(x, padding)))
            x = x + self.dropout(source(self.source_norm(x, padding)))
            return x + self.dropout(self.network(self.network_norm(x, padding)))
        x = self.self_norm(x + self.dropout(own(x)), padding)
        x = self.source_norm(x + self.dropout(source(x)), padding)
        return self.network_norm(x + self.dropout(self.network(x)), padding)


class Transformer(nn.Module):
    """Encoder and decoder over a joint vocabulary; norms of the places ``encoder`` and ``decoder``."""

    def __init__(self, request: ModelRequest[TransformerOptions]) -> None:
        super().__init__()
        options = request.options
        self.width, self.padding = options.width, int(request.facts["padding"])
        self.embedding = nn.Embedding(int(request.facts["vocabulary"]), options.width)
        self.encoder = nn.ModuleList(EncoderLayer(request) for _ in range(options.layers))
        self.decoder = nn.ModuleList(DecoderLayer(request) for _ in range(options.layers))
        # post-norm layers end with their own norm
        last = options.norm_first
        self.encoder_norm = norm_for(request, "encoder", options.last_warmup) if last else None
        self.decoder_norm = norm_for(request, "decoder") if last else None
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, V) of the tokens after each of ``target``, given ``source``."""
        encoded, padding = self.encode(source)
        return self.decode(target, encoded, padding)

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Encode the source: (S, B, C) and its padding (B, S)."""
        padding = source == self.padding
        x = self._embed(source)
        for layer in self.encoder:
            x = layer(x, padding)
        return (x if self.encoder_norm is None else self.encoder_norm(x, padding)), padding

    def decode(self, target: Tensor, encoded: Tensor, source_padding: Tensor) -> Tensor:
        """Logits (B, T, V) after each token of ``target`` (B, T)."""
        padding = target == self.padding
        x = self._embed(target)
        for layer in self.decoder:
            x = layer(x, padding, encoded, source_padding)
        if self.decoder_norm is not None:
            x = self.decoder_norm(x, padding)
        return F.linear(x.transpose(0, 1), self.embedding.weight)

    def start(self, source: Tensor, beam: int) -> list[Cache]:
        """Caches by layer for ``beam`` adjacent hypotheses of each source (B, S)."""
        encoded, padding = self.encode(source)
        encoded, padding = encoded.repeat_interleave(beam, dim=1), padding.repeat_interleave(beam, dim=0)
        return [layer.start(encoded, padding) for layer in self.decoder]

    def step(self, tokens: Tensor, place: int, caches: list[Cache]) -> Tensor:
        """Logits (N, V) after the tokens (N,) at a place; the caches are extended."""
        x = self._embed(tokens[:, None], place)
        for layer, cache in zip(self.decoder, caches, strict=True):
            x = layer.step(x, cache)
        if self.decoder_norm is not None:
            x = self.decoder_norm(x, None)
        return F.linear(x[0], self.embedding.weight)

    def _embed(self, tokens: Tensor, first: int = 0) -> Tensor:
        places = torch.arange(first, first + tokens.shape[1], device=tokens.device)
        return self.dropout(self.embedding(tokens.T) * self.width**0.5 + sinusoids(places, self.width)[:, None])


def initialise(model: Transformer) -> None:
    """Initialise with Glorot's uniform weights (attention inputs divided by √2), embeddings of deviation 1/√width."""
    nn.init.normal_(model.embedding.weight, std=model.width**-0.5)
    for name, part in model.named_modules():
        if isinstance(part, nn.Linear):
            projects = name.rpartition(".")[2] in ("queries", "keys", "values")
            nn.init.xavier_uniform_(part.weight, gain=2**-0.5 if projects else 1.0)
            nn.init.zeros_(part.bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerOptions:
    """Options of the model ``transformer``."""

    layers: int = option(6, "layers of the encoder and of the decoder, each", low=1)
    width: int = option(512, "width of embedding and layers", low=2)
    heads: int = option(4, "heads of every attention", low=1)
    inner: int = option(1024, "width of the two-layer networks inside", low=1)
    dropout: float = option(0.0, "dropout of embeddings and of every part of a layer", low=0, high=0.99)
    attention_dropout: float = option(0.0, "dropout of the attention's weights", low=0, high=0.99)
    inner_dropout: float = option(0.0, "dropout inside the two-layer networks", low=0, high=0.99)
    norm_first: bool = option(True, "normalise inputs (pre-norm) instead of sums (post-norm)")
    last_warmup: float = option(
        1.0, "warm-up of the encoder's last norm as a share of the others', if norms have one", low=0
    )


def build(request: ModelRequest[TransformerOptions]) -> Transformer:
    """Build the model for ``facts``: ``vocabulary``, ``padding`` (its number), ``steps``."""
    width, heads = request.options.width, request.options.heads
    if width % heads or width % 2:
        raise HarnessError(f"transformer: width {width} must be even and a multiple of the {heads} heads")
    model = Transformer(request)
    initialise(model)
    return model


METADATA = ModelMetadata(
    name="transformer",
    target="build",
    summary="encoder-decoder Transformer, one embedding for source, target and softmax",
    source="Vaswani et al., Attention Is All You Need, NeurIPS 2017, arXiv 1706.03762",
    slots=("norm",),
    options=TransformerOptions,
)
