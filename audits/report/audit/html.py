"""One audit as a small self-contained page."""

from __future__ import annotations

from audits import explanation
from audits.probes._registry import all_probes
from audits.report.audit import coverage
from audits.report.render.influence import Matrix, influence_map, largest, largest_future
from audits.report.render.marks import audit_mark
from audits.report.render.templates import page
from audits.results import AuditResult, Verdict

_CAPTION = "How much an output (row) changes when one input (column) is replaced; empty cells are exactly zero."


def audit_html(result: AuditResult, influence: Matrix = (), no_map: str = "") -> str:
    """The page.

    Args:
        result: the audit.
        influence: the N x N map [sink][source] in units of the output; empty for none.
        no_map: why there is no map, where one was asked for.
    """
    drawing = influence_map("influence", "output by input", influence, largest(influence)) if influence else ""
    return page(
        "audit.html",
        result=result,
        mark=audit_mark(result.verdict),
        coverage=coverage,
        explanation=explanation,
        drawing=drawing,
        about_map=_about_map(result, influence) if influence else no_map,
        probes={probe.name: probe for probe in all_probes()},
    )


def _about_map(result: AuditResult, influence: Matrix) -> str:
    """How to read the map, and what it does not show here."""
    asked, future = result.settings.get("seq_len", len(influence)), largest_future(influence)
    remarks = (
        (True, _CAPTION),
        (len(influence) < asked, f"It was measured at {len(influence)} positions, the audit at {asked}."),
        (
            result.verdict is Verdict.LEAK and not future,
            "The leak does not show here: the map replaces one input, once, in evaluation mode.",
        ),
        (
            result.verdict is Verdict.PASS and future > 0,
            "By the judgement of the probes, what lies above the diagonal is rounding.",
        ),
    )
    return " ".join(remark for applies, remark in remarks if applies)
