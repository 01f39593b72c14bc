"""Normalization layers of token sequences and of images."""

from methods.norms.batch_image import BatchNormImage as BatchNormImage
from methods.norms.batch_released import BatchNormReleased as BatchNormReleased
from methods.norms.batch_vanilla import BatchNormVanilla as BatchNormVanilla
from methods.norms.group_rms import GroupRMSNorm as GroupRMSNorm
from methods.norms.instance_image import InstanceNormImage as InstanceNormImage
from methods.norms.layer import LayerNorm as LayerNorm
from methods.norms.power_vanilla import PowerNormVanilla as PowerNormVanilla
from methods.norms.powernorm import PowerNorm as PowerNorm
from methods.norms.region_basic import RegionNormBasic as RegionNormBasic
from methods.norms.region_learned import RegionNormLearned as RegionNormLearned
from methods.norms.rms import RMSNorm as RMSNorm
