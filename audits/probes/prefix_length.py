"""Prefix length: the outputs of a prefix must not depend on whether the sequence goes on."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from audits.instruments.noise_floor import gap, noise_of, readable, weigh
from audits.instruments.probe import Probe, Report, Sighting, not_applicable, undetermined, unmoved
from audits.results import Site, Verdict
from audits.subject.settings import Settings
from audits.subject.subject import Subject

SAMPLED = 8  # lengths, beside the worst, at which another precision is asked; our choice


def run(subject: Subject) -> Report:
    """f(x[:t]) against f(x)[:t] at every t that the model takes; the reason says which it does not.

    Positive control: the last output of some prefix must differ from the first, so that a constant does not pass.
    """
    base = subject.base(rows=min(2, subject.settings.batch))
    whole = subject.run(base)
    if not readable(whole):
        return undetermined("the outputs hold NaN or infinite numbers")
    effects, refused = {}, {}
    for length in range(1, base.shape[1]):
        try:
            effects[length] = float(gap(subject.run(base[:, :length]), whole[:, :length]).max())
        except Exception as problem:
            refused[length] = type(problem).__name__
    if not effects:
        return not_applicable(f"the model takes no shorter sequence ({refused[1]})")
    if float(gap(whole[:, :1], whole[:, -1:]).max()) == 0:
        return unmoved("all positions have the same output")
    report = _judge(subject, base, whole, effects)
    return replace(report, why=f"{report.why}{_left_out(min(effects), refused)}")


def _left_out(shortest: int, refused: dict[int, str]) -> str:
    """What was not tried, because the model raised."""
    if not refused:
        return ""
    return (
        f"; the shortest that runs is {shortest}, {len(refused)} lengths were refused ({next(iter(refused.values()))})"
    )


def _judge(subject: Subject, base: Tensor, whole: Tensor, effects: dict[int, float]) -> Report:
    """Judge the length with the largest effect, each row alone: what rows do to each other is no matter of length."""
    worst = max(effects, key=lambda length: effects[length])
    alone = [gap(subject.run(row[:, :worst]), subject.run(row)[:, :worst])[0] for row in base.split(1)]
    row = max(range(len(alone)), key=lambda index: float(alone[index].max()))
    effect, sink = float(alone[row].max()), int(alone[row].argmax())

    compared = {worst, *list(effects)[:: max(1, len(effects) // SAMPLED)]}

    def again(other: Subject) -> float:
        full = other.run(base)
        return max(float(gap(other.run(base[:, :length]), full[:, :length]).max()) for length in compared)

    # Measured around the pair again: what a model keeps outside itself is not put back, and is no matter of length.
    repeat = max(noise_of(subject), 4 * float(gap(whole, subject.run(base)).max()))
    scale = float(whole.abs().max())
    weighed = weigh(subject, effect, again, same_shape=False, scale=scale, repeat=repeat)
    if weighed.verdict is not Verdict.LEAK:
        why = f"{len(effects)} prefixes agree with the whole sequence to {effect:.1e} (floor {weighed.noise_floor:.1e})"
        return Report(weighed.verdict, why)
    sighting = Sighting(Site(worst, row), Site(sink, row), effect, weighed.noise_floor)
    return Report(Verdict.LEAK, f"cutting the sequence at {worst} moves position {sink} by {effect:.3g}", (sighting,))


def _forwards(settings: Settings) -> int:
    return settings.seq_len + 6


PROBE = Probe(
    "prefix-length",
    "outputs of a prefix with and without what follows",
    order=2,
    run=run,
    forwards=_forwards,
    blind_to="leaks that a prefix shares with the whole: a future token that decides nothing at the lengths tried (it "
    "draws one sequence, not many), state, other rows, training mode, other dtypes.",
)
