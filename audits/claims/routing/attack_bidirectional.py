"""Attack on the companion paper: causal representations route too, by its own table and by our runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind
from audits.claims.routing._figures import curves_of
from audits.claims.routing._landscape import audits_of, landscape, seen_by
from audits.claims.routing._mechanism import Assertion, Finding
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
from audits.experiments.routing._task import FAR, MANY, PLAIN, VALUE
from audits.experiments.routing.causality import NAME as CAUSALITY

CAUSAL = tuple(name for name in rows("full") if ROWS[name].causal and ROWS[name].router == "investigator")
OTHER_READINGS = (MANY, PLAIN, VALUE)
WANTED = [(name, FAR) for name in rows("full")] + [("attention-causal", task) for task in OTHER_READINGS]


def judge(evidence: Evidence) -> Judgement:
    """By the runs and the audits; a representation that is called causal has to pass its own."""
    return judge_cells(WANTED, partial(rule, audits=audits_of(evidence)))(evidence)


def rule(cells: Sequence[Cell], audits: Mapping[str, Record]) -> Judgement:
    """Whether a causal mechanism routes in every reading; those run in one alone count only if all are at chance."""
    causal = [cell for cell in cells if cell.row.name in CAUSAL]
    findings = {
        name: Finding(Assertion(routes, name), tuple(routes(cell) for cell in causal if cell.row.name == name))
        for name in CAUSAL
    }
    checks = [check for finding in findings.values() for check in finding.checks]
    effect, needed = open_effect(checks)
    words = {cell.row.name: seen_by(audits, cell.row.name) for cell in cells}
    verdict, reason = _verdict(causal, findings)
    leaking = [name for name in CAUSAL if name in audits and audits[name].result["verdict"] == "LEAK"]
    judgement = Judgement(
        verdict,
        reason,
        "A task on which no causal representation routes: answers that come before the query and must have seen it.",
        minimum_detectable_effect=effect,
        seeds_needed=needed if verdict is ClaimVerdict.INCONCLUSIVE else None,
        details=f"The paper's own row for causal attention has 98.9 to 99.2 %. "
        f"{'. '.join(check.text for check in checks)} ({scale(cells)}).",
        evidence=(*runs_of(cells), *dict.fromkeys(record.run for record in audits.values())),
        tables=(cells_table(cells, words),),
        figures=(*landscape([cell for cell in cells if cell.task == FAR], audits), *curves_of(causal)),
    )
    if leaking:
        reason = f"{leaking[0]} should be causal and leaks, so its precision proves nothing."
        return replace(judgement, verdict=ClaimVerdict.INCONCLUSIVE, reason=reason, seeds_needed=needed, gate=False)
    return judgement


def _verdict(causal: Sequence[Cell], findings: Mapping[str, Finding]) -> tuple[ClaimVerdict, str]:
    routing = [name for name, finding in findings.items() if finding.holds]
    if routing:
        return ClaimVerdict.SUPPORTED, f"{routing[0]} routes in every reading, and the auditor finds it causal."
    if all(at_chance(cell).holds for cell in causal):
        return ClaimVerdict.REFUTED, f"All {len(findings)} causal representations stay at chance."
    return ClaimVerdict.INCONCLUSIVE, findings["attention-causal"].why_open


CLAIM = Claim(
    id="attack-routing-bidirectional",
    statement="Bidirectional context is not necessary for content-based routing: a causal representation routes.",
    source="our attack on arXiv:2603.20997, whose own table has a causal attention layer at 98.9 to 99.2 %",
    kind=Kind.ATTACK,
    test=f"Representations whose causality the auditor confirms, below an Investigator, {SEEDS} seeds at a tuned rate, "
    f"answers before and after the query: SUPPORTED if one routes in every reading (95 % interval of normalised "
    f"precision from {ROUTES} on), REFUTED if all stay at chance (up to {CHANCE}).",
    refuted_by="No causal representation above chance.",
    judge=judge,
    published={"causal attention": "98.9 to 99.2 %", "bidirectional attention": "98.9 to 99.1 %"},
    needs=(NAME, CAUSALITY),
)
