"""Planted leaks, one file each; a file starting with an underscore is shared material."""

from audits.leaks._corpus import all_leaks
from audits.leaks._planted import PlantedLeak

__all__ = ["PlantedLeak", "all_leaks"]
