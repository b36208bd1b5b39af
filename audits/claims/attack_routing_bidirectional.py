"""Attack on the companion paper: causal representations route too, by its own table and by our runs."""

from collections.abc import Sequence
from dataclasses import replace

from audits.claim import Claim, ClaimVerdict, Judgement
from audits.claims._routing import (
    CHANCE,
    NEEDS,
    ROUTES,
    SEEDS,
    Cell,
    at_chance,
    cells_table,
    judge_cells,
    open_effect,
    routes,
    runs_of,
    scale,
)
from audits.claims._routing_figures import curves_of
from audits.claims._routing_landscape import audits_of, landscape, seen_by
from audits.claims.experiments._diagnostic_rows import ROWS, rows
from audits.claims.experiments._diagnostic_task import FAR
from audits.claims.experiments.routing_causality import NAME as CAUSALITY
from audits.ledger import Evidence

CAUSAL = tuple(name for name in rows("full") if ROWS[name].causal and ROWS[name].router == "investigator")
EVERY = [(name, FAR) for name in rows("full")]


def rule(cells: Sequence[Cell]) -> Judgement:
    """Whether a causal mechanism routes; the audits are added by `judge`."""
    causal = [cell for cell in cells if cell.row.name in CAUSAL]
    checks = [routes(cell) for cell in causal]
    routing = [cell.row.name for cell, check in zip(causal, checks, strict=True) if check.holds]
    if routing:
        verdict = ClaimVerdict.REFUTED
    else:
        lost = all(at_chance(cell).holds for cell in causal)
        verdict = ClaimVerdict.SUPPORTED if lost else ClaimVerdict.INCONCLUSIVE
    effect, needed = open_effect(checks)
    return Judgement(
        verdict,
        f"Causal and routing: {', '.join(routing) or 'none'}; the paper's own row for causal attention has 98.9 to "
        f"99.2 %. {'. '.join(check.said for check in checks)} ({scale(cells)}).",
        "A task on which no causal representation routes: answers that come before the query and must have seen it.",
        minimum_detectable_effect=effect,
        seeds_needed=needed if verdict is ClaimVerdict.INCONCLUSIVE else None,
        evidence=runs_of(cells),
        figures=curves_of(causal),
    )


def judge(evidence: Evidence) -> Judgement:
    """By the runs; a representation that is called causal has to pass its audit."""
    kept: list[Cell] = []

    def remember(cells: Sequence[Cell]) -> Judgement:
        kept.extend(cells)
        return rule(cells)

    judgement = judge_cells(EVERY, remember)(evidence)
    if judgement.missing:
        return judgement
    audits = audits_of(evidence)
    words = {cell.row.name: seen_by(audits, cell.row.name) for cell in kept}
    leaking = [name for name in CAUSAL if name in audits and audits[name].result["verdict"] == "LEAK"]
    judgement = replace(
        judgement,
        tables=(cells_table(kept, words),),
        figures=(*landscape(kept, audits), *judgement.figures),
        evidence=(*judgement.evidence, *dict.fromkeys(record.run for record in audits.values())),
    )
    if leaking:
        reason = f"{', '.join(leaking)} should be causal and leaks, so its precision proves nothing."
        return replace(judgement, verdict=ClaimVerdict.INCONCLUSIVE, reason=reason, gate=False)
    return judgement


CLAIM = Claim(
    id="attack-routing-bidirectional",
    statement="Bidirectional context is necessary for content-based routing.",
    source="our attack on arXiv:2603.20997, whose own table has a causal attention layer at 98.9 to 99.2 %",
    test=f"Representations whose causality the auditor confirms, below an Investigator, at least {SEEDS} seeds and "
    f"three learning rates, answers before and after the query: REFUTED if one routes (95 % interval of normalised "
    f"precision from {ROUTES} on), SUPPORTED if all stay at chance (up to {CHANCE}).",
    refuted_by="One causal representation that routes.",
    judge=judge,
    published={"causal attention": "98.9 to 99.2 %", "bidirectional attention": "98.9 to 99.1 %"},
    needs=(*NEEDS, CAUSALITY),
)
