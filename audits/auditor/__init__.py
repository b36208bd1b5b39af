"""The audit: probes run on a subject, what they saw classified and placed, one verdict. Users import from `audits`."""
