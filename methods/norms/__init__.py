"""Normalization layers of token sequences and of images."""

from methods.norms.batch_sequence import BatchNormReleased as BatchNormReleased
from methods.norms.batch_sequence import BatchNormVanilla as BatchNormVanilla
from methods.norms.per_token import GroupRMSNorm as GroupRMSNorm
from methods.norms.per_token import LayerNorm as LayerNorm
from methods.norms.per_token import RMSNorm as RMSNorm
from methods.norms.power_vanilla import PowerNormVanilla as PowerNormVanilla
from methods.norms.powernorm import PowerNorm as PowerNorm
from methods.norms.region import RegionNormBasic as RegionNormBasic
from methods.norms.region import RegionNormLearned as RegionNormLearned
from methods.norms.whole_image import BatchNormImage as BatchNormImage
from methods.norms.whole_image import InstanceNormImage as InstanceNormImage
