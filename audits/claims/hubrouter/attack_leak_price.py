"""Our own claim, an attack on a habit: do leaks exist that no perplexity shows?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.claims.figures import DotColumn, DotPoint, Dots
from audits.claims.hubrouter._price import MARGIN, SEEDS, Price, Priced, Tested, pairs_of, price
from audits.evidence.ledger import Evidence
from audits.experiments.language_models.leak_price import NAME, why_not
from audits.formatting import Table, p_text, percent
from audits.leaks._corpus import all_leaks
from audits.statistics.levels import ALPHA, POWER
from audits.statistics.power import minimum_detectable_effect, paired_rule, seeds_needed

WORDS = {
    Price.LOWERS: "lower held-out perplexity",
    Price.NOTHING: f"change it by less than {MARGIN} nats (proved)",
    Price.RAISES: "raise it",
    Price.OPEN: "are open",
    Price.UNCONFIRMED: "were killed by no probe and do not count",
}
STYLES = {Price.LOWERS: "leaky", Price.NOTHING: "control", Price.RAISES: "masked"}


def judge(evidence: Evidence) -> Judgement:
    """The judgement on the planted leaks whose price is defined."""
    return judge_leaks(evidence, {leak.name for leak in all_leaks() if why_not(leak) is None})


def judge_leaks(evidence: Evidence, wanted: set[str]) -> Judgement:
    """One confirmed leak that leaves perplexity as it is, or raises it, is enough; only if all lower it, it is refuted.

    Args:
        evidence: runs of `leak-price` and of the kill matrix; those of leaks no longer planted do not count.
        wanted: the leaks whose price is defined; a refutation needs them all.
    """
    priced = price(pairs_of(evidence, wanted))
    if not any(item.test for item in priced):
        return no_run_yet(f"a confirmed leak and its control with {SEEDS} paired seeds")
    prices = [item.price for item in priced]
    summary = ", ".join(f"{prices.count(kind)} {words}" for kind, words in WORDS.items() if kind in prices)
    missing = len(wanted) - len(priced)
    details = f"Of {len(priced)} planted leaks trained with their controls ({_scale(evidence)}), {summary}."
    details += f" {missing} further leaks were not trained." if missing else ""
    if Price.NOTHING in prices or Price.RAISES in prices:
        reason = "Some planted leaks that probes confirm leave perplexity as it is or raise it."
        return _judgement(ClaimVerdict.SUPPORTED, reason, "An error in these runs; more leaks cannot.", details, priced)
    if not missing and set(prices) == {Price.LOWERS}:
        reason = "Every planted leak that probes confirm lowers perplexity."
        change = "One confirmed leak that does not lower perplexity."
        return _judgement(ClaimVerdict.REFUTED, reason, change, details, priced)
    return _open(details, priced)


def _open(details: str, priced: Sequence[Priced]) -> Judgement:
    """Undecided, with what the noisiest open leak would have shown and the seeds it needs."""
    family = 2 * sum(item.test is not None for item in priced)
    noisy = [item.test for item in priced if item.test and item.price is Price.OPEN and item.test.sd > 0]
    detectable, seeds = "not computable: no open leak has paired runs", None
    if noisy:
        worst = max(noisy, key=lambda test: test.sd)
        detectable, seeds = _design(worst, ALPHA / family)
    reason = "No planted leak is proved to leave perplexity as it is, nor are all proved to lower it."
    change = "More paired seeds, or the leaks not trained."
    return _judgement(ClaimVerdict.INCONCLUSIVE, reason, change, details, priced, detectable, seeds)


def _design(test: Tested, alpha: float) -> tuple[str, int | None]:
    """The detectable effect of a test at the corrected alpha, and the seeds that find one of the margin's size."""
    effect = minimum_detectable_effect(paired_rule(test.sd, test.n, alpha), POWER)
    text = f"{effect:.3f} nats ({percent(POWER)} power, alpha {alpha:.2g} after correction)"
    return text, seeds_needed(lambda n: paired_rule(test.sd, n, alpha), MARGIN, POWER)


def _judgement(
    verdict: ClaimVerdict,
    reason: str,
    change: str,
    details: str,
    priced: Sequence[Priced],
    detectable: str | None = None,
    seeds: int | None = None,
) -> Judgement:
    runs = tuple(sorted(run for item in priced for run in item.pairs.runs))
    tables = (_prices(priced), _left_out())
    figures = (_figure(priced),)
    return Judgement(verdict, reason, change, detectable, seeds, runs, tables, details=details, figures=figures)


def _figure(priced: Sequence[Priced]) -> Dots:
    """The gain of every leak, the greatest first."""
    columns = tuple(
        DotColumn(
            item.pairs.leak,
            STYLES.get(item.price, "other"),
            tuple(map(DotPoint, item.pairs.seeds, item.pairs.percent)),
            item.pairs.failed,
        )
        for item in priced
    )
    note = (
        "Held-out text, each side evaluated under its own rule; above 0 the leaky model looks better than the clean "
        "one that was trained alike. Points at or below 0 are leaks that no perplexity shows."
    )
    return Dots(
        "What each planted leak gains in perplexity", "perplexity below clean training, %", columns, note, joined=False
    )


def _prices(priced: Sequence[Priced]) -> Table:
    header = (
        "leak", "class", "killed by", "seeds", "gain, nats (95 % interval)", "perplexity", "p, any difference",
        f"p, within ±{MARGIN}", "effect", "same weights, clean rule",
    )  # fmt: skip
    title = (
        "What each planted leak gains in perplexity; p after Holm's correction; last column: perplexity against clean "
        "training"
    )
    return Table(title, header, tuple(_row(item) for item in priced))


def _row(item: Priced) -> tuple[str, ...]:
    pairs, test = item.pairs, item.test
    seeds = f"{len(pairs.seeds)}" + (f" ({pairs.failed} diverged)" if pairs.failed else "")
    measured = ("not tested", "", "", "")
    if test is not None:
        gain = f"{test.gain:+.4f} ({test.interval.low:+.4f} to {test.interval.high:+.4f})"
        measured = (gain, _times(-test.gain), p_text(item.differs), p_text(item.nothing))
    signature = "weights do not fit" if pairs.signature is None else _times(pairs.signature)
    return (pairs.leak, pairs.leak_class, f"{pairs.killers} probes", seeds, *measured, str(item.price), signature)


def _times(nats: float) -> str:
    """A difference of nats as a ratio of perplexities."""
    return f"{math.exp(nats):.3f}x"


def _left_out() -> Table:
    """The planted leaks without a price, so that none is dropped silently."""
    reasons = ((leak.name, str(leak.leak_class), why_not(leak)) for leak in all_leaks())
    rows = tuple((name, kind, reason) for name, kind, reason in reasons if reason is not None)
    return Table("Planted leaks whose price in perplexity is not defined", ("leak", "class", "why"), rows)


def _scale(evidence: Evidence) -> str:
    """The scale of the runs in a few words."""
    config = evidence.latest(NAME, "twin")[0].config
    return f"models of some thousand parameters, {config['steps']} steps on {config['corpus']['name']}"


CLAIM = Claim(
    id="attack-leak-price",
    statement="Some causality leaks do not show in perplexity.",
    source="our attack on a habit: leaks in published models were found because their perplexity was too good",
    kind=Kind.ATTACK,
    test=f"Every planted leak that the kill matrix confirms, trained with its control from the same weights on the "
    f"same batches, at least {SEEDS} paired seeds, held-out nats under its own rule; paired t for a difference and two "
    f"one-sided ones for a difference within {MARGIN} nats, Holm over both questions of all leaks, alpha {ALPHA}. "
    f"SUPPORTED if one is proved to change perplexity by less than {MARGIN} nats, or to raise it.",
    refuted_by="Every planted leak proved to lower perplexity.",
    judge=judge,
    needs=(NAME, "kill-matrix"),
)
