"""Provenance: which later token an output depends on, traced through one forward pass, down to the line of code."""

from audits.instruments.tracing.trace import Trace, positions, rows, trace

__all__ = ["Trace", "positions", "rows", "trace"]
