"""Statistics for few runs: pure functions with typed results; each module holds one concept. No torch in here."""

from audits.statistics.comparison import (
    Comparison,
    PairedComparison,
    UnpairedComparison,
    compare_paired,
    compare_unpaired,
)
from audits.statistics.counts import (
    Counts,
    ExactTest,
    boschloo,
    detectable_rate,
    exact_power,
    fisher,
    largest_rate,
    least_rate,
    rate_interval,
    runs_needed,
)
from audits.statistics.equivalence import Equivalence, equivalence, margin_with_power, smallest_margin
from audits.statistics.multiplicity import Holm, holm, holm_among_unknown, largest_family
from audits.statistics.paired import Paired, paired
from audits.statistics.permutation import Permutation, sign_flip, two_sample
from audits.statistics.power import (
    Rule,
    minimum_detectable_effect,
    paired_rule,
    power_of,
    seeds_needed,
    welch_rule,
)
from audits.statistics.scaling import Exponent, scaling_exponent
from audits.statistics.summary import Interval, Printed, Reading, Summary, pooled_sd, sd_interval, summarise
from audits.statistics.tipping import (
    TippingPoint,
    best_of_p,
    best_of_tipping_point,
    borrowed_p,
    single_run_p,
    tipping_point,
)
from audits.statistics.trend import Trend, cochran_armitage, trend_power
from audits.statistics.welch import Welch, welch, welch_from_print, welch_from_samples

__all__ = [
    "Comparison",
    "Counts",
    "Equivalence",
    "ExactTest",
    "Exponent",
    "Holm",
    "Interval",
    "Paired",
    "PairedComparison",
    "Permutation",
    "Printed",
    "Reading",
    "Rule",
    "Summary",
    "TippingPoint",
    "Trend",
    "UnpairedComparison",
    "Welch",
    "best_of_p",
    "best_of_tipping_point",
    "borrowed_p",
    "boschloo",
    "cochran_armitage",
    "compare_paired",
    "compare_unpaired",
    "detectable_rate",
    "equivalence",
    "exact_power",
    "fisher",
    "holm",
    "holm_among_unknown",
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
    "smallest_margin",
    "summarise",
    "tipping_point",
    "trend_power",
    "two_sample",
    "welch",
    "welch_from_print",
    "welch_from_samples",
    "welch_rule",
]
