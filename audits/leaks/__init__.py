"""Planted leaks, one file each; a file starting with an underscore is shared material."""

from audits.leaks._control import Twin
from audits.leaks._corpus import all_twins

__all__ = ["Twin", "all_twins"]
