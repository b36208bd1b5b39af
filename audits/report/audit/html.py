"""One audit as a small self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audits.explanation import excerpt, kind, look_first, meaning, place, sentence, trail
from audits.formatting import MISSING, Table, count, number
from audits.report.render.escape import markup
from audits.report.render.figure_influence import Matrix, influence_map, largest
from audits.report.render.marks import Mark, audit_mark
from audits.report.render.page import (
    definitions,
    figure,
    folded,
    limits,
    page,
    paragraph,
    pill,
    section,
    table,
    verdict_head,
)
from audits.report.render.words import LIMITS, NO_PROOF, TIMING_NOTE
from audits.results import STRUCTURAL, AuditResult, Finding, ProbeResult, Verdict

_MEANS = {
    Verdict.PASS: "No probe that could have seen a leak found one.",
    Verdict.LEAK: "The model leaks.",
    Verdict.UNDETERMINED: "The probes could not decide. This is not a PASS.",
}


def headline(result: AuditResult) -> str:
    """What the verdict means; of a leak, what each class found is."""
    classes = dict.fromkeys(finding.leak_class for finding in result.findings)
    flow = next((p.why.partition(", but")[0] for p in result.probes if p.why.startswith(STRUCTURAL)), None)
    if flow is None or result.verdict is not Verdict.PASS:
        return " ".join(map(kind, classes)) or _MEANS[result.verdict]
    return f"{_MEANS[result.verdict]} A flow from a later token cancels ({flow}): try a longer sequence."


def not_run(result: AuditResult) -> str:
    """The sentence that names the probes nobody ran; empty where all did."""
    left_out = result.settings.get("left_out") or ()
    return f"Not run: {', '.join(map(str, left_out))}." if left_out else ""


def audit_html(result: AuditResult, influence: Matrix = ()) -> str:
    """The page; `influence` is the optional N x N map [sink][source] in units of the output."""
    mark = audit_mark(result.verdict)
    head = verdict_head(mark, result.target) + paragraph(headline(result))
    head += paragraph(not_run(result)) if not_run(result) else ""
    body = (
        _findings(result),
        _map(influence),
        section("probes", "Probes", _probes(result)),
        limits(NO_PROOF, LIMITS[:2]),
        section("settings", "Settings and environment", _settings(result)),
    )
    return page(f"{mark.word}: {result.target}", head, "\n".join(part for part in body if part), _foot(result))


def _findings(result: AuditResult) -> str:
    """Every leak found; nothing where there is none."""
    shown = [_finding(index, finding) for index, finding in enumerate(result.findings, 1)]
    return section("findings", "Findings", *shown) if shown else ""


def _foot(result: AuditResult) -> str:
    return f"{count(len(result.findings), 'finding')} from {count(len(result.probes), 'probe')}."


def _finding(index: int, finding: Finding) -> str:
    source = "\n".join(excerpt(finding))
    facts = definitions(
        [
            ("What", markup(sentence(finding))),
            ("Where", f"<code>{markup(place(finding))}</code>{f'<pre>{markup(source)}</pre>' if source else ''}"),
            ("Way", f"<code>{markup(trail(finding))}</code>" if finding.trace else ""),
            ("Means", markup(meaning(finding.leak_class))),
            ("Look first at", markup(look_first(finding.leak_class))),
            ("Reproduce", f"<code>{markup(finding.reproduce)}</code>" if finding.reproduce else ""),
        ]
    )
    seen = f"seen by {markup(', '.join(finding.seen_by))}"
    head = f"<h3>{index}. {pill(Mark('✗', str(finding.leak_class), 'fail'))} {seen}</h3>"
    return f'<article class="claim">{head}{facts}</article>'


def _map(influence: Matrix) -> str:
    """The influence map, where one was measured."""
    if not influence:
        return ""
    drawing = influence_map("influence", "output by input", influence, largest(influence))
    caption = "How much an output (row) changes when an input (column) is replaced; empty cells are exactly zero."
    return section("influence", "Influence map", figure([drawing], caption))


def probe_word(probe: ProbeResult) -> Mark:
    """A probe's mark; one that does not apply to this model says so instead of a verdict."""
    return audit_mark(probe.verdict) if probe.applicable else Mark("-", "NOT APPLICABLE", "neutral")


def _probes(result: AuditResult) -> str:
    """Every probe, and why it says what it says; the times are marked as measured."""
    rows = [(probe_word(p).text, p.name, p.why, f"{p.forwards:,}") for p in result.probes]
    times = [(p.name, f"{p.seconds:.2f}" if p.seconds >= 0 else MISSING) for p in result.probes]
    shown = table(Table("What each probe concluded", ("verdict", "probe", "why", "forward passes"), tuple(rows)))
    timing = table(Table(TIMING_NOTE, ("probe", "seconds"), tuple(times)))
    return shown + folded("Time taken", timing)


def _settings(result: AuditResult) -> str:
    return definitions([*_pairs(result.settings), *_pairs(result.environment)]) or paragraph("not recorded")


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, markup(number(v, 6) if isinstance(v, float) else str(v)) or "-") for key, v in sorted(values.items())]
