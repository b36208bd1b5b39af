"""All claims, found by looking into the folders of their families."""

from __future__ import annotations

from audits.claims.claim import Claim
from audits.discovery import modules_in


def all_claims() -> tuple[Claim, ...]:
    """Every claim: one file each in a family's folder in `audits/claims`, in the order of their ids."""
    import audits.claims.hubrouter as hubrouter
    import audits.claims.routing as routing
    import audits.claims.tool as tool

    claims = (module.CLAIM for module in modules_in(hubrouter, routing, tool))
    return tuple(sorted(claims, key=lambda claim: claim.id))
