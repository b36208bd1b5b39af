"""What the verdict of an audit means, what the audit covered, and what did not run and why."""

from __future__ import annotations

from audits.auditor.presets import THOROUGH
from audits.explanation import kind
from audits.formatting import count
from audits.probes._registry import all_probes
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


def covered(result: AuditResult) -> tuple[tuple[str, str], ...]:
    """What was run, as terms and their values."""
    settings = result.settings
    kinds = {"vocab_size": "tokens of a vocabulary of {}", "width": "features of width {}"}
    inputs = [text.format(settings[name]) for name, text in kinds.items() if settings.get(name) is not None]
    judged = [probe.name for probe in result.probes if probe.applicable and probe.verdict is not Verdict.UNDETERMINED]
    outputs = {name: ", ".join(map(str, settings.get(name) or ())) for name in ("outputs", "not_judged")}
    return (
        ("Probes that concluded", f"{len(judged)} of {len(all_probes())}: {', '.join(judged) or 'none'}"),
        ("Run", scope(result)),
        ("Inputs", ", ".join(inputs)),
        ("Contract", contract(result)),
        ("Outputs judged", outputs["outputs"]),
        ("Returned, not judged", outputs["not_judged"]),
    )


def contract(result: AuditResult) -> str:
    """Which output may depend on which input, in words."""
    said = dict(result.settings.get("contract") or {})
    roles = said.pop("inputs", {})
    parts = [f"{name} {role}" for name, role in roles.items()] if isinstance(roles, dict) else [f"inputs {roles}"]
    parts += [name if value is True else f"{name.replace('_', ' ')} {value}" for name, value in said.items()]
    return ", ".join(parts) or "output t may depend on inputs up to t"


def not_run(result: AuditResult) -> tuple[tuple[str, str], ...]:
    """The probes that did not conclude, each with its reason: undecided, not applicable, or left out."""
    silent = [(probe.name, reason(probe)) for probe in result.probes if probe.verdict is Verdict.UNDETERMINED]
    preset = result.settings.get("preset") or THOROUGH
    why = "left out by the choice of probes" if preset == THOROUGH else f"left out by the preset {preset}"
    return (*silent, *((name, why) for name in left_out(result)))


def left_out(result: AuditResult) -> tuple[str, ...]:
    """The probes that nobody ran."""
    return tuple(map(str, result.settings.get("left_out") or ()))
