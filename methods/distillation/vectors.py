"""Comparison of the distillation losses with those of the released code."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.comparison import EXACT, GRADIENT, LOSS, Arrays, Comparison, compared, tensor_of
from methods.distillation.kd import KD, dkd_loss, kd_loss, wsld_loss
from methods.distillation.nkd import nkd_loss
from methods.distillation.ranking import two_heaviest
from methods.distillation.uskd import uskd_loss

PREFIXES: tuple[str, ...] = ("nkd", "dkd", "kd", "wsld", "uskd")


def compare(name: str, case: Mapping[str, Any], arrays: Arrays) -> list[Comparison]:
    """Compare loss and gradients of a case.

    ``case`` has the hyper-parameters by their names in the released code (``temp``, ``gamma``, …); ``arrays`` has
    ``student``, ``label`` or ``soft_label``, ``loss``, ``grad_<input>`` and their inputs. A missing key is a KeyError.
    """
    tensors = {key: tensor_of(value) for key, value in arrays.items()}
    gradients = [key for key in arrays if key.startswith("grad_")]
    leaves = {key: tensors[key.removeprefix("grad_")].requires_grad_() for key in gradients}
    label = tensors["label"].long() if "label" in tensors else tensors["soft_label"]
    loss = _uskd(case, tensors, label) if name.startswith("uskd") else _with_teacher(name, case, tensors, label)
    computed = torch.autograd.grad(loss, list(leaves.values()))
    comparisons = [compared("loss", loss, arrays, LOSS)]
    for key, gradient in zip(leaves, computed, strict=True):
        comparisons.append(compared(key, gradient, arrays, GRADIENT))
    if "ce_weight" in arrays:
        weight = np.asarray(KD(temperature=case["temp"], alpha=case["alpha"]).ce_weight)
        comparisons.append(Comparison("ce_weight", weight, arrays["ce_weight"], **LOSS))
    if "top2_label" in arrays:
        comparisons.append(compared("top2_label", two_heaviest(label)[0], arrays, EXACT))
    return comparisons


def _with_teacher(name: str, case: Mapping[str, Any], tensors: Mapping[str, Tensor], label: Tensor) -> Tensor:
    student, teacher, temperature = tensors["student"], tensors["teacher"], float(case["temp"])
    if name.startswith("nkd"):
        return nkd_loss(student, teacher, label, temperature, float(case["gamma"]))
    if name.startswith("dkd"):
        return dkd_loss(student, teacher, label, temperature, float(case["alpha"]), float(case["beta"]))
    if name.startswith("wsld"):
        return wsld_loss(student, teacher, label, temperature, float(case["alpha"]))
    return float(case["alpha"]) * kd_loss(student, teacher, temperature)


def _uskd(case: Mapping[str, Any], tensors: Mapping[str, Tensor], label: Tensor) -> Tensor:
    feature = tensors["feature"]
    pooled = feature.mean(dim=(2, 3)) if feature.ndim == 4 else feature
    weak = F.linear(pooled, tensors["fc_weight"], tensors.get("fc_bias"))
    return uskd_loss(tensors["student"], weak, label, float(case["alpha"]), float(case["beta"]), float(case["mu"]))
