"""Attack: is the pre-fix council's better perplexity due to the leak, and gone under the clean mask?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.claims.figures import Dots
from audits.claims.hubrouter._gate import void
from audits.claims.hubrouter._trained import (
    SEEDS,
    Trained,
    column,
    compare,
    detectable_text,
    finite,
    leaks,
    losses,
    models,
    ratio_text,
    runs_of,
    tier_arms,
)
from audits.evidence.ledger import Evidence
from audits.experiments.language_models import leak_worth
from audits.formatting import Table
from audits.statistics.comparison import PairedComparison, compare_paired
from audits.statistics.levels import ALPHA


def judge(evidence: Evidence) -> Judgement:
    """Two paired comparisons with clean training, in nats: lower with the leak, higher under the clean mask."""
    found = models(evidence)
    arms = tier_arms(found, leak_worth.arms)[:2]
    if not found.complete(arms):
        return no_run_yet(f"{SEEDS} paired seeds of both arms")
    clean, leaky = found.paired(arms)
    return judge_runs(clean, leaky, found.scale)


def judge_runs(clean: Sequence[Trained], leaky: Sequence[Trained], scale: str) -> Judgement:
    """The judgement on trained models."""
    if problem := void(scale, [clean], [clean, leaky]):
        return problem
    if not leaks(leaky):
        reason = f"The audit finds no leak in the arm that has one, so the comparison says nothing ({scale})."
        return Judgement(ClaimVerdict.INCONCLUSIVE, reason, "An audit that sees it.", "none", None, runs_of(leaky))
    gain, loss = compare(leaky, clean), compare_paired([finite(m.clean_mask_nats) for m in leaky], losses(clean))
    return _decide(gain, loss, clean, leaky, scale)


def _decide(
    gain: PairedComparison, loss: PairedComparison, clean: Sequence[Trained], leaky: Sequence[Trained], scale: str
) -> Judgement:
    deciding = gain if gain.p >= loss.p else loss
    verdict = ClaimVerdict.INCONCLUSIVE
    if deciding.p <= ALPHA:
        verdict = ClaimVerdict.SUPPORTED if gain.difference < 0 < loss.difference else ClaimVerdict.REFUTED
    columns = (
        column("strictly causal", clean),
        column("bidirectional council", leaky),
        column("the same weights, clean mask", leaky, masked=True),
    )
    return Judgement(
        verdict,
        f"With the leak, perplexity is {ratio_text(gain)} times that of clean training; the same weights under the "
        f"clean mask have {ratio_text(loss)} times ({gain.n} paired seeds, {scale}).",
        "A scale at which the leak gains nothing, or at which its weights keep the gain under the clean mask.",
        minimum_detectable_effect=detectable_text(deciding),
        seeds_needed=deciding.seeds_needed,
        evidence=runs_of(clean, leaky),
        tables=(_table(clean, leaky),),
        figures=(Dots("What the council's leak is worth", "validation perplexity", columns, log=True),),
        p=deciding.p,
    )


def _table(clean: Sequence[Trained], leaky: Sequence[Trained]) -> Table:
    rows = tuple(
        (str(a.seed), *(f"{math.exp(finite(v)):.1f}" for v in (a.valid_nats, b.valid_nats, b.clean_mask_nats)))
        for a, b in zip(clean, leaky, strict=True)
    )
    header = ("seed", "clean", "bidirectional council", "the same weights, clean mask")
    return Table("Validation perplexity", header, rows)


CLAIM = Claim(
    id="attack-council-worth",
    statement="The bidirectional council's better perplexity is an artefact and is lost under the clean mask.",
    source="our attack on the pre-fix Hub-GPT of arXiv:2604.22442, whose author calls the benefit an artefact",
    kind=Kind.ATTACK,
    test=f"Paired seeds, paired t on nats, both at alpha {ALPHA}: the leaky arm is better under its own mask, and "
    "worse than clean training when its weights are evaluated under the clean mask.",
    refuted_by="Leaky weights significantly better than clean ones under the clean mask, or a leak that costs.",
    judge=judge,
    needs=("leak-worth",),
)
