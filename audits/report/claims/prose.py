"""The sentences of the report: the results in brief, the method, and what a verdict does not show."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from shlex import quote

from audits.claims.claim import PRINTED, ClaimVerdict, JudgedClaim, Kind, Scope
from audits.claims.judged import NO_RUN, Report
from audits.claims.views import KillMatrix, LeakWorth
from audits.formatting import count, number
from audits.report.claims.marks import tally

HEADLINES = ("attack-council-worth", "attack-own-chunk")  # claims whose reasons a reader meets first
PAPERS = {False: "HubRouter (arXiv:2604.22442)", True: "its companion on routing (arXiv:2603.20997)"}
WORDS = (
    "A published claim is reproduced, not reproduced, open (the evidence decides neither, or has not been gathered) or "
    "not testable. Every verdict has a scope: the printed numbers, our scale, or the paper's scale. At our scale the "
    "ordering of models is tested, not the printed number."
)

METHOD = (
    "Every claim was written down with its test, and with what would refute it, before a run was judged.",
    "A run is addressed by a hash of its experiment, configuration, seed and code, and kept in an append-only ledger; "
    "a verdict lists the hashes of the runs that decided it, or says that it rests on printed numbers alone.",
    "A claim is judged at each tier that has evidence of its own; the highest is shown first, the others below it.",
    "Evidence whose code has changed since is stale: shown as such, with the runs named, and never a failure.",
    "Verdicts are compared with a reviewed file of expectations; one that differs is flagged here and fails the job.",
    "A model that must be causal first passes a causality gate; if it leaks, its perplexity claims are void.",
    "The auditor itself is audited: each probe is run on planted leaks and their clean controls (the kill matrix), "
    "and a probe that was not run, or could not have seen anything, says UNDETERMINED and never PASS.",
    "Arms are compared seed by seed (paired), and the noise of the text is part of every interval; mean perplexities "
    "are exponentials of mean nats: geometric means. Learning rates are chosen on a slice of text that judges nothing.",
)

MAP_NOTE = (
    "Each cell of a map is how much the output at a position (row) changes, in units of the output, when the token at "
    "another position (column) is replaced. Blue is the past, which a causal model may use; orange the future. An "
    "empty cell is exactly zero. The weights are trained."
)
HIDDEN_FROM_GRADIENTS = (
    "the gradient probe passes the very weights in which the perturbation probe finds a leak. Whether a hard top-k "
    "selects a token has derivative zero: a gradient check cannot see that it was selected because of the future."
)

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


@dataclass(frozen=True)
class Elsewhere:
    """What cannot be decided on this machine; `claims` are patterns of ids, and none where no command decides it."""

    what: str
    needs: str
    claims: tuple[str, ...] = ()
    options: str = "--tier paper --device cuda "

    @property
    def command(self) -> str:
        """The one command that decides it; empty where there is none."""
        return f"hubrouter-audit claims {self.options}--only {' '.join(map(quote, self.claims))}" if self.claims else ""


ELSEWHERE = (
    Elsewhere("training throughput against native and optimised baselines", "a GPU", ("throughput-*",)),
    Elsewhere("the compiled kernels' correctness and speed", "a GPU", ("kernels",), "--device cuda "),
    Elsewhere(
        "perplexities at 12 layers, n = 1024, 3000 steps",
        "a GPU",
        ("*-ppl", "graduated-25", "chunk-size", "retrofit", "attack-*"),
    ),
    Elsewhere("the routing mechanisms at 512 tokens, distance 200, 10,000 steps", "a GPU", ("*routing-*",)),
    Elsewhere("frozen Pythia-1B, Mamba-370M and Mamba-1.4B", "a GPU, transformers, a download", ("routing-frozen",)),
    Elsewhere("BM25 on HotpotQA", "its JSON", ("routing-bm25",), "--hotpot FILE "),
    Elsewhere("the printed runs: data, tokeniser, seeds, what converging means, memory banks", "their author"),
)


def elsewhere(report: Report) -> tuple[Elsewhere, ...]:
    """What is still to be decided elsewhere: a claim that it is about has no verdict at the paper's scale."""
    open_still = [item.claim.id for item in report.judged if item.scope is not Scope.PAPER]
    return tuple(
        one
        for one in ELSEWHERE
        if not one.claims or any(fnmatchcase(name, pattern) for name in open_still for pattern in one.claims)
    )


def answer(report: Report) -> tuple[str, ...]:
    """The results in three sentences: how many claims hold, what a leak is worth, what routing is worth."""
    counted = [
        f"{count(len(items), 'claim')} of {paper}: {tally(items)}"
        for companion, paper in PAPERS.items()
        if (items := published(report, companion=companion))
    ]
    found = {item.claim.id: item.judgement for item in report.judged}
    said = [found[name].reason for name in HEADLINES if name in found and not found[name].missing]
    return (
        f"{'; '.join(counted) or 'No claim has been judged yet'}.",
        *(said or [f"What a leak is worth in training is {NO_RUN}."]),
    )


def published(report: Report, *, companion: bool) -> tuple[JudgedClaim, ...]:
    """The published claims of one of the papers."""
    items = (item for item in report.judged if item.claim.kind is Kind.PUBLISHED)
    return tuple(item for item in items if about_companion(item) is companion)


def about_companion(item: JudgedClaim) -> bool:
    """Whether a claim, or the target of an attack, is of the companion paper."""
    return "routing-" in item.claim.id


def expectation_sentence(report: Report) -> str:
    """Whether every verdict is the reviewed one."""
    if not report.judged:
        return "No claim has been judged yet."
    if not report.unexpected:
        return f"Every verdict is as the reviewed expectations file says.{_stale_sentence(report)}"
    names = ", ".join(item.claim.id for item in report.unexpected)
    verb = "needs" if len(report.unexpected) == 1 else "need"
    return f"{count(len(report.unexpected), 'claim')} {verb} attention: {names}.{_stale_sentence(report)}"


def _stale_sentence(report: Report) -> str:
    stale = sum(bool(item.stale) for item in report.judged)
    if not stale:
        return ""
    verb = "rests" if stale == 1 else "rest"
    return f" {count(stale, 'verdict')} {verb} on stale evidence: code has changed since it was made."


def setting_text(worth: LeakWorth) -> str:
    """The configuration that all arms of a comparison share."""
    parts = []
    for key, value in worth.setting.items():
        shown = value.get("name", "custom") if isinstance(value, dict) else value
        parts.append(f"{key} {number(shown, 4) if isinstance(shown, float) else shown}")
    others = f"; {count(worth.other_settings, 'other setting')} in the ledger" if worth.other_settings else ""
    return f"Setting shared by all arms: {', '.join(parts) or 'not recorded'}{others}."
