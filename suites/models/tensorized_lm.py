"""Tensorized Transformer language model: multi-linear attention of one core (Ma et al. 2019).

The attention is a third-order tensor over places, T[i, j, m] = Σ_r g_r Q_ir K_jr V_mr, with a diagonal core; the slice
of place i is flattened and projected to the width. So the projection has as many columns as pairs of places, and the
model fixes the window's length. Positions are relative, with two biases, as in Transformer-XL.

The authors' language models mask nothing: a place's slice contains keys and values of later places, and the
projection can read the next token from them. ``causal`` masks both axes; ``causal: false`` is the released behaviour.
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
from suites.models.vocabulary import PostNormLayer, TiedVocabulary, initialise_relative, sinusoids, vocabulary_for


class MultiLinearAttention(nn.Module):
    """One core of multi-linear attention over at most ``length`` places.

    (T, B, C) to the same. The core's diagonal is one for every rank: the projections of queries cover other diagonals.
    """

    def __init__(self, width: int, head_width: int, length: int, causal: bool) -> None:
        super().__init__()
        self.length, self.causal, self.head_width = length, causal, head_width
        self.queries_keys_values = nn.Linear(width, 3 * head_width, bias=False)
        self.positions = nn.Linear(width, head_width, bias=False)
        self.out = nn.Linear(length * length, width, bias=False)

    def forward(self, x: Tensor, distances: Tensor, content: Tensor, place: Tensor) -> Tensor:
        """Attend.

        Args:
            x: (T, B, C), T up to ``length``.
            distances: encodings (T, C) of the places' distances from the last one.
            content, place: the biases u and v, (head width,).
        """
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
        """Negative log likelihood in nats (B, T) of targets (B, T) after tokens (B, T), and no memory.

        Raises:
            ValueError: a window longer than the model's.
        """
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


def build(request: ModelRequest[TensorizedLMOptions]) -> TensorizedLM:
    """Build the model for ``facts``: ``vocabulary`` (number of words) and ``steps``.

    Raises:
        HarnessError: the width is odd, or cutoffs do not fit the vocabulary.
    """
    options, deviation = request.options, request.options.deviation
    if options.width % 2:
        raise HarnessError(f"tensorized-lm: width {options.width} must be even")
    model = TensorizedLM(request, vocabulary_for("tensorized-lm", request, deviation))
    initialise_relative(model, deviation)
    return model


METADATA = ModelMetadata(
    name="tensorized-lm",
    target="build",
    summary="Tensorized Transformer language model: multi-linear attention of one core",
    source="Ma et al., A Tensorized Transformer for Language Modeling, NeurIPS 2019, arXiv 1906.09777",
    slots=("norm",),
    options=TensorizedLMOptions,
)
