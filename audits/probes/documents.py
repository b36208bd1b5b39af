"""Documents: several packed into one row must not depend on each other, where the model is given their boundaries."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from audits.formatting import error_text
from audits.instruments.differences import judge, judge_calls, judge_latest
from audits.instruments.documents import Span, isolates_documents, replacements
from audits.instruments.noise_floor import comparable, max_abs_diff, scale_of
from audits.instruments.probe import Pair, Probe, Report, failed_control, not_applicable, undetermined
from audits.results import Site, Verdict
from audits.subject.packing import (
    AUXILIARY_ARGUMENTS,
    ISOLATING_ARGUMENTS,
    MASK,
    POSITIONS,
    DocumentKwargs,
    packings,
)
from audits.subject.subject import Subject


def run(subject: Subject) -> Report:
    """Each document replaced in turn while the others stay; then each against itself alone.

    Positive control: the replaced document's own outputs must change. An argument that exists to isolate documents
    (`cu_seqlens`, `seq_idx`, `segment_ids`) is a promise. Position ids that restart are one only if the user requires
    isolation, or in a model in which some module isolates documents by them; then a document need not equal itself
    alone, because nothing promises that.
    """
    names, required = _names(subject), bool(subject.settings.required_isolation)
    if not names:
        how = " (it takes any keyword: name one with --documents NAME)" if subject.convention.any_keyword else ""
        return not_applicable(f"no argument of the model says where packed documents begin{how}")
    if names == (POSITIONS,) and not required:
        plain = _plain_positions(subject)
        if plain is not None:
            return plain
    ways = (False, True) if MASK in names else (False,)  # boolean masks are added up by some models, additive by others
    reports = [_report(subject, names, additive=additive) for additive in ways]
    report = next((r for r in reports if r.verdict is Verdict.PASS), reports[0])
    if required and not report.applicable:  # what was required and could not be run leaves the audit undecided
        return undetermined(report.why.removeprefix("not applicable: "))
    return report


def _names(subject: Subject) -> tuple[str, ...]:
    """The arguments that give this model its documents: those required, else all that promise isolation; positions."""
    keywords = subject.convention.keywords
    chosen = subject.settings.required_isolation or tuple(name for name in ISOLATING_ARGUMENTS if name in keywords)
    return (*chosen, POSITIONS) if POSITIONS in keywords and POSITIONS not in chosen else chosen


def _auxiliary(subject: Subject) -> tuple[str, ...]:
    """Further arguments of packed rows that the model takes."""
    return tuple(name for name in AUXILIARY_ARGUMENTS if name in subject.convention.keywords)


def _plain_positions(subject: Subject) -> Report | None:
    """Why position ids promise nothing in this model; None where something in it isolates documents by them."""
    kwargs = DocumentKwargs(packings(subject.settings.seq_len)[0], (POSITIONS, *_auxiliary(subject)))
    try:
        isolated = isolates_documents(subject, kwargs)
    except Exception as problem:
        return not_applicable(f"the model took no {POSITIONS} that restart ({error_text(problem)})")
    if isolated:
        return None
    return not_applicable(
        f"no module isolates documents by {POSITIONS} that restart: they are plain positions here "
        f"(--documents {POSITIONS} requires isolation)"
    )


@dataclass(frozen=True, eq=False)
class _Effect:
    """How far one document of a row depends on another one, or on not being alone in it.

    Attributes:
        differences: of outputs that should agree, at each of its positions.
        sink: that document.
        source: the document that was replaced; the sink itself where that was compared with itself alone.
        pair: the row as it was and with the source replaced; None for a document alone.
        kwargs: the arguments that give the model its documents.
    """

    differences: Tensor
    sink: Span
    source: Span
    pair: Pair | None
    kwargs: DocumentKwargs

    @property
    def size(self) -> float:
        """The largest difference."""
        return float(self.differences.max())


@dataclass(frozen=True)
class _Row:
    """What one packed row showed: whether its outputs are numbers, whether every source reacted itself, the effects."""

    kwargs: DocumentKwargs
    finite: bool
    reacted: bool
    effects: tuple[_Effect, ...]


def _measured(subject: Subject, kwargs: DocumentKwargs) -> _Row:
    """Replace every document in several ways; compare every document after the first with itself alone."""
    base, spans = subject.base(), kwargs.packing.spans
    before = subject.run(base, extra_kwargs=kwargs)
    effects, reacted = [], True
    for source in spans:
        rows = replacements(subject, base, source)
        differences = [max_abs_diff(before, subject.run(row, extra_kwargs=kwargs))[0].cpu() for row in rows]
        reacted &= any(float(difference[slice(*source)].max()) > 0 for difference in differences)
        effects += [
            _Effect(difference[slice(*sink)], sink, source, Pair(base, row, source[0], False, kwargs, sink), kwargs)
            for difference, row in zip(differences, rows, strict=True)
            for sink in spans
            if sink != source
        ]
    for span in spans[1:]:
        with suppress(Exception):  # the model takes nothing that short
            alone = max_abs_diff(before[:, slice(*span)], subject.run(base[:, slice(*span)]))[0]
            effects.append(_Effect(alone.cpu(), span, span, None, kwargs))
    return _Row(kwargs, comparable(before), reacted, tuple(effects))


def _report(subject: Subject, names: tuple[str, ...], *, additive: bool) -> Report:
    """The verdict over all packings; one that the model refuses is skipped, and named."""
    rows: list[_Row] = []
    refused = ""
    for packing in packings(subject.settings.seq_len):
        try:
            rows.append(_measured(subject, DocumentKwargs(packing, (*names, *_auxiliary(subject)), additive)))
        except Exception as problem:
            refused = f"the model refused {packing} ({error_text(problem)})"
    by = f"boundaries given by {', '.join(names)}"
    if not rows:
        return not_applicable(f"{refused}, {by}")
    if not all(row.finite for row in rows):
        return undetermined(f"{by}: the outputs hold NaN or infinite numbers")
    if not all(row.reacted for row in rows):
        return failed_control("replacing a document changed no output, not even its own")
    tried = "; ".join((*(str(row.kwargs.packing) for row in rows), *([refused] if refused else [])))
    promised = names != (POSITIONS,) or bool(subject.settings.required_isolation)
    effects = [effect for row in rows for effect in row.effects]
    return _verdict(subject, effects, f"{by}, {tried}", promised=promised)


def _verdict(subject: Subject, effects: list[_Effect], tried: str, *, promised: bool) -> Report:
    """Effects on later documents come first, because an ordinary leak of the future has effects on earlier ones."""
    alone = [e for e in effects if e.pair is None]
    kinds = ([e for e in effects if e.source < e.sink], [e for e in effects if e.source > e.sink], alone)
    judged = [_judge(subject, max(kind, key=lambda e: e.size)) for kind in kinds if any(e.size for e in kind)]
    if not promised:
        judged = [_as_remark(report) for report in judged]
    for verdict in (Verdict.LEAK, Verdict.UNDETERMINED):
        report = next((report for report in judged if report.verdict is verdict), None)
        if report is not None:
            return replace(report, why=f"{tried}: {report.why}")
    equal = f"{len(alone)} after others equal themselves alone"
    remark = next((report.why for report in judged if report.why), equal)
    return Report(Verdict.PASS, f"{tried}: replacing a document changed no other, and {remark}")


def _as_remark(report: Report) -> Report:
    """A document that differs from itself alone is no leak where nothing promises that it does not."""
    if report.verdict is not Verdict.LEAK or report.violations[0].pair is not None:
        return report
    return Report(Verdict.PASS, f"{report.why} (--documents {POSITIONS} makes that a leak)")


def _judge(subject: Subject, effect: _Effect) -> Report:
    if effect.pair is None:
        return _judge_alone(subject, effect)
    judged = judge_latest(effect.pair, effect.source[1], partial(judge, subject))
    doubt = f"a document changed another by {effect.size:.1e}, perhaps by rounding alone"
    return judged.report(f"{judged.violation.described(subject)}, in another document", "", doubt)


def _judge_alone(subject: Subject, effect: _Effect) -> Report:
    base, span = subject.base(), slice(*effect.sink)

    def differences(other: Subject) -> Tensor:
        return max_abs_diff(other.run(base, extra_kwargs=effect.kwargs)[:, span], other.run(base[:, span]))

    scale = scale_of(subject.run(base, extra_kwargs=effect.kwargs))
    judged = judge_calls(subject, differences, effect.differences, scale=scale, first=Site(effect.sink[0], 0))
    judged = judged.having(document=(*effect.sink, effect.kwargs))
    why = f"the document from position {effect.sink[0]} on differs by {effect.size:.3g} from itself alone"
    return judged.report(why, "", why)


PROBE = Probe(
    "documents",
    "packed documents that depend on each other",
    order=8,
    run=run,
    forwards=lambda subject: 0 if not _names(subject) else 48,
    blind_to="everything in a model that is given no document boundaries; effects in training mode, in other packings "
    "than the few tried, and behind all-zero weights.",
)
