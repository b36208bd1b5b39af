"""The audit: probes run on a subject, violations classified and located, one verdict. Users import from `audits`."""
