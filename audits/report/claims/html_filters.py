"""The filters over the claims: chips to tick and a field to type in; without a script they are not shown."""

from __future__ import annotations

from collections.abc import Sequence

from audits.claims.claim import JudgedClaim
from audits.report.claims.marks import claim_mark, tier_word
from audits.report.render.escape import markup


def traits(item: JudgedClaim) -> str:
    """What a filter reads of a claim, as attributes of its row and of its card."""
    values = {
        "claim": item.claim.id,
        "verdict": str(item.judgement.verdict),
        "tier": item.tier,
        "stale": "yes" if item.stale else "no",
    }
    return " ".join(f'data-{name}="{markup(value)}"' for name, value in values.items())


def filters(judged: Sequence[JudgedClaim]) -> str:
    """The form, hidden until the script shows it; a kind that could not narrow anything is left out."""
    verdicts = {str(i.judgement.verdict): claim_mark(i.judgement.verdict).text for i in judged}
    tones = {str(i.judgement.verdict): claim_mark(i.judgement.verdict).tone for i in judged}
    tiers = {item.tier: tier_word(item.tier).removeprefix("tier ") for item in judged}
    stale = {"yes": "stale", "no": "not stale"} if any(item.stale for item in judged) else {}
    kinds = (
        _chips("verdict", "Verdict", verdicts, tones),
        _chips("tier", "Tier", tiers, {}),
        _chips("stale", "Evidence", stale, {}),
    )
    words = (
        '<div class="words"><label for="filter-words">Text</label>'
        '<input type="search" id="filter-words" name="words" autocomplete="off" placeholder="every word must occur">'
        '<button type="reset">Show all</button><output aria-live="polite"></output></div>'
    )
    opening = (
        f'<form class="filters" id="filters" role="search" aria-label="Filter the claims" data-total="{len(judged)}"'
    )
    return f"{opening} hidden>{''.join(kinds)}{words}</form>"


def _chips(name: str, legend: str, values: dict[str, str], tones: dict[str, str]) -> str:
    """One kind: a chip for each value that occurs."""
    boxes = "".join(
        f'<label class="tone-{tones.get(value, "plain")}">'
        f'<input type="checkbox" name="{name}" value="{markup(value)}">{markup(text)}</label>'
        for value, text in values.items()
    )
    return f"<fieldset><legend>{legend}</legend>{boxes}</fieldset>" if len(values) > 1 else ""
