"""Findings and reasons in the terms of a contract: slots of the arguments and of the output, and their times.

Probes know one input and one output on one axis of positions, and speak of these.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from audits.instruments.differences import response
from audits.instruments.probe import Report, Violation
from audits.results import STRUCTURAL, Finding, TraceStep, Verdict
from audits.subject.subject import Subject

# How reasons call a position of the input, and one of the output.
INPUTS = re.compile(
    r"(?<=changing )position (\d+)|(?<=depends on )position (\d+)|position (\d+)(?= reaches)"
    r"|(?<=with respect to )input (\d+)|(?<=cutting the sequence at )(\d+)"
)
OUTPUTS = re.compile(
    r"the output at position (\d+)|(?<=at )position (\d+)|(?<=reaches )position (\d+)|output (\d+)(?= has derivative)"
)
WITHOUT_LEAK = (STRUCTURAL, "a decision at")  # how other reasons begin that name positions; errors of models may too


def reason_in_slots(subject: Subject, report: Report) -> Report:
    """The report with a reason in slots, where a contract has clocks of its own."""
    plan, length = _clocked(subject, report.violations[0] if report.violations else None)
    speaks = report.verdict is Verdict.LEAK or report.why.startswith(WITHOUT_LEAK)
    if plan is None or plan.is_plain or not speaks:
        return report

    def named(name: Callable[[int, int], str]) -> Callable[[re.Match[str]], str]:
        return lambda found: name(length, int(next(filter(None, found.groups())))) or found[0]

    return replace(report, why=OUTPUTS.sub(named(plan.output_named), INPUTS.sub(named(plan.input_named), report.why)))


def finding_in_slots(subject: Subject, violation: Violation, finding: Finding) -> Finding:
    """The finding in slots of the arguments and the output, where there is a contract."""
    plan, length = _clocked(subject, violation)
    if plan is None:
        return finding
    source, sink = violation.source.position, violation.sink.position
    slots = plan.slots_at(length, source) if source is not None else {}
    name = next((name for name in slots if len(slots) == 1 or _alone(subject, violation, name)), next(iter(slots), ""))
    output = plan.output_at(length, sink) if sink is not None else None
    clocks = plan.clocks_of(name, slots[name], output) if name and output is not None else ""
    return replace(
        finding,
        source=replace(finding.source, position=slots.get(name, source)),
        sink=replace(finding.sink, position=sink if output is None else output),
        argument=name,
        clocks=clocks,
        trace=finding.trace if plan.is_plain else tuple(_step(plan, length, name, step) for step in finding.trace),
    )


def _clocked(subject: Subject, violation: Violation | None) -> tuple[Any, int]:
    """The contract's plan and the number of positions where a violation was seen; the plan is None without contract."""
    leaking = subject if violation is None or violation.seen_in is None else violation.seen_in
    return leaking.plan, leaking.settings.seq_len


def _step(plan: Any, length: int, name: str, step: TraceStep) -> TraceStep:
    """A step with the slot of its argument or output; what lies between is on no axis of the contract."""
    if step.position is None:
        return step
    if step.op == "output":
        return replace(step, position=plan.output_at(length, step.position))
    if step.op != "token":
        return replace(step, position=None)
    slots = plan.slots_at(length, step.position)
    name = name if name in slots else next(iter(slots), "")
    return replace(step, op=name or step.op, position=slots.get(name))


def _alone(subject: Subject, violation: Violation, name: str) -> bool:
    """Whether changing one argument alone shows a violation."""
    pair, leaking = violation.pair, violation.seen_in or subject
    if pair is None:
        return True
    one = replace(pair, changed=subject.plan.only(name, pair.base, pair.changed))
    return float(response(leaking, one).max()) > violation.noise_floor
