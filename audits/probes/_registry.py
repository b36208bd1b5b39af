"""All probes, found by looking into their folder."""

from __future__ import annotations

from audits.discovery import modules_in
from audits.instruments.probe import Probe


def all_probes() -> tuple[Probe, ...]:
    """Every probe: one file each in `audits/probes`, in the order they are run."""
    import audits.probes as package

    probes = (module.PROBE for module in modules_in(package))
    return tuple(sorted(probes, key=lambda probe: (probe.order, probe.name)))
