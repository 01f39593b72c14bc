"""The statistics of a claim, pure numpy and scipy: tests, intervals, corrections, tuning curves.

Differences are signed so that up is the claimed direction. The rules for NaN, infinities, tiny n and equal values
are one set, stated in `harness.stats.records`. scipy is imported on first use.
"""

from harness.stats.budgets import expected_best as expected_best
from harness.stats.budgets import expected_best_band as expected_best_band
from harness.stats.budgets import median_best_band as median_best_band
from harness.stats.capped import SequentialRule as SequentialRule
from harness.stats.multiplicity import benjamini_hochberg as benjamini_hochberg
from harness.stats.multiplicity import holm as holm
from harness.stats.multiplicity import overlapping_two_way as overlapping_two_way
from harness.stats.multiplicity import partial_conjunction as partial_conjunction
from harness.stats.multiplicity import two_way_interval as two_way_interval
from harness.stats.over_datasets import FEWEST_RANKED as FEWEST_RANKED
from harness.stats.over_datasets import AverageRanks as AverageRanks
from harness.stats.over_datasets import average_ranks as average_ranks
from harness.stats.over_datasets import interquartile_mean as interquartile_mean
from harness.stats.over_datasets import performance_profile as performance_profile
from harness.stats.over_datasets import practical_shares as practical_shares
from harness.stats.over_datasets import share_better as share_better
from harness.stats.over_datasets import signed_rank as signed_rank
from harness.stats.paired import effect_size_interval as effect_size_interval
from harness.stats.paired import equivalence as equivalence
from harness.stats.paired import hedges_d as hedges_d
from harness.stats.paired import least_sd_of as least_sd_of
from harness.stats.paired import log_ratio as log_ratio
from harness.stats.paired import non_inferiority as non_inferiority
from harness.stats.paired import paired_correlation as paired_correlation
from harness.stats.paired import paired_t as paired_t
from harness.stats.paired import seeds_won as seeds_won
from harness.stats.paired import sign_flip_p as sign_flip_p
from harness.stats.paired import sign_sensitive as sign_sensitive
from harness.stats.paired import studentised_bootstrap as studentised_bootstrap
from harness.stats.paired import welch_t as welch_t
from harness.stats.power import critical_t as critical_t
from harness.stats.power import minimum_detectable_effect as minimum_detectable_effect
from harness.stats.power import paired_t_power as paired_t_power
from harness.stats.power import same_verdict_again as same_verdict_again
from harness.stats.power import seeds_for_power as seeds_for_power
from harness.stats.records import INDEPENDENT as INDEPENDENT
from harness.stats.records import BudgetBand as BudgetBand
from harness.stats.records import Floats as Floats
from harness.stats.records import Inference as Inference
from harness.stats.records import Interval as Interval
from harness.stats.records import Noise as Noise
from harness.stats.records import TwoWayInference as TwoWayInference
from harness.stats.records import relation_holds as relation_holds
from harness.stats.sequential import e_value as e_value
from harness.stats.sequential import half_width_of_moments as half_width_of_moments
from harness.stats.sequential import interval_half_widths as interval_half_widths
from harness.stats.sequential import log_e_of_moments as log_e_of_moments
from harness.stats.sequential import log_e_process as log_e_process
