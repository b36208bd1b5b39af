"""Documents: several packed into one row must not feel each other, where the model is told where they begin."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from audits.formatting import error_text
from audits.instruments.differences import felt, scale_of
from audits.instruments.noise_floor import gap, weigh
from audits.instruments.probe import Pair, Probe, Report, Sighting, not_applicable, undetermined, unmoved
from audits.instruments.replacing import Crossing, Examined, examine
from audits.instruments.separation import keeps_apart
from audits.results import Site, Verdict
from audits.subject.packing import CLAIMS, COMPANIONS, MASK, POSITIONS, Told, packings
from audits.subject.subject import Subject


def run(subject: Subject) -> Report:
    """Each document replaced in turn while the others stay; then each against itself alone.

    Positive control: the replaced document's own outputs must move. An argument that exists to keep documents apart
    (`cu_seqlens`, `seq_idx`, `segment_ids`) is a promise; position ids that begin again are one only if the user
    insists, and in a model in which something does keep documents apart by them. Of the latter it is not asked that a
    document be what it is alone: nothing said so.
    """
    names, insisted = _names(subject), bool(subject.settings.insisted)
    if not names:
        how = " (it takes any keyword: insist on one with --documents NAME)" if subject.feed.open_ended else ""
        return not_applicable(f"no argument of the model says where packed documents begin{how}")
    if names == (POSITIONS,) and not insisted:
        plain = _plain_positions(subject)
        if plain is not None:
            return plain
    ways = (False, True) if MASK in names else (False,)  # boolean masks are added up by some models, additive by others
    reports = [_report(subject, names, additive=additive) for additive in ways]
    report = next((r for r in reports if r.verdict is Verdict.PASS), reports[0])
    if insisted and not report.applicable:  # what was insisted on and could not be run leaves the audit undecided
        return undetermined(report.why.removeprefix("not applicable: "))
    return report


def _names(subject: Subject) -> tuple[str, ...]:
    """The arguments by which this model is told: those insisted on, else all that promise isolation; and positions."""
    named = subject.feed.named
    chosen = subject.settings.insisted or tuple(name for name in CLAIMS if name in named)
    return (*chosen, POSITIONS) if POSITIONS in named and POSITIONS not in chosen else chosen


def _companions(subject: Subject) -> tuple[str, ...]:
    """What goes along where the model has a parameter for it."""
    return tuple(name for name in COMPANIONS if name in subject.feed.named)


def _plain_positions(subject: Subject) -> Report | None:
    """Why position ids promise nothing in this model; None where something in it keeps documents apart by them."""
    told = Told(packings(subject.settings.seq_len)[0], (POSITIONS, *_companions(subject)))
    try:
        apart = keeps_apart(subject, told)
    except Exception as problem:
        return not_applicable(f"the model took no {POSITIONS} that begin again ({error_text(problem)})")
    if apart:
        return None
    return not_applicable(
        f"{POSITIONS} that begin again keep documents apart nowhere: they are plain positions here "
        f"(--documents {POSITIONS} insists that they must)"
    )


def _report(subject: Subject, names: tuple[str, ...], *, additive: bool) -> Report:
    """The verdict over all packings; one that the model refuses is left out, and named."""
    done: list[Examined] = []
    refused = ""
    for packing in packings(subject.settings.seq_len):
        told = Told(packing, (*names, *_companions(subject)), additive)
        try:
            done.append(examine(subject, told))
        except Exception as problem:
            refused = f"the model refused {packing.row} ({error_text(problem)})"
    by = f"told by {', '.join(names)}"
    if not done:
        return not_applicable(f"{refused}, {by}")
    if not all(examined.finite for examined in done):
        return undetermined(f"{by}: the outputs hold NaN or infinite numbers")
    if not all(examined.reacted for examined in done):
        return unmoved("replacing a document moved nothing, not even itself")
    rows = "; ".join((*(examined.told.packing.row for examined in done), *([refused] if refused else [])))
    promised = names != (POSITIONS,) or bool(subject.settings.insisted)
    found = [crossing for examined in done for crossing in examined.crossings]
    return _verdict(subject, found, f"{by}, {rows}", promised=promised)


def _verdict(subject: Subject, found: list[Crossing], rows: str, *, promised: bool) -> Report:
    """Crossings into later documents come first, because an ordinary leak of the future crosses into earlier ones."""
    kinds = ([c for c in found if c.into_later], [c for c in found if c.into_earlier], [c for c in found if c.alone])
    judged = [_judge(subject, max(kind, key=lambda c: c.effect)) for kind in kinds if any(c.effect for c in kind)]
    if not promised:
        judged = [_only_remarked(report) for report in judged]
    for verdict in (Verdict.LEAK, Verdict.UNDETERMINED):
        report = next((report for report in judged if report.verdict is verdict), None)
        if report is not None:
            return replace(report, why=f"{rows}: {report.why}")
    alone = f"{len(kinds[2])} behind others are what they are alone"
    remark = next((report.why for report in judged if report.why), alone)
    return Report(Verdict.PASS, f"{rows}: replacing a document moved no other, and {remark}")


def _only_remarked(report: Report) -> Report:
    """A document that differs from itself alone is no leak where no one promised that it would not."""
    if report.verdict is not Verdict.LEAK or report.sightings[0].pair is not None:
        return report
    return Report(Verdict.PASS, f"{report.why} (--documents {POSITIONS} makes that a leak)")


def _judge(subject: Subject, crossing: Crossing) -> Report:
    return _judge_alone(subject, crossing) if crossing.changed is None else _judge_replaced(subject, crossing)


def _judge_replaced(subject: Subject, crossing: Crossing) -> Report:
    assert crossing.changed is not None
    start, stop = crossing.span
    pair = Pair(subject.base(), crossing.changed, start, told=crossing.told, watched=crossing.watched)
    verdict, _ = _weighed(subject, pair)
    if verdict is Verdict.UNDETERMINED:
        return undetermined(f"a document moved another by {crossing.effect:.1e}: leak or rounding, nobody can tell")
    if verdict is Verdict.PASS:
        return Report(Verdict.PASS, "")
    pair = _latest_source(subject, pair, stop)
    _, floor = _weighed(subject, pair)
    moved = felt(subject, pair)
    sink = pair.still[0] + int(moved.past.argmax())
    why = f"changing position {pair.cut} moves position {sink} of another document by {moved.effect:.3g}"
    return Report(Verdict.LEAK, why, (Sighting(Site(pair.cut, 0), Site(sink, 0), moved.effect, floor, pair),))


def _weighed(subject: Subject, pair: Pair) -> tuple[Verdict, float]:
    seen = felt(subject, pair)
    weighed = weigh(subject, seen.effect, lambda other: felt(other, pair).effect, same_shape=True, scale=seen.scale)
    return weighed.verdict, weighed.noise_floor


def _latest_source(subject: Subject, pair: Pair, stop: int) -> Pair:
    """The same change kept only from as late a position of its document on as is still felt."""
    low, high = pair.cut, stop - 1
    while low < high:
        middle = (low + high + 1) // 2
        kept = torch.cat([pair.base[:, :middle], pair.changed[:, middle:]], dim=1)
        trial = replace(pair, changed=kept, cut=middle)
        if _weighed(subject, trial)[0] is Verdict.LEAK:
            low, pair = middle, trial
        else:
            high = middle - 1
    return pair


def _judge_alone(subject: Subject, crossing: Crossing) -> Report:
    base, span = subject.base(), slice(*crossing.watched)

    def gaps(other: Subject) -> Tensor:
        return gap(other.run(base, told=crossing.told)[:, span], other.run(base[:, span]))[0]

    scale = scale_of(subject.run(base, told=crossing.told))
    weighed = weigh(subject, crossing.effect, lambda o: float(gaps(o).max()), same_shape=False, scale=scale)
    if weighed.verdict is Verdict.PASS:
        return Report(Verdict.PASS, "")
    sink = crossing.watched[0] + int(gaps(subject).argmax())
    why = f"the document from position {crossing.watched[0]} on differs by {crossing.effect:.3g} from itself alone"
    sighting = Sighting(Site(), Site(sink, 0), crossing.effect, weighed.noise_floor)
    return Report(weighed.verdict, why, (sighting,) if weighed.verdict is Verdict.LEAK else ())


PROBE = Probe(
    "documents",
    "packed documents that feel each other",
    order=8,
    run=run,
    blind_to="everything in a model that is told of no documents; crossings in training mode, in other packings than "
    "the few tried, and behind all-zero weights.",
)
