"""Findings in the terms of a contract: slots of the arguments and of the output, and their times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from audits.instruments.differences import response
from audits.instruments.probe import Violation
from audits.results import Finding, TraceStep
from audits.subject.subject import Subject


def finding_in_slots(subject: Subject, violation: Violation, finding: Finding) -> Finding:
    """The finding in slots of the arguments and the output, where there is a contract."""
    leaking = violation.seen_in or subject
    plan, length = leaking.plan, leaking.settings.seq_len
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
