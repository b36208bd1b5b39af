"""The probes, one file each; none imports another. A file starting with an underscore is shared material."""

from audits.probes._registry import all_probes

__all__ = ["all_probes"]
