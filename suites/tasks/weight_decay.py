"""Parameter groups with and without weight decay, as mmcls's ``paramwise_cfg``."""

from __future__ import annotations

from typing import Any

from torch import nn

DECAYED = ("all", "no-norms", "weights")
TABLES = ("cls_token", "dist_token", "pos_embed", "relative_position_bias_table")
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def decay_groups(model: nn.Module, decayed: str) -> list[dict[str, Any]]:
    """Group parameters for an optimizer, perhaps with a second group without decay.

    ``all`` is one group. ``no-norms`` exempts the norms' parameters (ShuffleNetV2 upstream), ``weights`` every
    bias, every norm, and the tables and tokens of transformers (DeiT and Swin upstream).
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if decayed == "all":
        return [{"params": [p for _, p in trained]}]
    of_norms = {id(p) for part in model.modules() if isinstance(part, NORMS) for p in part.parameters()}

    def spared(name: str, p: nn.Parameter) -> bool:
        table = p.ndim < 2 or name.rpartition(".")[2] in TABLES
        return id(p) in of_norms or (decayed == "weights" and table)

    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in trained if not spared(name, p)]},
        {"params": [p for name, p in trained if spared(name, p)], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
