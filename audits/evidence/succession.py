"""Earlier code whose runs count as made by today's: which code succeeded which, and by what it was shown.

A succession is a record like any other, in the ledger's `succession.jsonl`. It says of one experiment that what code
`from` gave, code `to` gives too: shown by a sample of repeated runs (`audits.evidence.recheck`), or by computing two
kinds of hash on one commit. It holds only where nothing differed. Records of runs are never rewritten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from audits.evidence.ledger import Evidence, Record

KIND = "succession"


def config_of(experiment: str, before: str, now: str) -> dict[str, Any]:
    """What a succession is about, as its record's configuration."""
    return {"experiment": experiment, "from": before, "to": now}


def accepted(evidence: Evidence, today: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    """Of every experiment the hashes of code that counts as `today`'s: its own, and what it succeeded."""
    return {name: frozenset({code, *_links_to(evidence, name, code)}) for name, code in today.items()}


def _links_to(evidence: Evidence, experiment: str, today: str) -> Mapping[str, Record]:
    """Of every code that today's succeeded the link that leads on from it."""
    holding = [link for link in evidence.of(KIND) if link.result["holds"] and link.config["experiment"] == experiment]
    found: dict[str, Record] = {}
    reached = [today]
    for code in reached:
        for link in holding:
            if link.config["to"] == code and link.config["from"] not in (*found, today):
                found[link.config["from"]] = link
                reached.append(link.config["from"])
    return found


def shown_by(evidence: Evidence, experiment: str, made_by: str, today: str) -> tuple[str, ...]:
    """By what the runs of an earlier code count as made by today's, a sentence for each sample that was repeated."""
    links, sentences = _links_to(evidence, experiment, today), []
    while made_by in links:
        link, made_by = links[made_by], links[made_by].config["to"]
        if link.result["by"] == "sample":
            sentences.append(_sentence(link))
    return tuple(sentences)


def _sentence(link: Record) -> str:
    result = link.result
    what = f"{link.config['experiment']}: made by code {link.config['from']}"
    equal = "all equal" if result["exact"] else "all within the stated tolerance"
    return f"{what}; {repeated(len(result['sample']), result['runs'], link.config['to'], result['may_differ'], equal)}"


def repeated(sample: int, runs: int, code: str, may_differ: float, equal: str = "all equal") -> str:
    """What a sample without a difference says of all runs, with the share that could differ rounded up."""
    bound = f": at 95 % fewer than {math.ceil(100 * may_differ)} % could differ" if sample < runs else ""
    return f"{sample} of {runs} runs repeated under code {code}, {equal}{bound}"


def rechecked(evidence: Evidence, experiment: str, before: str, now: str) -> Record | None:
    """The succession of one code by another; None where none is on record."""
    wanted = config_of(experiment, before, now)
    return next((record for record in evidence.of(KIND) if record.config == wanted), None)
