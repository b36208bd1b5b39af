"""What the claims of arXiv:2604.22442 share: where they come from, and the numbers that several of them read."""

from __future__ import annotations

from audits.claims.claim import Judgement
from audits.statistics.summary import Printed

SOURCE = "arXiv:2604.22442 (HubRouter, April 2026); known from its abstract only"
PRINTED_ALONE = "From the printed numbers alone; no run of ours."

FAMILY = 20  # our choice: about the number of claims in this paper and its companion; the claims say what hinges on it

HUB_GPT = Printed(211.5, 0.4, 3)
JAMBA = Printed(208.5, 0.7, 3)  # "over 3 seeds" is printed for Hub-GPT; we take it to hold for Jamba too


def from_print(printed: Judgement) -> str:
    """What the printed numbers say by themselves, as a remark added to a verdict from runs."""
    return f"From print: {printed.reason} {printed.details.removesuffix(PRINTED_ALONE)}".rstrip()
