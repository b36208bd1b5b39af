"""What the claims of arXiv:2604.22442 share: where they come from, the thresholds fixed beforehand, number formats."""

from __future__ import annotations

from audits.statistics import Printed

SOURCE = "arXiv:2604.22442 (HubRouter, April 2026); known from its abstract only"
PRINTED_ALONE = "From the printed numbers alone; no run of ours."

ALPHA = 0.05  # our choice, the field's habit
POWER = 0.8  # our choice, the field's habit
FAMILY = 20  # our choice: about the number of claims in this paper and its companion; the claims say what hinges on it

HUB_GPT = Printed(211.5, 0.4, 3)
JAMBA = Printed(208.5, 0.7, 3)  # "over 3 seeds" stands beside Hub-GPT; we take it to hold for Jamba too


def p_text(p: float) -> str:
    """A p value to two significant digits, without pretending to know the far tail."""
    return "< 1e-6" if p < 1e-6 else f"{p:.2g}"


def percent(share: float) -> str:
    """A share as a whole percentage."""
    return f"{100 * share:.0f} %"


def from_print(reason: str) -> str:
    """What the printed numbers say by themselves, as a remark beside a verdict from runs."""
    return f"From print: {reason.removesuffix(PRINTED_ALONE).rstrip()}"
