"""Isolation: one row of the batch must not feel another."""

from __future__ import annotations

from torch import Tensor

from audits.instruments.differences import scale_of
from audits.instruments.noise_floor import gap, noise_of, readable, weigh
from audits.instruments.probe import Probe, Report, Sighting, not_applicable, undetermined, unmoved
from audits.results import Site, Verdict
from audits.subject.randomness import generator
from audits.subject.settings import Settings
from audits.subject.subject import Subject

ROWS = 4
DRAWS = 3


def run(subject: Subject) -> Report:
    """Each row replaced in turn while the others stay; then a row alone against the same row in company.

    Positive control: the replaced row's own output must move.
    """
    rows = min(ROWS, subject.settings.batch)
    if rows < 2:
        return not_applicable("one row at a time: the batch was set to 1, or the model takes no more")
    base = subject.base(rows)
    before = subject.run(base)
    if not readable(before):
        return undetermined("the outputs hold NaN or infinite numbers")
    trials = _trials(subject, base)
    gaps = {row_draw: gap(before, subject.run(changed)) for row_draw, changed in trials.items()}
    if not any(float(g[row].max()) for (row, _), g in gaps.items()):
        return unmoved("replacing a row moved nothing, not even itself")
    (row, draw), worst = max(gaps.items(), key=lambda item: float(_others(item[1], item[0][0]).max()))
    found = _judge_company(subject, base, trials[row, draw], row, worst)
    return found or _judge_alone(subject, rows)


def _trials(subject: Subject, base: Tensor) -> dict[tuple[int, int], Tensor]:
    gen = generator(subject.settings.seed, "isolation")
    trials = {}
    for row in range(len(base)):
        for draw in range(DRAWS):
            changed = base.clone()
            fresh = subject.draw(1, base.shape[1], gen)[0]
            changed[row] = fresh * 10.0**draw if subject.settings.input == "features" else fresh
            trials[row, draw] = changed
    return trials


def _others(gaps: Tensor, row: int) -> Tensor:
    """The gaps of all rows but one; that one set to zero."""
    kept = gaps.clone()
    kept[row] = 0
    return kept


def _judge_company(subject: Subject, base: Tensor, changed: Tensor, row: int, gaps: Tensor) -> Report | None:
    effect = float(_others(gaps, row).max())

    def again(other: Subject) -> float:
        return float(_others(gap(other.run(base), other.run(changed)), row).max())

    one, two, after = (subject.run(given) for given in (base, changed, base))
    repeat = max(noise_of(subject), 4 * float(gap(one, after).max()))  # state outside the model may look like company
    weighed = weigh(subject, effect, again, same_shape=True, scale=max(scale_of(one), scale_of(two)), repeat=repeat)
    if weighed.verdict is Verdict.PASS:
        return None
    if weighed.verdict is Verdict.UNDETERMINED:
        return undetermined(f"another row moved a row by {effect:.1e}, which cannot be told from rounding here")
    sink_row, sink = divmod(int(_others(gaps, row).argmax()), base.shape[1])
    sighting = Sighting(Site(None, row), Site(sink, sink_row), effect, weighed.noise_floor)
    return Report(Verdict.LEAK, f"replacing row {row} moves row {sink_row} by {effect:.3g}", (sighting,))


def _judge_alone(subject: Subject, replaced: int) -> Report:
    """A row's outputs must not depend on how many rows there are: some defects need a crowd."""
    base = subject.base(subject.rows(subject.run(subject.base())))
    before = subject.run(base)

    def again(other: Subject) -> float:
        return float(gap(other.run(base)[:1], other.run(base[:1])).max())

    alone = gap(before[:1], subject.run(base[:1]))
    effect = float(alone.max())
    weighed = weigh(subject, effect, again, same_shape=False, scale=scale_of(before))
    if weighed.verdict is Verdict.LEAK:
        sighting = Sighting(Site(None, 1), Site(int(alone.argmax()), 0), effect, weighed.noise_floor)
        return Report(Verdict.LEAK, f"row 0 differs by {effect:.3g} alone and in a batch of {len(base)}", (sighting,))
    why = f"{replaced * DRAWS} replaced rows: no other row moved, and a row alone is the same as among {len(base)}"
    return Report(weighed.verdict, why)


def _forwards(settings: Settings) -> int:
    return DRAWS * min(ROWS, settings.batch) + 8


PROBE = Probe(
    "isolation",
    "rows that feel other rows of the batch",
    order=3,
    run=run,
    forwards=_forwards,
    blind_to="everything that happens within a row.",
)
