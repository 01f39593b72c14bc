"""Parts of language models: tied vocabulary, positions, norms from slots, weight norm."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError, choices
from harness.trial.contracts import ModelRequest, Slot


class TiedVocabulary(nn.Module):
    """One matrix embeds words and scores them (Press & Wolf 2017).

    With cutoffs c₁ < c₂ < … the softmax is adaptive: words are numbered by falling frequency; the head has the first c₁
    and one entry a cluster, and only the words of a cluster are compared within it (Grave et al. 2017), at full width.

    Args:
        words: size of the vocabulary.
        width: width of the embedding.
        cutoffs: rising numbers below ``words``; none: the full softmax.
        deviation: deviation of the initial embedding.
    """

    def __init__(self, words: int, width: int, cutoffs: Sequence[int] = (), deviation: float | None = None) -> None:
        super().__init__()
        ends = [*cutoffs, words]
        if sorted(set(ends)) != ends or ends[0] < 1:
            raise ValueError(
                f"cutoffs must rise and lie below the {words} words of the vocabulary, got {list(cutoffs)}"
            )
        self.width, self.ends = width, ends
        self.embedding = nn.Embedding(words, width)
        self.bias = nn.Parameter(torch.zeros(words))
        nn.init.normal_(self.embedding.weight, std=width**-0.5 if deviation is None else deviation)
        if cutoffs:
            self.cluster_weight = nn.Parameter(torch.zeros(len(cutoffs), width))
            self.cluster_bias = nn.Parameter(torch.zeros(len(cutoffs)))

    @property
    def weight(self) -> Tensor:
        """The matrix (words, width) that embeds and scores."""
        return self.embedding.weight

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed token numbers as (…, width), times √width (Vaswani et al. 2017)."""
        return self.embedding(tokens) * self.width**0.5

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Negative log likelihood in nats of targets (…,) under hidden states."""
        flat, wanted = hidden.reshape(-1, self.width), targets.reshape(-1)
        if len(self.ends) == 1:
            losses = F.cross_entropy(F.linear(flat, self.weight, self.bias), wanted, reduction="none")
        else:
            losses = self._adaptive(flat, wanted)
        return losses.view(targets.shape)

    def _adaptive(self, hidden: Tensor, targets: Tensor) -> Tensor:
        head = self.ends[0]
        weight = torch.cat([self.weight[:head], self.cluster_weight])
        bias = torch.cat([self.bias[:head], self.cluster_bias])
        # a word of cluster k is first the head's entry head + k, then itself within the cluster
        cluster = torch.bucketize(targets, torch.tensor(self.ends[:-1], device=targets.device), right=True)
        entry = torch.where(cluster == 0, targets, head + cluster - 1)
        losses = F.cross_entropy(F.linear(hidden, weight, bias), entry, reduction="none")
        for number, (start, end) in enumerate(zip(self.ends[:-1], self.ends[1:], strict=True), start=1):
            members = (cluster == number).nonzero()[:, 0]
            if len(members):
                logits = F.linear(hidden[members], self.weight[start:end], self.bias[start:end])
                within = F.cross_entropy(logits, targets[members] - start, reduction="none")
                losses = losses.index_add(0, members, within)
        return losses


def vocabulary_for(name: str, request: ModelRequest[Any], deviation: float | None = None) -> TiedVocabulary:
    """Build the vocabulary of a language model from ``width`` and ``cutoffs``."""
    options = request.options
    try:
        return TiedVocabulary(int(request.facts["vocabulary"]), options.width, options.cutoffs, deviation)
    except ValueError as error:
        raise HarnessError(f"{name}: {error}") from error


def sinusoids(places: Tensor, width: int) -> Tensor:
    """Sines, then cosines, (N, width) of places (N,) (Vaswani et al. 2017)."""
    rates = torch.exp(torch.arange(0, width, 2, device=places.device) * (-torch.log(torch.tensor(10000.0)) / width))
    angles = places.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]


class TokenLayerNorm(nn.LayerNorm):
    """The default layer normalization; it accepts and ignores a padding mask."""

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Normalise (T, B, C); the mask has no effect, since tokens are independent."""
        return super().forward(x)


def norm_for(request: ModelRequest[Any], place: str, warmup_share: float = 1.0) -> nn.Module:
    """Build the norm of a place for activations (T, B, ``width``).

    It is called with a padding mask (B, T) or None. The slot of ``all`` serves every place; without slots it is layer
    normalization. A fractional warm-up is a fraction of the run's ``steps``.

    Args:
        request: with norm slots by place, the option ``width``, and the fact ``steps``: training forwards of the run.
        place: ``encoder``, ``decoder`` or ``language`` (the one stack of a language model).
        warmup_share: the warm-up of this norm as a share of the slot's.
    """
    norms, width = request.norms, request.options.width
    slot = norms.get(place) or norms.get("all")
    if slot is None and norms:
        raise HarnessError(f"this model lacks a norm for the place '{place}'; {choices(norms, place)}")
    if slot is None:
        return TokenLayerNorm(width)
    return slot.build(width, **_warmup(slot, request.facts.get("steps"), warmup_share))


def _warmup(slot: Slot, steps: int | None, share: float) -> dict[str, float | None]:
    """Warm-up arguments of a norm; a fraction needs the number of steps."""
    settings = slot.hyper_parameters
    if settings.get("warmup_fraction") is not None:
        return {
            "warmup_fraction": settings["warmup_fraction"] * share,
            "total_steps": settings.get("total_steps") or steps,
        }
    return {"warmup_steps": round(settings["warmup_steps"] * share)} if "warmup_steps" in settings else {}


class PostNormLayer(nn.Module):
    """Attention and a two-layer network, each with a residual and a norm."""

    def __init__(self, request: ModelRequest[Any], attention: nn.Module) -> None:
        super().__init__()
        width, inner = request.options.width, request.options.inner
        self.attention = attention
        self.widen, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.attention_norm, self.network_norm = norm_for(request, "language"), norm_for(request, "language")
        self.dropout = nn.Dropout(request.options.dropout)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """Run on (T, B, C); ``others`` are further arguments of the attention."""
        x = self.attention_norm(x + self.dropout(self.attention(x, *others)))
        return self.network_norm(x + self.dropout(self.narrow(self.dropout(F.relu(self.widen(x))))))


def initialise_relative(model: nn.Module, deviation: float) -> None:
    """Initialise as Transformer-XL: normal weights and position biases, zero biases."""
    for part in model.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=deviation)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for bias in (model.content, model.place):
        assert isinstance(bias, nn.Parameter)
        nn.init.normal_(bias, std=deviation)


def normalise_weights(model: nn.Module) -> None:
    """Apply weight normalization w = g·v/‖v‖ to linear layers (Salimans & Kingma 2016)."""
    from torch.nn.utils.parametrizations import weight_norm

    for part in list(model.modules()):
        if isinstance(part, nn.Linear):
            weight_norm(part, "weight", dim=0)
