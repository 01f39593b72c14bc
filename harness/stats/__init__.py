"""The statistics of a claim, pure numpy and scipy: tests, intervals, corrections, tuning curves.

Differences are signed so that up is the claimed direction. The rules for NaN, infinities, tiny n and equal values
are one set, stated in `harness.stats.records`. scipy is imported on first use.
"""

from harness.stats.agreement import relation_holds
from harness.stats.budgets import best_of_difference, expected_best, expected_best_band, median_best_band
from harness.stats.multiplicity import (
    benjamini_hochberg,
    e_bh,
    holm,
    intersection_union,
    partial_conjunction,
    stratified_mean,
    two_way_interval,
)
from harness.stats.paired import (
    distribution_sensitive,
    equivalence,
    hedges_d,
    log_ratio,
    minimum_detectable_effect,
    non_inferiority,
    paired_correlation,
    paired_t,
    paired_t_power,
    seeds_for_power,
    seeds_won,
    sign_flip_p,
    studentised_bootstrap,
)
from harness.stats.records import BudgetBand, Inference, Interval, TwoWayInference
from harness.stats.sequential import (
    anytime_interval,
    anytime_p,
    e_from_p,
    e_value,
    half_width_of_moments,
    interval_half_widths,
    log_e_of_moments,
    log_e_process,
    log_e_value,
)

__all__ = [
    "BudgetBand",
    "Inference",
    "Interval",
    "TwoWayInference",
    "anytime_interval",
    "anytime_p",
    "benjamini_hochberg",
    "best_of_difference",
    "distribution_sensitive",
    "e_bh",
    "e_from_p",
    "e_value",
    "equivalence",
    "expected_best",
    "expected_best_band",
    "half_width_of_moments",
    "hedges_d",
    "holm",
    "intersection_union",
    "interval_half_widths",
    "log_e_of_moments",
    "log_e_process",
    "log_e_value",
    "log_ratio",
    "median_best_band",
    "minimum_detectable_effect",
    "non_inferiority",
    "paired_correlation",
    "paired_t",
    "paired_t_power",
    "partial_conjunction",
    "relation_holds",
    "seeds_for_power",
    "seeds_won",
    "sign_flip_p",
    "stratified_mean",
    "studentised_bootstrap",
    "two_way_interval",
]
