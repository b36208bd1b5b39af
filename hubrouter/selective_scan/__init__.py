"""The selective scan, the recurrence inside a Mamba layer: one definition, five ways to compute it."""

from hubrouter.selective_scan.dispatch import IMPLEMENTATIONS, selective_scan
from hubrouter.selective_scan.recurrence import ScanInputs, Scanned

__all__ = ["IMPLEMENTATIONS", "ScanInputs", "Scanned", "selective_scan"]
