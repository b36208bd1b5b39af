"""Adversarial causality audits of sequence models."""

from audits.auditor import assert_causal, audit
from audits.subject import SubjectError
from audits.verdicts import AuditResult, Finding, LeakClass, ProbeResult, Site, Verdict

__all__ = [
    "AuditResult",
    "Finding",
    "LeakClass",
    "ProbeResult",
    "Site",
    "SubjectError",
    "Verdict",
    "assert_causal",
    "audit",
]
