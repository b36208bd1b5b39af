"""Attack on the published fix: is a causal council mask enough if the top-k is taken inside the chunk?"""

from __future__ import annotations

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.claims.hubrouter._trained import SEEDS, models
from audits.evidence.ledger import Evidence
from audits.experiments.language_models._language_model import SELECTION, SIZES, Arm
from audits.formatting import Table
from hubrouter.patterns import hub_gpt


def judge(evidence: Evidence) -> Judgement:
    """One confirmed leak refutes that the mask is enough; passes of all seeds would support it."""
    records = evidence.latest("selection-attack")
    if len(records) < SEEDS and not any(record.result["perturbation"] == "LEAK" for record in records):
        return no_run_yet(f"the selection attack with {SEEDS} seeds")
    runs = tuple(record.run for record in records)
    leaks = [record for record in records if record.result["perturbation"] == "LEAK"]
    rows = tuple(
        (str(r.seed), "random", r.result["perturbation"], r.result["gradient"], _classes(r.result["audit"]["findings"]))
        for r in sorted(records, key=lambda record: record.seed)
    )
    found = models(evidence)
    attacked = found.of(Arm(hub_gpt(SIZES[found.tier].layers), SELECTION))
    rows += tuple((str(m.seed), "trained", m.verdict, _gradient(m.findings), _classes(m.findings)) for m in attacked)
    table = Table(
        "Causal council mask, selection inside the chunk",
        ("seed", "weights", "perturbation", "gradient", "class"),
        rows,
    )
    runs += tuple(model.run for model in attacked)
    if leaks:
        blind = sum(record.result["gradient"] == "PASS" for record in leaks)
        reason = (
            f"With the council masked causally but the top-k taken inside the chunk, later tokens move earlier outputs "
            f"in {len(leaks)} of {len(records)} models; the gradient check passes {blind} of these {len(leaks)}."
        )
        return Judgement(
            ClaimVerdict.REFUTED,
            reason,
            "Evidence that the paper's top-k never sees the own chunk.",
            evidence=runs,
            tables=(table,),
        )
    if all(record.result["perturbation"] == "PASS" for record in records):
        return Judgement(
            ClaimVerdict.SUPPORTED,
            "No model leaks.",
            "One input that flips a selection.",
            evidence=runs,
            tables=(table,),
        )
    return Judgement(
        ClaimVerdict.INCONCLUSIVE,
        "The probes could not decide.",
        "Probes that can.",
        "not computable: one leak decides",
        None,
        runs,
        (table,),
    )


def _classes(findings: tuple[dict[str, str], ...]) -> str:
    return ", ".join(sorted({finding["leak_class"] for finding in findings})) or "none"


def _gradient(findings: tuple[dict[str, str], ...]) -> str:
    return "LEAK" if any(finding["probe"] == "gradient" for finding in findings) else "PASS"


CLAIM = Claim(
    id="attack-selection",
    statement="The published fix, a causal council mask, suffices even where the top-k is taken inside the chunk.",
    source="our attack on the fix of arXiv:2604.22442; the paper does not say where its top-k is taken",
    kind=Kind.ATTACK,
    test="Audit Hub-GPT with a causal council mask and selection inside the chunk, three seeds: one leak refutes.",
    refuted_by="A later token of the chunk that moves an earlier output by changing which tokens the council reads.",
    judge=judge,
    needs=("selection-attack", "leak-worth"),
)
