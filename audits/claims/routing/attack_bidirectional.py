"""Attack on the companion paper: causal representations route too, by its own table and by our runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind
from audits.claims.routing._figures import curves_of
from audits.claims.routing._landscape import audits_of, landscape, seen_by
from audits.claims.routing._runs import (
    CHANCE,
    ROUTES,
    Cell,
    at_chance,
    cells_table,
    judge_cells,
    open_effect,
    routes,
    runs_of,
    scale,
)
from audits.evidence.ledger import Evidence, Record
from audits.experiments.routing._plan import NAME, SEEDS
from audits.experiments.routing._rows import ROWS, rows
from audits.experiments.routing._task import FAR
from audits.experiments.routing.causality import NAME as CAUSALITY

CAUSAL = tuple(name for name in rows("full") if ROWS[name].causal and ROWS[name].router == "investigator")
EVERY = [(name, FAR) for name in rows("full")]


def judge(evidence: Evidence) -> Judgement:
    """By the runs and the audits; a representation that is called causal has to pass its own."""
    return judge_cells(EVERY, partial(rule, audits=audits_of(evidence)))(evidence)


def rule(cells: Sequence[Cell], audits: Mapping[str, Record]) -> Judgement:
    """Whether a causal mechanism routes."""
    causal = [cell for cell in cells if cell.row.name in CAUSAL]
    checks = [routes(cell) for cell in causal]
    effect, needed = open_effect(checks)
    words = {cell.row.name: seen_by(audits, cell.row.name) for cell in cells}
    routing = [cell.row.name for cell, check in zip(causal, checks, strict=True) if check.holds]
    judgement = Judgement(
        _verdict(causal, routing),
        f"Causal and routing: {', '.join(routing) or 'none'}; the paper's own row for causal attention has 98.9 to "
        f"99.2 %. {'. '.join(check.text for check in checks)} ({scale(cells)}).",
        "A task on which no causal representation routes: answers that come before the query and must have seen it.",
        minimum_detectable_effect=effect,
        evidence=(*runs_of(cells), *dict.fromkeys(record.run for record in audits.values())),
        tables=(cells_table(cells, words),),
        figures=(*landscape(cells, audits), *curves_of(causal)),
    )
    if judgement.verdict is ClaimVerdict.INCONCLUSIVE:
        judgement = replace(judgement, seeds_needed=needed)
    leaking = [name for name in CAUSAL if name in audits and audits[name].result["verdict"] == "LEAK"]
    if leaking:
        reason = f"{', '.join(leaking)} should be causal and leaks, so its precision proves nothing."
        return replace(judgement, verdict=ClaimVerdict.INCONCLUSIVE, reason=reason, gate=False)
    return judgement


def _verdict(causal: Sequence[Cell], routing: Sequence[str]) -> ClaimVerdict:
    """One that routes refutes; only where all stay at chance is the claim supported."""
    if routing:
        return ClaimVerdict.REFUTED
    lost = all(at_chance(cell).holds for cell in causal)
    return ClaimVerdict.SUPPORTED if lost else ClaimVerdict.INCONCLUSIVE


CLAIM = Claim(
    id="attack-routing-bidirectional",
    statement="Bidirectional context is necessary for content-based routing.",
    source="our attack on arXiv:2603.20997, whose own table has a causal attention layer at 98.9 to 99.2 %",
    kind=Kind.ATTACK,
    test=f"Representations whose causality the auditor confirms, below an Investigator, at least {SEEDS} seeds and "
    f"three learning rates, answers before and after the query: REFUTED if one routes (95 % interval of normalised "
    f"precision from {ROUTES} on), SUPPORTED if all stay at chance (up to {CHANCE}).",
    refuted_by="One causal representation that routes.",
    judge=judge,
    published={"causal attention": "98.9 to 99.2 %", "bidirectional attention": "98.9 to 99.1 %"},
    needs=(NAME, CAUSALITY),
)
