"""One audit as a small self-contained page."""

from __future__ import annotations

from collections.abc import Sequence

from audits import explanation
from audits.probes._registry import all_probes
from audits.report.audit import coverage
from audits.report.render.influence import Matrix, influence_map, largest, largest_future
from audits.report.render.marks import audit_mark
from audits.report.render.templates import page
from audits.results import AuditResult


def audit_html(result: AuditResult, influence: Matrix = (), times: Sequence[str] = (), no_map: str = "") -> str:
    """The page, with the N x N influence map [sink][source] in units of the output, or with why there is none.

    `times` [N] are those of its positions, under a contract.
    """
    top = largest(influence)
    drawing = influence_map("influence", "output by input", influence, top, times=times) if influence else ""
    return page(
        "audit.html",
        result=result,
        mark=audit_mark(result.verdict),
        coverage=coverage,
        explanation=explanation,
        drawing=drawing,
        mapped=len(influence),
        timed=bool(times),
        future=largest_future(influence),
        no_map=no_map,
        probes={probe.name: probe for probe in all_probes()},
    )
