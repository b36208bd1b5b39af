"""The sentences of the report: the results in brief, the method, and what a verdict does not show."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from importlib.resources import files
from shlex import split
from typing import NamedTuple

from msgspec import Struct, convert

from audits.claims.claim import PRINTED, ClaimVerdict, JudgedClaim, Kind, Scope
from audits.claims.judged import NO_RUN, Report
from audits.claims.views import KillMatrix
from audits.formatting import count
from audits.report.claims.marks import by_outcome, outcome, tally

HEADLINES = ("attack-council-worth", "attack-own-chunk")  # claims whose reasons a reader meets first
HUBROUTER, COMPANION = "HubRouter (arXiv:2604.22442)", "its companion on routing (arXiv:2603.20997)"
_TIERS = {
    "quick": "Minutes of small runs: they test the direction of an effect, not a printed number.",
    "full": "Hours on two cores, at small scale: they test the ordering, not a printed number.",
    "paper": "On a GPU at the published scale, as far as the paper describes it; one machine, one implementation.",
    PRINTED: "Judged from printed numbers alone: it rests on no run of ours.",
}


def limits_of(item: JudgedClaim) -> tuple[str, ...]:
    """What the verdict on one claim does not show."""
    limits = [] if item.judgement.missing else [_TIERS.get(item.tier, f"Evidence of tier {item.tier}.")]
    if item.judgement.verdict is ClaimVerdict.SUPPORTED:
        limits.append("That the test came out as claimed at this scale does not carry over to other models or data.")
    if item.stale:
        limits.append("The code of deciding runs has changed since: the verdict is about that earlier code.")
    if not item.judgement.gate:
        limits.append("A model that had to be causal was not: perplexities of this claim do not count.")
    return tuple(limits)


def kill_sentence(matrix: KillMatrix) -> str:
    """How the auditor did on planted leaks."""
    if not matrix.leaks:
        return f"The auditor's power on planted leaks is {NO_RUN}."
    total = len(matrix.leaks)
    killed, alarms = sum(leak.killed for leak in matrix.leaks), sum(leak.false_alarm for leak in matrix.leaks)
    named = sum(leak.named == leak.leak_class for leak in matrix.leaks)
    return (
        f"The auditor sees {killed} of {total} planted leaks, names the class of {named} as planted, "
        f"and raises {count(alarms, 'false alarm')} on their {total} clean controls."
    )


def battery_sentence(matrix: KillMatrix) -> str:
    """Which probes suffice for all planted leaks, and which could not be missed; empty without a matrix."""
    battery = matrix.battery
    if not battery.probes:
        return ""
    seen = sum(leak.killed for leak in matrix.leaks)
    kept = ", ".join(battery.probes)
    only = "; ".join(f"{probe} alone sees {', '.join(leaks)}" for probe, leaks in battery.only.items())
    spare = ", ".join(p for p in matrix.probes if p not in battery.probes)
    sentence = f"{count(len(battery.probes), 'probe')} suffice for the {seen} leaks seen: {kept}."
    sentence += f" {only[0].upper()}{only[1:]}." if only else ""
    return sentence + (f" These see no further leak: {spare}." if spare else "")


class Elsewhere(Struct, frozen=True, forbid_unknown_fields=True):
    """What cannot be decided on this machine, what it takes, and the one command that does; empty where none can."""

    what: str
    needs: str
    command: str = ""


_TABLE = tomllib.loads(files("audits.claims").joinpath("elsewhere.toml").read_text(encoding="utf-8"))
ELSEWHERE = convert(_TABLE["elsewhere"], tuple[Elsewhere, ...])


def elsewhere(report: Report) -> tuple[Elsewhere, ...]:
    """What is still to be decided elsewhere: a claim that it is about has no verdict at the paper's scale."""
    open_still = [item.claim.id for item in report.judged if item.scope is not Scope.PAPER]
    patterns = {one: split(one.command.partition("--only")[2]) for one in ELSEWHERE}
    return tuple(
        one
        for one, names in patterns.items()
        if not names or any(fnmatchcase(claim, name) for claim in open_still for name in names)
    )


def answer(report: Report) -> tuple[str, ...]:
    """The results in brief: how many claims of each paper hold, and the reasons of the headlines."""
    papers = [group for group in groups(report) if group.paper]
    counted = [f"{count(len(group.claims), 'claim')} of {group.paper}: {tally(group.claims)}" for group in papers]
    found = {item.claim.id: item.judgement for item in report.judged}
    said = [found[name].reason for name in HEADLINES if name in found and not found[name].missing]
    return (
        f"{'; '.join(counted) or 'No claim has been judged yet'}.",
        *(said or [f"What a leak is worth in training is {NO_RUN}."]),
    )


class Group(NamedTuple):
    """The claims of one table of the index, in reading order; `paper` is empty where none was published."""

    name: str
    short: str
    heading: str
    paper: str
    claims: tuple[JudgedClaim, ...] = ()


_GROUPS = (
    Group("hubrouter", "HubRouter", f"Claims of {HUBROUTER}", HUBROUTER),
    Group("companion", "Its companion", f"Claims of {COMPANION}", COMPANION),
    Group("attacks", "Our attacks", "Our attacks: did they succeed?", ""),
    Group("self-tests", "Self-tests", "Self-tests: does the tool hold?", ""),
)


def groups(report: Report) -> list[Group]:
    """Both papers, our attacks, the self-tests; those without a claim left out."""
    return [
        group._replace(claims=claims)
        for group in _GROUPS
        if (claims := by_outcome(item for item in report.judged if _group(item) == group.name))
    ]


def _group(item: JudgedClaim) -> str:
    published = "companion" if _about_companion(item) else "hubrouter"
    return {Kind.ATTACK: "attacks", Kind.SELF_TEST: "self-tests"}.get(item.claim.kind, published)


def _about_companion(item: JudgedClaim) -> bool:
    """Whether a claim, or the target of an attack, is of the companion paper."""
    return "routing-" in item.claim.id


def traits(item: JudgedClaim) -> dict[str, str]:
    """What the filters of the index read."""
    about = "companion" if _about_companion(item) else "HubRouter"
    paper = "the tool" if item.claim.kind is Kind.SELF_TEST else about
    return {"paper": paper, "kind": item.claim.kind, "scope": item.scope, "outcome": outcome(item).word}


def printed(item: JudgedClaim, *, named: bool = True) -> str:
    """The numbers of the paper; a single one may stand without its name."""
    numbers = item.claim.published
    return "; ".join(f"{name}: {value}" if named or len(numbers) > 1 else value for name, value in numbers.items())


def expectation_sentence(report: Report) -> str:
    """Whether every verdict is the reviewed one, and how many rest on stale evidence."""
    if not report.judged:
        return "No claim has been judged yet."
    wrong, stale = [item.claim.id for item in report.unexpected], sum(bool(item.stale) for item in report.judged)
    sentence = "Every verdict is as the reviewed expectations file says."
    if wrong:
        sentence = (
            f"{count(len(wrong), 'claim')} {'needs' if len(wrong) == 1 else 'need'} attention: {', '.join(wrong)}."
        )
    if stale:
        verb = "rests" if stale == 1 else "rest"
        sentence += f" {count(stale, 'verdict')} {verb} on stale evidence: code has changed since it was made."
    return sentence


def empty_note(what: str) -> str:
    """The sentence in place of a figure."""
    return f"{what}: {NO_RUN}."
