"""Comparison of the norms with reference vectors of the released code."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from methods.comparison import GRADIENT, LOSS, Arrays, Comparison, compared, tensor_of
from methods.norms.powernorm import PowerNorm
from methods.norms.region import RegionNormBasic, RegionNormLearned

PREFIXES = ("powernorm", "rn_b", "rn_l")
"""Prefixes of the case names that ``compare`` supports."""


def compare(name: str, case: Mapping[str, Any], arrays: Arrays) -> list[Comparison]:
    """Compare every output of a case (ValueError for an unknown name), by the keys of ``vectors/README.md``."""
    if name.startswith("powernorm"):
        return _powernorm(case, arrays)
    if name.startswith("rn_b"):
        norm: nn.Module = RegionNormBasic(arrays["x"].shape[1], **_arguments(case, eps="eps"))
        own = {key: key for key in ("hole_gamma", "hole_beta", "valid_gamma", "valid_beta")}
        return _region(norm, own, arrays, tensor_of(arrays["mask"]))
    if name.startswith("rn_l"):
        norm = RegionNormLearned(arrays["x"].shape[1], **_arguments(case, threshold="threshold", eps="eps"))
        keys = {"sa.conv1.weight": "attention.weight"}
        for conv in ("gamma_conv", "beta_conv"):
            keys |= {f"sa.{conv}.{part}": f"{conv}.{part}" for part in ("weight", "bias")}
        return _region(norm, keys, arrays, None)
    raise ValueError(f"unknown case '{name}'; valid prefixes: {', '.join(PREFIXES)}")


def _arguments(case: Mapping[str, Any], **names: str) -> dict[str, Any]:
    return {ours: case[theirs] for ours, theirs in names.items() if theirs in case}


def _check(label: str, got: Tensor, arrays: Arrays) -> Comparison:
    return compared(label, got, arrays, GRADIENT if label.startswith(("grad", "ema_gz")) else LOSS)


def _load(norm: nn.Module, arrays: Arrays, keys: Mapping[str, str]) -> dict[str, nn.Parameter]:
    own = dict(norm.named_parameters())
    for key, name in keys.items():
        with torch.no_grad():
            own[name].copy_(tensor_of(arrays[key]))
    return {key: own[name] for key, name in keys.items()}


def _powernorm(case: Mapping[str, Any], arrays: Arrays) -> list[Comparison]:
    names = {"alpha_fwd": "alpha_fwd", "alpha_bkw": "alpha_bkw", "eps": "eps"}
    names |= {"warmup_steps": "warmup_iters", "groups": "group_num"}
    norm = PowerNorm(len(arrays["weight"]), **_arguments(case, **names))
    _load(norm, arrays, {"weight": "weight", "bias": "bias"})
    comparisons: list[Comparison] = []
    for step in range(sum(key.startswith("x.") for key in arrays)):
        x = tensor_of(arrays[f"x.{step}"]).requires_grad_()
        mask = tensor_of(arrays[f"mask.{step}"]) if f"mask.{step}" in arrays else None
        norm.zero_grad(set_to_none=True)
        out = norm(x, mask)
        out.backward(tensor_of(arrays[f"grad_out.{step}"]))
        got = {"out": out, "grad_x": x.grad, "grad_weight": norm.weight.grad, "grad_bias": norm.bias.grad}
        got |= {"running_phi": norm.running_phi, "ema_gz": norm.ema_gz}
        for label, value in got.items():
            if f"{label}.{step}" in arrays and isinstance(value, Tensor):
                comparisons.append(_check(f"{label}.{step}", value, arrays))
    if "eval_x" in arrays:
        norm.eval()
        comparisons.append(_check("eval_out", norm(tensor_of(arrays["eval_x"])), arrays))
    return comparisons


def _region(norm: nn.Module, keys: Mapping[str, str], arrays: Arrays, mask: Tensor | None) -> list[Comparison]:
    parameters = _load(norm, arrays, keys)
    x = tensor_of(arrays["x"]).requires_grad_()
    out = norm(x, mask)
    comparisons = [_check("out", out, arrays)]
    if "grad_out" in arrays:
        out.backward(tensor_of(arrays["grad_out"]))
        for key, value in {"x": x, **parameters}.items():
            if f"grad_{key}" in arrays:
                grad = torch.zeros_like(value) if value.grad is None else value.grad
                comparisons.append(_check(f"grad_{key}", grad, arrays))
    return comparisons
