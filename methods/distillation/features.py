"""Feature maps as the feature losses take them."""

from __future__ import annotations

from torch import Tensor

from methods.distillation.inputs import DistillationBatch


def as_map(feature: Tensor) -> Tensor:
    """A map (N, F, H, W); pooled features (N, F) become maps of one position."""
    return feature[:, :, None, None] if feature.ndim == 2 else feature


def check_channels(method: str, batch: DistillationBatch, student: int, teacher: int) -> None:
    """Refuse features that are neither pooled nor maps, or of other channels (ValueError)."""
    for name, feature, channels in (
        ("feature", batch.feature, student),
        ("teacher_feature", batch.teacher_feature, teacher),
    ):
        if feature is None or feature.ndim not in (2, 4) or feature.shape[1] != channels:
            shape = None if feature is None else tuple(feature.shape)
            raise ValueError(f"{method}: {name} must be (items, {channels}) or (items, {channels}, H, W), got {shape}")
