"""Named selections of probes. A test compares QUICK with the minimal battery that the kill matrix gives."""

from __future__ import annotations

THOROUGH = "thorough"
# The fewest probes that together detect every planted leak (battery.py): the others detect none that these miss.
QUICK = ("provenance", "prefix-length", "isolation", "repeat-call", "decode", "dtype", "documents", "padding")
PRESETS: dict[str, tuple[str, ...] | None] = {THOROUGH: None, "quick": QUICK}  # None is every probe
# In QUICK tracing replaces the probes left out; where it is inconclusive, they run after all.
REPLACES_OTHERS = "provenance"
