"""Claim `hub-gpt-causal`: after the council fix, routing is strictly causal."""

from __future__ import annotations

from dataclasses import replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement, no_run_yet
from audits.claims.hubrouter._paper import SOURCE
from audits.claims.hubrouter._trained import SEEDS, models
from audits.evidence.ledger import Evidence
from audits.experiments.language_models._arm import SIZES
from audits.formatting import Table
from hubrouter.patterns import hub_gpt


def judge(evidence: Evidence) -> Judgement:
    """Every trained strictly causal Hub-GPT must pass every applicable probe; one leak refutes, and fails the gate."""
    found = models(evidence)
    size = SIZES[found.tier]
    checked = found.of(size.arm(hub_gpt(size.layers)))
    verdicts = {model.verdict for model in checked}
    if len(checked) < SEEDS and "LEAK" not in verdicts:
        return no_run_yet(f"{SEEDS} trained Hub-GPTs")
    rows = tuple(
        (str(m.seed), m.verdict, ", ".join(sorted({f["leak_class"] for f in m.findings})) or "none") for m in checked
    )
    table = Table("Audit of the trained weights", ("seed", "verdict", "leak classes"), rows)
    runs = tuple(model.run for model in checked)
    base = Judgement(
        ClaimVerdict.SUPPORTED,
        f"All {len(checked)} trained Hub-GPTs whose selection is frozen at the chunk's border pass their audit.",
        "One input that moves an earlier output.",
        ours=f"{sum(item.verdict == 'PASS' for item in checked)} of {len(checked)} pass",
        evidence=runs,
        tables=(table,),
        details=f"The quick preset, which sees every planted leak, for the first seed, a gradient check for the "
        f"others, {found.scale}. This holds for our "
        "implementation: a council mask alone is not enough (see attack-selection).",
    )
    if "LEAK" in verdicts:
        reason = "The audit found a leak in the trained weights of our strictly causal Hub-GPT."
        return replace(base, verdict=ClaimVerdict.REFUTED, reason=reason, would_change="A corrected layer.", gate=False)
    if verdicts != {"PASS"}:
        return replace(
            base,
            verdict=ClaimVerdict.INCONCLUSIVE,
            reason="Some probe could not decide on the trained weights, which is not a PASS.",
            would_change="Probes that can decide.",
            minimum_detectable_effect="not computable: one leak decides",
            gate=False,
        )
    return base


CLAIM = Claim(
    id="hub-gpt-causal",
    statement="Hub-GPT's routing is strictly causal (after the council fix).",
    source=SOURCE,
    test="Train Hub-GPT with at least three seeds and audit the trained weights, the first by the quick preset, the "
    "others by a gradient check: all must pass.",
    refuted_by="One probe that finds an earlier output moved by a later token above its measured noise floor.",
    judge=judge,
    needs=("systems",),
)
