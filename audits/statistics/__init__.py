"""Statistics for few runs: pure functions with typed results; each module holds one concept. No torch in here."""

from audits.statistics.comparison import PairedComparison, compare_paired, compare_unpaired
from audits.statistics.contrast import contrast, contrast_sides, difference_of_differences, slope_weights
from audits.statistics.counts import (
    Counts,
    Discordant,
    boschloo,
    detectable_rate,
    discordant,
    exact_power,
    fisher,
    largest_rate,
    least_rate,
    rate_interval,
    runs_needed,
)
from audits.statistics.equivalence import (
    Equivalence,
    equivalence,
    equivalence_paired,
    margin_with_power,
    smallest_margin,
    smallest_margin_paired,
)
from audits.statistics.levels import ALPHA, POWER
from audits.statistics.multiplicity import Adjusted, Holm, holm, holm_among_unknown, holm_by_claim, largest_family
from audits.statistics.paired import paired
from audits.statistics.permutation import sign_flip, two_sample
from audits.statistics.power import minimum_detectable_effect, paired_rule, power_of, seeds_needed, welch_rule
from audits.statistics.scaling import Exponent, scaling_exponent
from audits.statistics.summary import Interval, Printed, Reading, Summary, pooled_sd, sd_interval, summarise
from audits.statistics.tipping import best_of_p, best_of_tipping_point, borrowed_p, single_run_p, tipping_point
from audits.statistics.trend import cochran_armitage
from audits.statistics.trend_cells import trend_over_cells
from audits.statistics.trend_design import detectable_trend, exact_trend_power, trend_runs_needed
from audits.statistics.trend_exact import TrendTest, trend_over_runs, trend_within_seeds
from audits.statistics.trend_null import Direction
from audits.statistics.welch import Welch, welch, welch_from_print

__all__ = [
    "ALPHA",
    "POWER",
    "Adjusted",
    "Counts",
    "Direction",
    "Discordant",
    "Equivalence",
    "Exponent",
    "Holm",
    "Interval",
    "PairedComparison",
    "Printed",
    "Reading",
    "Summary",
    "TrendTest",
    "Welch",
    "best_of_p",
    "best_of_tipping_point",
    "borrowed_p",
    "boschloo",
    "cochran_armitage",
    "compare_paired",
    "compare_unpaired",
    "contrast",
    "contrast_sides",
    "detectable_rate",
    "detectable_trend",
    "difference_of_differences",
    "discordant",
    "equivalence",
    "equivalence_paired",
    "exact_power",
    "exact_trend_power",
    "fisher",
    "holm",
    "holm_among_unknown",
    "holm_by_claim",
    "largest_family",
    "largest_rate",
    "least_rate",
    "margin_with_power",
    "minimum_detectable_effect",
    "paired",
    "paired_rule",
    "pooled_sd",
    "power_of",
    "rate_interval",
    "runs_needed",
    "scaling_exponent",
    "sd_interval",
    "seeds_needed",
    "sign_flip",
    "single_run_p",
    "slope_weights",
    "smallest_margin",
    "smallest_margin_paired",
    "summarise",
    "tipping_point",
    "trend_over_cells",
    "trend_over_runs",
    "trend_runs_needed",
    "trend_within_seeds",
    "two_sample",
    "welch",
    "welch_from_print",
    "welch_rule",
]
