"""Attack on the published fix: is a causal council mask enough if the top-k is taken inside the chunk?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.claims.hubrouter._trained import SEEDS, Runs, compare, models, ratio_text
from audits.evidence.ledger import Evidence, Record
from audits.experiments.language_models import leak_dose
from audits.experiments.language_models._doses import CAUSAL_TOP, SELECTION
from audits.formatting import Table


def judge(evidence: Evidence) -> Judgement:
    """One confirmed leak decides; what it is worth is shown against the matched causal arm."""
    records = evidence.latest("selection-attack")
    leaks = [record for record in records if record.result["perturbation"] == "LEAK"]
    if len(records) < SEEDS and not leaks:
        return no_run_yet(f"the selection attack with {SEEDS} seeds")
    found = models(evidence)
    attacked, twin = (
        found.of(replace(leak_dose.clean(found.tier), routing=routing)) for routing in (SELECTION, CAUSAL_TOP)
    )
    runs = (*(record.run for record in records), *(model.run for model in (*attacked, *twin)))
    tables = (_table(records, attacked),)
    if leaks:
        blind = sum(record.result["gradient"] == "PASS" for record in leaks)
        return Judgement(
            ClaimVerdict.SUPPORTED,
            f"In {len(leaks)} of {len(records)} models a top-k inside the chunk lets outputs depend on later tokens.",
            "Evidence that the paper's top-k never sees the own chunk.",
            ours=f"{len(leaks)} of {len(records)} models leak",
            evidence=runs,
            tables=tables,
            details=f"The gradient check passes {blind} of these {len(leaks)}: a choice has no derivative. "
            + _worth(attacked, twin),
        )
    if all(record.result["perturbation"] == "PASS" for record in records):
        change = "One input that flips a selection."
        return Judgement(ClaimVerdict.REFUTED, "No model leaks.", change, evidence=runs, tables=tables)
    change, effect = "Probes that can.", "not computable: one leak decides"
    return Judgement(ClaimVerdict.INCONCLUSIVE, "The probes could not decide.", change, effect, None, runs, tables)


def _worth(attacked: Runs, twin: Runs) -> str:
    if len(attacked) < SEEDS or len(twin) < SEEDS:
        return "What it is worth in training against a matched causal top-k is not verified: no runs yet."
    test = compare(attacked, twin)
    return (
        f"In training its perplexity is {ratio_text(test)} times that of the matched arm, whose top-k is taken among "
        f"the "
        "tokens up to the query."
    )


def _table(records: Sequence[Record], attacked: Runs) -> Table:
    rows = [
        (str(r.seed), "random", r.result["perturbation"], r.result["gradient"], _classes(r.result["audit"]["findings"]))
        for r in sorted(records, key=lambda record: record.seed)
    ]
    rows += [(str(m.seed), "trained", m.verdict, "not run", _classes(m.findings)) for m in attacked]
    header = ("seed", "weights", "perturbation", "gradient", "class")
    return Table("Causal council mask, selection inside the chunk", header, tuple(rows))


def _classes(findings: tuple[dict[str, str], ...]) -> str:
    return ", ".join(sorted({finding["leak_class"] for finding in findings})) or "none"


CLAIM = Claim(
    id="attack-selection",
    statement="A causal council mask does not mend a top-k that is taken inside the chunk.",
    source="our attack on the fix of arXiv:2604.22442; the paper does not say where its top-k is taken",
    kind=Kind.ATTACK,
    test="Audit Hub-GPT with a causal council mask and selection inside the chunk, three seeds: one leak "
    "shows it. Its worth in training is compared with a causal top-k of the same size.",
    refuted_by="Models in which no later token of the chunk moves an earlier output.",
    judge=judge,
    needs=("selection-attack", "leak-dose"),
)
