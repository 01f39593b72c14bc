"""Normalization layers: for sequences (T, B, C) with padding masks and for images (B, C, H, W) with holes."""

from methods.norms.batch_image import BatchNormImage
from methods.norms.batch_released import BatchNormReleased
from methods.norms.batch_vanilla import BatchNormVanilla
from methods.norms.group_rms import GroupRMSNorm
from methods.norms.instance_image import InstanceNormImage
from methods.norms.layer import LayerNorm
from methods.norms.power_vanilla import PowerNormVanilla
from methods.norms.powernorm import PowerNorm
from methods.norms.region_basic import RegionNormBasic
from methods.norms.region_learned import RegionNormLearned
from methods.norms.rms import RMSNorm

__all__ = [
    "BatchNormImage",
    "BatchNormReleased",
    "BatchNormVanilla",
    "GroupRMSNorm",
    "InstanceNormImage",
    "LayerNorm",
    "PowerNorm",
    "PowerNormVanilla",
    "RMSNorm",
    "RegionNormBasic",
    "RegionNormLearned",
]
