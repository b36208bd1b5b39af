"""The page of one claim: the outcome and why, its figures, its test, its evidence, and how to repeat it."""

from __future__ import annotations

from audits.claims.claim import JudgedClaim, Kind
from audits.claims.judged import NO_RUN, Report
from audits.claims.provenance import facts, provenance, reproduce, runs_table
from audits.formatting import Table, number
from audits.report.claims import prose
from audits.report.claims.json import page_path
from audits.report.claims.marks import flags, outcome, tier_word
from audits.report.claims.supplements import SUPPLEMENTS
from audits.report.render.document import Document, Picture, Section, figure_picture
from audits.statistics.levels import ALPHA


def claim_document(report: Report, item: JudgedClaim) -> Document:
    """Everything known of one claim, what a reader needs first in front."""
    claim, judgement = item.claim, item.judgement
    tables = tuple(table for table in judgement.tables if table.rows)
    sections = (
        Section(facts=_found(report, item)),
        Section("Figures and numbers", pictures=_pictures(item), tables=tables),
        *_lower_tiers(item),
        *(SUPPLEMENTS[claim.id](report) if claim.id in SUPPLEMENTS else ()),
        _test(item),
        _evidence(report, item),
    )
    return Document(
        path=page_path(claim.id),
        title=claim.statement,
        lead=(judgement.reason,),
        sections=tuple(section for section in sections if section.shows),
        mark=outcome(item),
        badges=(str(item.scope), str(claim.kind), claim.id, f"{judgement.verdict}, {tier_word(item.tier)}"),
        flags=flags(item),
    )


def _found(report: Report, item: JudgedClaim) -> tuple[tuple[str, str], ...]:
    """What was printed, what was found, and what that does not show."""
    claim, judgement = item.claim, item.judgement
    least, seeds = judgement.minimum_detectable_effect, judgement.seeds_needed
    power = {"minimum detectable effect": least, "seeds needed": seeds}
    pairs = (
        ("Printed", prose.printed(item)),
        ("Ours", judgement.ours),
        ("Source", claim.source),
        ("Details", judgement.details),
        ("Power", "; ".join(f"{name}: {value}" for name, value in power.items() if value is not None)),
        ("Over all claims", _corrected(report, item)),
        ("Limits", " ".join(prose.limits_of(item))),
        ("Would change the verdict", judgement.would_change),
    )
    return tuple((name, text) for name, text in pairs if text)


def _corrected(report: Report, item: JudgedClaim) -> str:
    """The deciding p value before and after the correction over all of the paper's claims; empty without one."""
    found = report.corrected.get(item.claim.id)
    if found is None:
        return ""
    family = sum(other.claim.kind is Kind.PUBLISHED for other in report.judged)
    lost = "not significant any more" if found.p <= ALPHA else "open before too"
    kept = "still significant" if found.rejected else lost
    return f"p = {number(found.p)}; corrected by Holm over the paper's {family} claims {number(found.adjusted)}: {kept}"


def _pictures(item: JudgedClaim, tier: str = "") -> tuple[Picture, ...]:
    stem = f"{item.claim.id}{tier}"
    drawn = (figure_picture(f"{stem}-{n}", figure) for n, figure in enumerate(item.judgement.figures, 1))
    return tuple(picture for picture in drawn if picture.svg or (picture.numbers and picture.numbers.rows))


def _lower_tiers(item: JudgedClaim) -> list[Section]:
    """The verdicts at all tiers in one table, and the figures of the lower ones."""
    if not item.others:
        return []
    drawn = tuple(picture for other in item.others for picture in _pictures(other, f"-{other.tier}"))
    rows = []
    for at in item.at_every_tier:
        runs = f"{len(at.judgement.evidence)}" + (f", {len(at.stale)} stale" if at.stale else "")
        rows.append((at.tier, outcome(at).text, at.expected or "not reviewed", runs, at.judgement.reason))
    table = Table("The claim at every tier", ("tier", "verdict", "expected", "runs", "reason"), tuple(rows))
    return [Section("At every tier", tables=(table,)), Section("At lower tiers", pictures=drawn)]


def _test(item: JudgedClaim) -> Section:
    """What was fixed before a run was judged, and how to repeat it."""
    claim, needs = item.claim, ", ".join(item.claim.needs) or "none"
    fixed = (
        ("Test", claim.test),
        ("Refuted by", claim.refuted_by),
        ("Expected", str(item.expected or "not reviewed yet")),
        ("Experiments", f"{needs}: {NO_RUN}" if item.judgement.missing else needs),
    )
    return Section("The test, fixed beforehand", facts=fixed, command=reproduce(item))


def _evidence(report: Report, item: JudgedClaim) -> Section:
    origin = provenance(report, item)
    if not origin.runs:
        return Section("Evidence", ("No run of ours entered this verdict.",))
    return Section("Evidence", facts=facts(origin), folded=(runs_table(report, item),))
