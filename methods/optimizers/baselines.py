"""torch's Adam, AdamW and SGD, and the published package's AdamP."""

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices

from methods.metadata import Choice, MethodMetadata, Uniform

Built = TypeVar("Built", bound=torch.optim.Optimizer)

FORMS = ("fused", "foreach", "capturable", "differentiable")


def fused(build: Callable[..., Built], params: Iterable[Any], options: Mapping[str, Any]) -> Built:
    """Build an optimizer, with ``fused=True`` unless ``options`` choose a form.

    On a CPU it is two to eight times as fast for small tensors; SGD's numbers are equal, Adam's differ by rounding.
    """
    entries = [_listed(entry) for entry in params]
    if any(options.get(form) is not None for form in FORMS) or not has_kernel(entries):
        return build(entries, **options)
    return build(entries, **{**options, "fused": True})


def _listed(entry: Any) -> Any:
    held = entry["params"] if isinstance(entry, Mapping) else None
    return {**entry, "params": list(held)} if isinstance(held, Iterator) else entry


def has_kernel(params: Iterable[Any]) -> bool:
    """Return true if torch's fused kernels support all parameters or groups."""
    devices = _get_fused_kernels_supported_devices()
    return all(p.is_floating_point() and p.device.type in devices for p in _tensors(params))


def _tensors(params: Iterable[Any]) -> Iterator[Tensor]:
    for entry in params:
        if isinstance(entry, Tensor):
            yield entry
        elif isinstance(entry, Mapping):
            held = entry["params"]
            yield from _tensors([held] if isinstance(held, Tensor) else held)
        else:
            yield entry[1]


def adam(
    params: Iterable[Any],
    lr: float | Tensor = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    **options: Any,
) -> torch.optim.Adam:
    """``torch.optim.Adam``; ``weight_decay`` is an L2 penalty in the gradient, not decoupled."""
    own = {"lr": lr, "betas": (betas[0], betas[1]), "eps": eps, "weight_decay": weight_decay}
    return fused(torch.optim.Adam, params, {**own, **options})


def adamw(
    params: Iterable[Any],
    lr: float | Tensor = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    **options: Any,
) -> torch.optim.AdamW:
    """``torch.optim.AdamW`` with AdamP's default weight decay of 0 (torch's: 0.01)."""
    own = {"lr": lr, "betas": (betas[0], betas[1]), "eps": eps, "weight_decay": weight_decay}
    return fused(torch.optim.AdamW, params, {**own, **options})


def sgd(
    params: Iterable[Any],
    lr: float | Tensor,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    **options: Any,
) -> torch.optim.SGD:
    """``torch.optim.SGD``; ``weight_decay`` is an L2 penalty in the gradient, dampening acts from step 2 on."""
    own = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov}
    return fused(torch.optim.SGD, params, {**own, **options})


def adamp_package(
    params: Iterable[Any],
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    delta: float = 0.1,
    wd_ratio: float = 0.1,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """``adamp.AdamP`` of the package ``adamp`` (else ModuleNotFoundError); arguments as of our ``AdamP``."""
    try:
        package = importlib.import_module("adamp")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the arm 'adamp-package' needs the authors' package: pip install 'adamp>=0.3'. "
            "The arm 'adamp' computes the same without it."
        ) from error
    return package.AdamP(params, lr, (betas[0], betas[1]), eps, weight_decay, delta, wd_ratio, nesterov)


METADATA = (
    MethodMetadata(
        of=adam,
        name="adam",
        title="Adam",
        slot="optimizer",
        family="adam",
        paper="Kingma, Ba: Adam: A Method for Stochastic Optimization, ICLR 2015, arXiv 1412.6980; torch.optim.Adam",
        summary="Adam with an L2 penalty in the gradient",
        search_space={"lr": Uniform(1e-5, 1e-1, log=True), "weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1))},
    ),
    MethodMetadata(
        of=adamw,
        name="adamw",
        title="AdamW",
        slot="optimizer",
        family="adam",
        paper="Loshchilov, Hutter: Decoupled Weight Decay Regularization, ICLR 2019, arXiv 1711.05101; "
        "torch.optim.AdamW",
        summary="Adam with decoupled weight decay",
        search_space={"lr": Uniform(1e-5, 1e-1, log=True), "weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1))},
    ),
    MethodMetadata(
        of=sgd,
        name="sgd",
        title="SGD",
        slot="optimizer",
        family="sgd",
        paper="Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum in deep learning, "
        "ICML 2013; torch.optim.SGD",
        summary="momentum SGD with an L2 penalty",
        required=("lr",),
        options={"nesterov": (False, True)},
        search_space={
            "lr": Uniform(1e-4, 1.0, log=True),
            "weight_decay": Choice((0.0, 1e-6, 1e-5, 1e-4, 1e-3)),
            "momentum": Uniform(0.8, 0.99),
        },
    ),
    MethodMetadata(
        of=adamp_package,
        name="adamp-package",
        title="AdamP (package)",
        slot="optimizer",
        family="adam",
        paper="Heo, Chun, Oh, Han, Yun, Kim, Uh, Ha: AdamP: Slowing Down the Slowdown for Momentum Optimizers on "
        "Scale-invariant Weights, ICLR 2021, arXiv 2006.08217; package adamp 0.3.0",
        summary="the authors' own AdamP, for comparison with ours",
        options={"nesterov": (False, True)},
        search_space={"lr": Uniform(1e-5, 1e-1, log=True), "weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1))},
    ),
)
