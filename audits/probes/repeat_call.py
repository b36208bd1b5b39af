"""Repeat call: an earlier call must leave nothing behind."""

from __future__ import annotations

from torch import Tensor

from audits.instruments.noise_floor import CALLS, gap, noise_of, readable, weigh
from audits.instruments.probe import Probe, Report, Sighting, undetermined, unmoved
from audits.results import Site, Verdict
from audits.subject.randomness import generator
from audits.subject.settings import Settings
from audits.subject.subject import Subject

FEW = 8  # an eighth of the sequence is a short call; our choice


def run(subject: Subject) -> Report:
    """f(x), then another call, then f(x) again, without putting the model back in between.

    The calls in between: the same input, another one, a longer, a shorter, and several rows; and of the first few
    tokens alone, the whole sequence, since what a long call changes may be read by short calls only. Positive control:
    another input must give another output.
    """
    base = subject.base()
    few = base[:, : max(1, base.shape[1] // FEW)]
    between = _between(subject, base)
    pairs = {name: (base, other) for name, other in between.items()}
    pairs[f"the whole sequence, of its first {few.shape[1]} alone,"] = (few, base)
    first = subject.run(base)
    if not readable(first):
        return undetermined("the outputs hold NaN or infinite numbers")
    if not float(gap(first, subject.run(between["another sequence"])).max()):
        return unmoved("another input gives the same output")
    chance = _chance(subject, base)
    effects = {name: _after(subject, *pair) for name, pair in pairs.items()}
    done = {name: effect for name, effect in effects.items() if effect is not None}
    name = max(done, key=lambda key: float(done[key].max()))
    effect = float(done[name].max())

    def again(other: Subject) -> float:
        gaps = _after(other, *pairs[name])
        return 0.0 if gaps is None else float(gaps.max())

    weighed = weigh(subject, effect, again, same_shape=True, scale=float(first.abs().max()), repeat=chance)
    if weighed.verdict is Verdict.UNDETERMINED:
        return undetermined(f"after {name} the output differs by {effect:.1e}, which cannot be told from rounding here")
    if weighed.verdict is Verdict.PASS:
        return Report(Verdict.PASS, f"the same output after {', '.join(done)}")
    sighting = Sighting(Site(), Site(int(done[name].argmax()), 0), effect, weighed.noise_floor)
    return Report(
        Verdict.LEAK, f"after a call with {name} the same input gives outputs that differ by {effect:.3g}", (sighting,)
    )


def _chance(subject: Subject, base: Tensor) -> float:
    """How far calls differ before which the same was called: what cannot be memory; 0 for a deterministic subject."""
    if noise_of(subject) == 0:
        return 0.0
    subject.run(base)
    outputs = [subject.run(base) for _ in range(CALLS)]
    return 4 * max(float(gap(outputs[0], other).max()) for other in outputs)


def _between(subject: Subject, base: Tensor) -> dict[str, Tensor]:
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


def _after(subject: Subject, judged: Tensor, other: Tensor) -> Tensor | None:
    """How far f(judged) is from itself after f(other), [N]; None where the model refuses either."""
    try:
        before = subject.run(judged)
        subject.run(other, fresh=False)
    except Exception:
        return None
    return gap(before, subject.run(judged, fresh=False))[0].cpu()


def _forwards(settings: Settings) -> int:
    return 21 if settings.batch > 1 else 18


PROBE = Probe(
    "repeat-call",
    "outputs that remember earlier calls",
    order=4,
    run=run,
    forwards=_forwards,
    blind_to="everything that one call does by itself.",
)
