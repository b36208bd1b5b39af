"""What the verdict of an audit means, what the audit covered, and what did not run and why."""

from __future__ import annotations

from audits.explanation import kind
from audits.formatting import count
from audits.report.render.marks import Mark, audit_mark
from audits.results import STRUCTURAL, AuditResult, ProbeResult, Verdict

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


def probe_mark(probe: ProbeResult) -> Mark:
    """A probe's mark; one that does not apply to this model says so instead of a verdict."""
    return audit_mark(probe.verdict) if probe.applicable else Mark("-", "NOT APPLICABLE", "neutral")


def reason(probe: ProbeResult) -> str:
    """Why a probe concludes what its mark says."""
    return probe.why.removeprefix("not applicable: ")


def scope(result: AuditResult) -> str:
    """How much was run, on what and in which arithmetic, in one line."""
    settings = result.settings
    named = {"seq_len": "positions", "batch": "rows at most", "dtype": "arithmetic"}
    parts = [f"{settings[name]} {words}" for name, words in named.items() if settings.get(name) is not None]
    forwards = count(sum(probe.forwards for probe in result.probes), "forward pass", "forward passes")
    return f"{', '.join([*parts, forwards])}, {sum(max(probe.seconds, 0.0) for probe in result.probes):.1f} s"


def contract(result: AuditResult) -> str:
    """Which output may depend on which input, in words."""
    said = dict(result.settings.get("contract") or {})
    roles = said.pop("inputs", {})
    parts = [f"{name} {role}" for name, role in roles.items()] if isinstance(roles, dict) else [f"inputs {roles}"]
    parts += [name if value is True else f"{name.replace('_', ' ')} {value}" for name, value in said.items()]
    return ", ".join(parts) or "output t may depend on inputs up to t"


def left_out(result: AuditResult) -> tuple[str, ...]:
    """The probes that nobody ran."""
    return tuple(map(str, result.settings.get("left_out") or ()))
