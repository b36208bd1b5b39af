"""Provenance: trace every token through one forward pass, and confirm by changes what reaches an earlier output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from audits.instruments import adversary, changes, decisions
from audits.instruments.decisions import Recorded
from audits.instruments.differences import Changes, Comparison, Effects, response
from audits.instruments.noise_floor import comparable, draws_randomly, max_abs_diff
from audits.instruments.probe import Pair, Probe, Report, Violation, failed_control, not_applicable, undetermined
from audits.instruments.reinit_zero_weights import redraw_weights, zero_initialized
from audits.instruments.source_lines import Frame
from audits.instruments.tracing.attribution import Attribution, attribute
from audits.instruments.tracing.blocking import blocking
from audits.instruments.tracing.taint_map import MAX_POSITIONS
from audits.instruments.tracing.trace import Trace, positions, trace, traced
from audits.instruments.tracing.tracer import Escape
from audits.results import STRUCTURAL, Verdict
from audits.subject.budget import OutOfTime
from audits.subject.randomness import generator
from audits.subject.subject import Subject

SOURCES = 48  # later tokens changed to confirm a traced flow, at most
DRAWS = 3  # changes tried for each of them
FACTORS = (1.0, 0.2, 5.0)  # of the size of weights drawn anew, to open what is closed and to free what is saturated
LONGER = 2  # times the length, at which some flows show
RETRIES = 2  # further inputs from which changes are evolved to confirm a flow through a choice
CLEAN = "no output depends on a later token, by any path executed"


def run(subject: Subject) -> Report:
    """A traced flow from a later token is a leak once changing tokens confirms it; if nothing does, it is structural.

    Positive control: some output must be traced back to some token.
    """
    base = subject.base()
    if base.shape[1] > MAX_POSITIONS:
        return not_applicable(f"tracing handles at most {MAX_POSITIONS} positions: use a smaller seq_len")
    if not comparable(subject.run(base)):
        return undetermined("the outputs hold NaN or infinite numbers")
    try:
        found = traced(subject)
    except Exception as problem:  # some constructs (higher-order operators) do not run under a dispatch mode
        return not_applicable(f"the model does not run under tracing ({type(problem).__name__})")
    if int(found.latest.max()) < 0:
        return failed_control("no output was traced back to any token")
    literal = found
    leaking, reads = bool(found.leaking().any()), any(e.latest for e in found.escapes)
    if leaking or reads:
        regrouped = trace(subject, base, positions(base), grouping=True)
        grouped = not bool(regrouped.leaking().any())
        leak = _confirmed(subject, base, found, training=False, thorough=not grouped) if leaking else None
        if leak is not None:
            return leak
        found = regrouped if grouped else found
    clean = not bool(found.leaking().any())
    report = Report(Verdict.PASS, f"{CLEAN}{_remarks(found)}") if clean else _structural(subject, base, found)
    if report.verdict is Verdict.PASS:
        report = _triggered(subject, found) or _decided(subject, base, found, report)
    return _with_training(subject, base, report, literal)


def _triggered(subject: Subject, found: Trace) -> Report | None:
    """The leak that the numbers show which the model compares tokens with, as ids; None where there is none.

    What they switch on (another mask, a branch, another length of what is kept) is not in the trace without them.
    """
    named = (*found.compared, *(number for read in found.escapes for number in read.constants))
    short = subject.shorter()
    plan = changes.triggers(short, _ids(short, named), generator(subject.settings.seed, "triggers")) if named else None
    if plan is None:
        return None
    leak = Comparison(short, short.base()).leak(plan)
    if leak is None:
        return None
    return _leak(subject, leak if short is subject else replace(leak, seen_in=short))


def _ids(subject: Subject, numbers: tuple[int | float, ...]) -> tuple[int | float, ...]:
    """These numbers and the ids that the configuration names, each once."""
    return tuple(dict.fromkeys((*numbers, *changes.special_ids(subject))))


def _decided(subject: Subject, base: Tensor, found: Trace, report: Report) -> Report:
    """A pass, unless Python read what depends on tokens and may have decided an earlier output by it."""
    silent = next((e for e in found.escapes if e.silent and e.latest), None)
    if silent is not None:
        return undetermined(f"values left torch through {silent.how} at {_at(silent.frame)} and were lost")
    reads = [e for e in found.escapes if e.latest]
    if not reads:
        return report
    lines = {_at(e.frame): None for e in reads}
    reaching = decisions.reaching(subject, base, reads)
    leak, left = _turned_over(subject, found, reaching)
    if leak is not None:
        return leak
    if left:
        return undetermined(
            f"a decision at {_at(left[0].frame)} depends on {subject.input_at(left[0].latest)}; taken otherwise, it "
            f"changes earlier outputs, and no input tried turned it over"
        )
    outcome = f"{'turned over' if reaching else 'taken otherwise'}, they change no earlier output"
    return replace(report, why=f"{report.why}; decisions at {', '.join(lines)}: {outcome}")


def _turned_over(subject: Subject, found: Trace, reads: list[Escape]) -> tuple[Report | None, list[Escape]]:
    """The leak of a decision that some input turns over, and the reads whose decision none does."""
    gen = generator(subject.settings.seed, "decisions")
    numbers = _ids(subject, (*found.compared, *(n for read in reads for n in read.constants)))
    left = reads
    for plan in (changes.turning(subject, gen), changes.triggers(subject, numbers, gen)):
        for row in range(len(plan.cuts) if plan is not None and left else 0):
            assert plan is not None
            one = plan.rows(torch.tensor([row]))
            assert one.bases is not None
            before, after = (Recorded(subject, given) for given in (one.bases, one.inputs))
            past = max_abs_diff(before.outputs, after.outputs)[0, : int(one.cuts)]
            if float(past.max()) > 0:
                judged = Comparison(subject, one.bases).confirm(replace(one, bases=None), 0)
                if judged.leaks:
                    return _leak(subject, judged.violation), []
            left = [read for read in left if not before.decides_otherwise(after, read.frame)]
    return None, left


def _with_training(subject: Subject, base: Tensor, report: Report, evaluated: Trace) -> Report:
    """The report on evaluation mode, or what training mode adds to a pass: a flow that occurs there only."""
    if report.verdict is not Verdict.PASS or subject.module is None:
        return report
    try:
        found = traced(subject, training=True)
    except Exception:  # a model that cannot be called in training mode has no leak in it
        return report
    if not bool(found.leaking().any()):
        return report
    known = torch.equal(found.latest, evaluated.latest) or not bool(
        trace(subject, base, positions(base), training=True, grouping=True).leaking().any()
    )
    leak = _confirmed(subject, base, found, training=True, thorough=not known)
    if leak is not None:
        return replace(leak, why=f"in training mode, {leak.why}")
    return report if known else undetermined(f"in training mode a flow that no change confirms; {report.why}")


def _confirmed(subject: Subject, base: Tensor, found: Trace, *, training: bool, thorough: bool = True) -> Report | None:
    """The leak that a change of later tokens confirms, with the line where it enters; None if no output changes."""
    comparison = Comparison(subject, base, training=training)
    leaks = (comparison.leak(*plan) for plan in _plans(comparison, found, thorough=thorough))
    violation = next((leak for leak in leaks if leak is not None), None)
    return None if violation is None else _leak(subject, violation)


def _plans(comparison: Comparison, found: Trace, *, thorough: bool) -> Iterator[tuple[Changes, Effects]]:
    """The traced sources changed by themselves; then what perturbation tries; each with its effects.

    Not thorough, nothing is evolved, where only an assumption of grouping separates the flow from a pass; and of a flow
    that training mode has in common with evaluation mode, the sources alone are changed.
    """
    subject, base = comparison.subject, comparison.base
    later = found.latest[found.leaking()].unique()
    sources = later[torch.linspace(0, len(later) - 1, min(SOURCES, len(later))).long()]
    gen = generator(subject.settings.seed, "provenance")
    fresh = (subject.draw(len(sources), base.shape[1], gen) for _ in range(DRAWS))
    own = Changes.join([changes.replace_at(base, each, sources) for each in fresh])
    yield own, comparison.measure(own)
    if comparison.training and not thorough:
        return
    # From here on the same draws as the perturbation probe, so that chance does not make the two disagree.
    gen = generator(subject.settings.seed, "perturbation")
    for plan in (*changes.plans(subject, base, gen, training=comparison.training), changes.sweep(subject, gen)):
        yield plan, comparison.measure(plan)
    if not thorough:
        return
    triggers = changes.triggers(subject, _ids(subject, found.compared), generator(subject.settings.seed, "triggers"))
    if triggers is not None:
        yield triggers, comparison.measure(triggers)
    evolved = adversary.search(comparison, gen)
    if evolved is not None:
        yield evolved
    if evolved is not None and not draws_randomly(subject):  # what is drawn decides rankings by chance
        yield from _evolved_from_others(comparison, gen)


def _evolved_from_others(comparison: Comparison, gen: torch.Generator) -> Iterator[tuple[Changes, Effects]]:
    """The same from other base inputs: a ranking that is hard to change in one may be easy to change in another."""
    for _ in range(RETRIES):
        base = comparison.subject.draw(1, comparison.base.shape[1], gen)
        evolved = adversary.search(Comparison(comparison.subject, base, training=comparison.training), gen)
        if evolved is None:
            return
        plan, effects = evolved
        yield replace(plan, bases=base.expand(plan.inputs.shape)), effects


def _leak(subject: Subject, violation: Violation) -> Report:
    try:
        found = _attributed(subject, violation)
    except OutOfTime:  # a leak without a line is still a leak
        found = None
    source, sink = subject.input_at(violation.source.position), subject.output_at(violation.sink.position)
    why = f"{source} reaches the output at {sink}"
    if found is None:
        return Report(Verdict.LEAK, f"{why}; the line could not be found", (violation,))
    trail = ", ".join(_at(frame) for frame in found.trail)
    op, file, line = found.op, None, None  # type: str, str | None, int | None
    if found.frame is not None:
        file, line = found.frame.place
    elif steps := [step for step in found.trace if step.file]:
        # It enters where the output is put onto the contract's clocks: by what the model does last.
        op, file, line = steps[-1].op, steps[-1].file, steps[-1].line
    located = replace(violation, op=op, file=file, line=line, trace=found.trace)
    at = f"{file}:{line}" if file else "torch's own code"
    return Report(Verdict.LEAK, f"{why} through {op} at {at} (on the way: {trail})", (located,))


def _attributed(subject: Subject, violation: Violation) -> Attribution | None:
    """The attribution of a confirmed leak: into the last output before the source that shows it, else the strongest."""
    assert violation.pair is not None
    assert violation.sink.position is not None
    swapped = replace(violation.pair, base=violation.pair.changed, changed=violation.pair.base)
    # A choice may pass the later token on in one of the two inputs only.
    for pair in (violation.pair, swapped):
        try:
            nearest = int((response(subject, pair) > violation.noise_floor).nonzero().max())
            for sink in dict.fromkeys((nearest, violation.sink.position)):
                found = attribute(subject, pair, sink, follow_values=True)
                if found is not None:
                    return found
        except Exception:  # noqa: S112 - a leak without a line is still a leak
            continue
    return None


def _structural(subject: Subject, base: Tensor, found: Trace) -> Report:
    """A flow that no change confirms: it cancels, a function did not respond, or an operation has no rule."""
    sink = int(found.leaking()[0].nonzero()[0])
    source = int(found.latest[0, sink])
    flow = f"{STRUCTURAL}: {subject.input_at(source)} reaches the output at {subject.output_at(sink)}"
    if zero_initialized(subject):  # it is tried again with small values there, which decides
        return Report(Verdict.PASS, flow)
    if found.unknown:
        names = ", ".join(found.unknown)
        return not_applicable(f"no rule for {names}: assumed to mix all its inputs, but no change confirmed a leak")
    place = attribute(subject, Pair(base, base, source), sink, follow_values=False)
    flow += f" through {place.op} at {_at(place.frame)}" if place else ""
    if place is None or place.discrete:
        return undetermined(f"{flow}; it passes a discrete choice, which no change tried has flipped")
    for cut in dict.fromkeys(((sink + source + 1) // 2, base.shape[1] // 2)):
        gen = generator(subject.settings.seed, "blocking", cut)
        blocked = blocking(subject, changes.stirring(subject, base, cut, gen))
        if blocked is not None:
            return undetermined(f"{flow}; {blocked[0]} at {_at(blocked[1])} responded to none of the changes tried")
    longer = _suffix_leak(subject, subject.base(length=LONGER * base.shape[1]))
    if longer is not None:
        return _leak(subject, longer)
    for factor in FACTORS:
        other = redraw_weights(subject, factor)
        if other is not None and _suffix_leak(other, base) is not None:
            return undetermined(f"{flow}; with weights drawn anew, {factor:g} times as large, later tokens get through")
    return Report(Verdict.PASS, f"{flow}, but it cancels, with other weights too{_remarks(found)}")


def _suffix_leak(subject: Subject, base: Tensor) -> Violation | None:
    """The leak that a changed suffix confirms; None where there is none, or the model does not take the input."""
    try:
        with subject.preserve_state():
            comparison = Comparison(subject, base)
            if not comparable(comparison.base_outputs):
                return None
            return comparison.leak(changes.suffixes(subject, base, generator(subject.settings.seed, "structural")))
    except Exception:
        return None


def _remarks(found: Trace) -> str:
    """What a pass assumed."""
    parts = [f"assuming that {text}" for text in found.assumptions]
    if found.unknown:
        parts.append(f"no rule for {', '.join(found.unknown)} (assumed to mix all inputs)")
    return "".join(f"; {part}" for part in parts)


def _at(frame: Frame | None) -> str:
    return "torch's own code" if frame is None else "{}:{}".format(*frame.place)


PROBE = Probe(
    "provenance",
    "where later tokens flow, operation by operation",
    order=2,
    run=run,
    at_any_length=False,
    forwards=lambda _: 4,
    blind_to="numbers that are computed from the length itself, since no token flows there; branches on shapes; "
    "calls, rows and dtypes other than the traced ones. A flow counts only once a change of tokens shows it.",
)
