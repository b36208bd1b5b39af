"""Repeat call: an earlier call must leave no state behind."""

from __future__ import annotations

from torch import Tensor

from audits.instruments.noise_floor import CALLS, comparable, decide, max_abs_diff, noise_of
from audits.instruments.probe import Probe, Report, Violation, failed_control, undetermined
from audits.results import Site, Verdict
from audits.subject.randomness import generator
from audits.subject.settings import Settings
from audits.subject.subject import Subject

SHORT = 8  # an eighth of the sequence is a short call; our choice


def run(subject: Subject) -> Report:
    """f(x), then another call, then f(x) again, without restoring the model in between.

    The calls in between: the same input, another one, a longer, a shorter, and several rows; and between calls of the
    first few tokens alone, the whole sequence, since what a long call changes may be read by short calls only. Positive
    control: another input must give another output.
    """
    base = subject.base()
    short = base[:, : max(1, base.shape[1] // SHORT)]
    between = _between(subject, base)
    pairs = {name: (base, other) for name, other in between.items()}
    pairs[f"the whole sequence, of its first {short.shape[1]} alone,"] = (short, base)
    first = subject.run(base)
    if not comparable(first):
        return undetermined("the outputs hold NaN or infinite numbers")
    if not float(max_abs_diff(first, subject.run(between["another sequence"])).max()):
        return failed_control("another input gives the same output")
    noise = _noise(subject, base)
    differences = {name: found for name, pair in pairs.items() if (found := _after(subject, *pair)) is not None}
    name = max(differences, key=lambda key: float(differences[key].max()))
    effect = float(differences[name].max())

    def measure(other: Subject) -> float:
        found = _after(other, *pairs[name])
        return 0.0 if found is None else float(found.max())

    decision = decide(subject, effect, measure, same_shape=True, scale=float(first.abs().max()), noise=noise)
    if decision.verdict is Verdict.UNDETERMINED:
        return undetermined(f"after {name} the output differs by {effect:.1e}, perhaps by rounding alone")
    if decision.verdict is Verdict.PASS:
        return Report(Verdict.PASS, f"the same output after {', '.join(differences)}")
    violation = Violation(Site(), Site(int(differences[name].argmax()), 0), effect, decision.noise_floor)
    return Report(
        Verdict.LEAK, f"after a call with {name} the same input gives outputs that differ by {effect:.3g}", (violation,)
    )


def _noise(subject: Subject, base: Tensor) -> float:
    """How far calls differ that follow equal calls, which cannot be state; 0 for a deterministic subject."""
    if noise_of(subject) == 0:
        return 0.0
    subject.run(base)
    outputs = [subject.run(base) for _ in range(CALLS)]
    return 4 * max(float(max_abs_diff(outputs[0], other).max()) for other in outputs)


def _between(subject: Subject, base: Tensor) -> dict[str, Tensor]:
    """The inputs of the calls in between."""
    gen = generator(subject.settings.seed, "repeat-call")
    length = base.shape[1]
    calls = {
        "the same sequence": base,
        "another sequence": subject.draw(1, length, gen),
        "a longer sequence": subject.draw(1, 2 * length, gen),
        "a shorter sequence": subject.draw(1, max(1, length // 2), gen),
    }
    if subject.settings.batch > 1:
        calls["several rows"] = subject.draw(3, length, gen)
    return calls


def _after(subject: Subject, inputs: Tensor, other: Tensor) -> Tensor | None:
    """How far f(inputs) is from itself after f(other), [N]; None where the model refuses either."""
    try:
        before = subject.run(inputs)
        subject.run(other, reset=False)
    except Exception:
        return None
    return max_abs_diff(before, subject.run(inputs, reset=False))[0].cpu()


def _forwards(settings: Settings) -> int:
    return 21 if settings.batch > 1 else 18


PROBE = Probe(
    "repeat-call",
    "outputs that depend on earlier calls",
    order=4,
    run=run,
    forwards=_forwards,
    blind_to="everything that one call does by itself.",
)
