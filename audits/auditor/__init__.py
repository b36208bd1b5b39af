"""The audit: probes run on a subject, what they saw classified and placed, one verdict."""

from audits.auditor.audit import assert_causal, audit, explain, overall

__all__ = ["assert_causal", "audit", "explain", "overall"]
