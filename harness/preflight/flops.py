"""Counting arithmetic by torch's own formulas: matrix products, convolutions, attention; two a multiply-add.

``torch.utils.flop_counter.FlopCounterMode`` also keeps a tree of modules, whose hooks hold on to the graph of a network
that is called twice in a step; and it does not know attention on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
# The CPU's kernel takes queries, keys and values in the same places.
AS: Mapping[Any, Any] = {
    aten._scaled_dot_product_flash_attention_for_cpu: aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: aten._scaled_dot_product_flash_attention_backward,
}


class Flops(TorchDispatchMode):
    """Counts while ``counting``; ``total`` is what was counted."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.counting = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and count it."""
        more = dict(kwargs or {})
        packet = getattr(func, "_overloadpacket", func)
        formula: Callable[..., int] | None = flop_registry.get(AS.get(packet, packet))
        if formula is None:
            with self:
                parts = func.decompose(*args, **more)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **more)
        if formula is not None and self.counting:
            self.total += int(formula(*args, **more, out_val=out))
        return out
