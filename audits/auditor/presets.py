"""Named selections of probes. A test holds QUICK against the minimal battery that the kill matrix gives."""

from __future__ import annotations

THOROUGH = "thorough"
# The fewest probes that together see every planted leak (battery.py): the others see no leak that these miss.
QUICK = ("provenance", "prefix-length", "isolation", "repeat-call", "decode", "dtype", "documents")
PRESETS: dict[str, tuple[str, ...] | None] = {THOROUGH: None, "quick": QUICK}  # None is every probe
# In QUICK tracing stands for the probes left out; where it decides nothing, they run after all.
STANDS_FOR_OTHERS = "provenance"
