"""The rows of the index: what every claim says, what its paper and we measured, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from audits.claims.claim import JudgedClaim, Kind
from audits.claims.judged import Report
from audits.report.claims import prose
from audits.report.claims.json import page_path
from audits.report.claims.marks import by_outcome, flags, outcome, tally
from audits.report.render.marks import Mark

NONE = "-"  # in place of a number


@dataclass(frozen=True)
class Row:
    """One claim; `traits` is what the filters of the page read."""

    id: str
    statement: str
    paper: str
    ours: str
    scope: str
    outcome: Mark
    why: str
    flags: tuple[Mark, ...]
    page: str
    traits: Mapping[str, str]


@dataclass(frozen=True)
class Group:
    """The claims of one table; `published` ones have a number of their paper's."""

    name: str
    short: str
    heading: str
    tally: str
    rows: tuple[Row, ...]
    published: bool


def groups(report: Report) -> tuple[Group, ...]:
    """Both papers, our attacks, the self-tests; those without a claim left out."""
    attacks, self_tests = (
        tuple(item for item in report.judged if item.claim.kind is kind) for kind in (Kind.ATTACK, Kind.SELF_TEST)
    )
    hubrouter, companion = (prose.published(report, companion=other) for other in (False, True))
    found = (
        _group("hubrouter", "HubRouter", f"Claims of {prose.PAPERS[False]}", hubrouter),
        _group("companion", "Its companion", f"Claims of {prose.PAPERS[True]}", companion),
        _group("attacks", "Our attacks", "Our attacks: did they succeed?", attacks),
        _group("self-tests", "Self-tests", "Self-tests: does the tool hold?", self_tests),
    )
    return tuple(group for group in found if group.rows)


def _group(name: str, short: str, heading: str, items: tuple[JudgedClaim, ...]) -> Group:
    published = any(item.claim.kind is Kind.PUBLISHED for item in items)
    return Group(name, short, heading, tally(items), tuple(map(_row, by_outcome(items))), published)


def _row(item: JudgedClaim) -> Row:
    claim, mark = item.claim, outcome(item)
    named = claim.published.items()
    printed = [f"{name}: {value}" if len(named) > 1 else value for name, value in named]
    traits = {"paper": paper_name(item), "kind": str(claim.kind), "scope": str(item.scope), "outcome": mark.word}
    return Row(
        id=claim.id,
        statement=claim.statement,
        paper="; ".join(printed) or NONE,
        ours=item.judgement.ours or NONE,
        scope=str(item.scope),
        outcome=mark,
        why=item.judgement.reason,
        flags=flags(item),
        page=page_path(claim.id),
        traits=traits,
    )


def paper_name(item: JudgedClaim) -> str:
    """What a claim is about, in a word."""
    if item.claim.kind is Kind.SELF_TEST:
        return "the tool"
    return "companion" if prose.about_companion(item) else "HubRouter"
