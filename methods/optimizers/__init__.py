"""AdamP and SGDP, torch's optimizers under registered names, and diagnostics of weights."""

from methods.optimizers.adamp import AdamP
from methods.optimizers.sgdp import SGDP

__all__ = ["SGDP", "AdamP"]
