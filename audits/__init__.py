"""Adversarial causality audits of sequence models.

The names below are imported when they are first asked for: importing torch takes seconds, and a command line that is
interrupted meanwhile must still be able to say so in one line.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audits.auditor.guarded import assert_causal, audit
    from audits.results import AuditResult, CausalityError, Finding, LeakClass, ProbeResult, Site, Verdict
    from audits.subject.contract import Contract, Stream
    from audits.subject.settings import SubjectError

__version__ = "0.1.0"

_RESULTS = ("AuditResult", "CausalityError", "Finding", "LeakClass", "ProbeResult", "Site", "Verdict")
_HOMES = {
    "assert_causal": "audits.auditor.guarded",
    "audit": "audits.auditor.guarded",
    "Contract": "audits.subject.contract",
    "Stream": "audits.subject.contract",
    "SubjectError": "audits.subject.settings",
    **dict.fromkeys(_RESULTS, "audits.results"),
}

__all__ = [
    "AuditResult",
    "CausalityError",
    "Contract",
    "Finding",
    "LeakClass",
    "ProbeResult",
    "Site",
    "Stream",
    "SubjectError",
    "Verdict",
    "assert_causal",
    "audit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'audits' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
