"""AdamP and SGDP, the registered torch optimizers beside them, and probes for any optimizer."""

from methods.optimizers.adamp import AdamP
from methods.optimizers.sgdp import SGDP

__all__ = ["SGDP", "AdamP"]
