"""The landscape of the routing diagnostic: every mechanism by what it costs, how well it routes and what it may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audits.claims.figures import DotColumn, DotPoint, Dots, Reference
from audits.claims.routing._runs import ROUTES, Cell
from audits.evidence.ledger import Evidence, Record, run_hash
from audits.experiments.routing._rows import ROWS, Row
from audits.experiments.routing.causality import NAME as CAUSALITY
from audits.experiments.routing.causality import spec_of
from hubrouter.diagnostic.config import representation
from hubrouter.diagnostic.scores import normalised

SEEN = {"PASS": "causal: PASS", "LEAK": "reads the future"}
STYLE = {"PASS": "causal", "LEAK": "other"}


def audits_of(evidence: Evidence) -> Mapping[str, Record]:
    """The audit of each mechanism's representation, by the mechanism's name; those not audited are left out."""
    known = {record.question: record for record in evidence.of(CAUSALITY)}
    found = {name: known.get(_question(row)) for name, row in ROWS.items()}
    return {name: record for name, record in found.items() if record is not None}


def _question(row: Row) -> str:
    spec = spec_of(row)
    return run_hash(CAUSALITY, spec.config, spec.seed)


def seen_by(audits: Mapping[str, Record], name: str) -> str:
    """What the audit says of a mechanism, in words."""
    if name not in audits:
        return "not audited"
    verdict = str(audits[name].result["verdict"])
    return SEEN.get(verdict, verdict)


def cost_of(cell: Cell) -> str:
    """How the representation's work grows with N."""
    return representation(cell.row.representation).cost


def landscape(cells: Sequence[Cell], audits: Mapping[str, Record]) -> tuple[Dots, ...]:
    """Normalised precision of every mechanism, one panel a class of cost, the best first."""
    best = sorted(cells, key=lambda cell: -cell.mean().mean)
    panels = {"below N²": [c for c in best if "N²" not in cost_of(c)], "N²": [c for c in best if "N²" in cost_of(c)]}
    return tuple(
        Dots(
            f"The landscape: representations of cost {growth}",
            "routing precision normalised by exact chance (0) and always (1)",
            tuple(_column(cell, audits) for cell in part),
            "Eight distractors carry the query's key, so that content alone reaches 4 of 9. A label names the "
            "mechanism, the cost of its representation and the audit's word on that; a router sees all positions by "
            "its nature.",
            joined=False,
            references=_ceilings(best),
        )
        for growth, part in panels.items()
    )


def _ceilings(cells: Sequence[Cell]) -> tuple[Reference, ...]:
    """Chance, what content alone can reach on the same scale, and the threshold."""
    ceilings = [normalised(cell.ceiling, cell.average("chance")) for cell in cells if cell.ceiling is not None]
    content = [Reference("content alone at best", value) for value in ceilings[:1]]
    return (Reference("exact chance", 0.0), *content, Reference("routes from here on", ROUTES))


def _column(cell: Cell, audits: Mapping[str, Record]) -> DotColumn:
    name = cell.row.name
    style = STYLE.get(str(audits[name].result["verdict"]), "control") if name in audits else "control"
    points = tuple(DotPoint(run.seed, value) for run, value in zip(cell.seeds, cell.values(), strict=True))
    return DotColumn(f"{name}, {cost_of(cell)}, {seen_by(audits, name)}", style, points)
