"""Attack: is the pre-fix council's better perplexity earned by the leak, and lost under the clean mask?"""

from __future__ import annotations

import math

from audits.claim import Claim, ClaimVerdict, Judgement, Table, no_run_yet
from audits.claims._paper import ALPHA, POWER, percent
from audits.claims._trained import SEEDS, Trained, setting_text, trained
from audits.ledger import Evidence
from audits.statistics import Paired, minimum_detectable_effect, paired, paired_rule, seeds_needed


def judge(evidence: Evidence) -> Judgement:
    """Two paired comparisons with clean training, in nats: lower with the leak, higher under the clean mask."""
    clean, leaky = trained(evidence, "clean"), trained(evidence, "council")
    if len(clean) < SEEDS or [m.seed for m in clean] != [m.seed for m in leaky]:
        return no_run_yet(f"{SEEDS} paired seeds of both arms")
    runs = tuple(model.run for model in (*clean, *leaky))
    if any(model.diverged for model in (*clean, *leaky)):
        return _open("A run diverged, so the arms cannot be paired.", runs, None, ())
    if any(model.verdict != "PASS" for model in clean) or any(model.verdict != "LEAK" for model in leaky):
        return _open(
            "The audits do not separate the arms (clean must pass, leaky must leak): perplexities void.", runs, None, ()
        )
    own, future = [_finite(m.valid_nats) for m in clean], [_finite(m.valid_nats) for m in leaky]
    masked = [_finite(m.clean_mask_nats) for m in leaky]
    gain, loss = paired(future, own), paired(masked, own)
    return _decide(gain, loss, runs, (_table(clean, leaky),), setting_text(evidence))


def _decide(gain: Paired, loss: Paired, runs: tuple[str, ...], tables: tuple[Table, ...], scale: str) -> Judgement:
    reason = (
        f"With the leak, perplexity is {_ratio(gain)} times that of clean training; the same weights under the clean "
        f"mask have {_ratio(loss)} times ({gain.df + 1} paired seeds, {scale})."
    )
    if max(gain.p, loss.p) <= ALPHA:
        verdict = ClaimVerdict.SUPPORTED if gain.difference < 0 < loss.difference else ClaimVerdict.REFUTED
        change = "A scale at which the leak earns nothing, or at which its weights keep the gain under the clean mask."
        return Judgement(verdict, reason, change, evidence=runs, tables=tables)
    return _open(reason, runs, gain if gain.p >= loss.p else loss, tables)


def _open(reason: str, runs: tuple[str, ...], deciding: Paired | None, tables: tuple[Table, ...]) -> Judgement:
    detectable, seeds = "not computable", None
    if deciding is not None:
        rule = paired_rule(deciding.sd, deciding.df + 1, ALPHA)
        detectable = f"{minimum_detectable_effect(rule, POWER):.3f} nats ({percent(POWER)} power, alpha {ALPHA})"
        effect = abs(deciding.difference)
        seeds = seeds_needed(lambda n: paired_rule(deciding.sd, n, ALPHA), effect, POWER)
    return Judgement(ClaimVerdict.INCONCLUSIVE, reason, "More paired seeds.", detectable, seeds, runs, tables)


def _finite(nats: float | None) -> float:
    if nats is None:
        raise ValueError("a model that did not diverge has no finite loss: the evidence contradicts itself")
    return nats


def _ratio(result: Paired) -> str:
    """A difference of nats against clean training as a ratio of perplexities with its 95 % interval."""
    middle, low, high = (math.exp(v) for v in (result.difference, result.interval.low, result.interval.high))
    return f"{middle:.3g} (95 % interval {low:.3g} to {high:.3g})"


def _table(clean: tuple[Trained, ...], leaky: tuple[Trained, ...]) -> Table:
    rows = tuple(
        (str(a.seed), *(f"{math.exp(_finite(v)):.1f}" for v in (a.valid_nats, b.valid_nats, b.clean_mask_nats)))
        for a, b in zip(clean, leaky, strict=True)
    )
    header = ("seed", "clean", "bidirectional council", "the same weights, clean mask")
    return Table("Validation perplexity", header, rows)


CLAIM = Claim(
    id="attack-council-worth",
    statement="The bidirectional council's better perplexity is an artefact and is lost under the clean mask.",
    source="our attack on the pre-fix Hub-GPT of arXiv:2604.22442, whose author calls the benefit an artefact",
    test=f"Paired seeds, paired t on nats, both at alpha {ALPHA}: the leaky arm is better under its own mask, and "
    "worse than clean training when its weights are evaluated under the clean mask.",
    refuted_by="Leaky weights significantly better than clean ones under the clean mask, or a leak that costs.",
    judge=judge,
    needs=("leak-worth",),
)
