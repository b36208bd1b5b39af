"""All claims, found by looking into the folders of their families."""

from __future__ import annotations

from audits.claims.claim import Claim
from audits.discovery import modules_in


def all_claims() -> tuple[Claim, ...]:
    """Every claim, by id: a file in a family's folder in `audits/claims` holds one as CLAIM or a table as CLAIMS."""
    import audits.claims.hubrouter as hubrouter
    import audits.claims.routing as routing
    import audits.claims.tool as tool

    modules = modules_in(hubrouter, routing, tool)
    claims = (claim for module in modules for claim in getattr(module, "CLAIMS", None) or (module.CLAIM,))
    return tuple(sorted(claims, key=lambda claim: claim.id))
