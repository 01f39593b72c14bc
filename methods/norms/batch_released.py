"""The batch normalization of PowerNorm's released code, which differs from the usual.

Shen et al., "PowerNorm", ICML 2020, arXiv 2003.07845, compare with BN; their released arm scales each token by its
root mean square first, fills padding with the mean of the tokens, and has a momentum of 0.05.
"""

from __future__ import annotations

from methods.checks import check_choice
from methods.metadata import MethodMetadata, Uniform
from methods.norms.diagnostics import DEVIATIONS
from methods.norms.masked_batch import MaskedBatchNorm

OPTIONS: dict[str, tuple[str, ...]] = {"scaling": ("released", "paper"), "padding": ("released", "paper")}


class BatchNormReleased(MaskedBatchNorm):
    """BN as in PowerNorm's released code (ICML 2020) for (T, B, C).

    Statistics as in ``MaskedBatchNorm``. Evaluation normalises padding like any token, each by itself.

    Args:
        channels: C.
        momentum: weight of the batch in the running values.
        eps: added to the variance and to the tokens' mean squares.
        scaling: ``released`` divides each token by its root mean square first, ``paper`` does not.
        padding: ``released`` replaces padding by the mean of the tokens and counts it in the variance (padding
            becomes the bias), ``paper`` leaves it out.

    Raises:
        ValueError: an unknown option.
    """

    name = "batch-released"

    def __init__(
        self,
        channels: int,
        *,
        momentum: float = 0.05,
        eps: float = 1e-5,
        scaling: str = "released",
        padding: str = "released",
    ) -> None:
        check_choice(self.name, "scaling", scaling, OPTIONS["scaling"])
        check_choice(self.name, "padding", padding, OPTIONS["padding"])
        super().__init__(
            channels, momentum=momentum, eps=eps, scaling=scaling == "released", fill=padding == "released"
        )


METADATA = MethodMetadata(
    of=BatchNormReleased,
    title="BatchNorm (PowerNorm's release)",
    paper="Shen et al.: PowerNorm, ICML 2020, arXiv 2003.07845 (the released BN arm)",
    summary="Token RMS, then batch normalization with padding filled by the mean: BN as PowerNorm's code has it.",
    options=OPTIONS,
    search_space={"momentum": Uniform(0.01, 0.3, log=True)},
    diagnostics=DEVIATIONS,
)
