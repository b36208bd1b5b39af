"""Isolation: one row of the batch must not depend on another."""

from __future__ import annotations

from torch import Tensor

from audits.instruments.noise_floor import comparable, decide, max_abs_diff, noise_of, scale_of
from audits.instruments.probe import Probe, Report, Violation, failed_control, not_applicable, undetermined
from audits.results import Site, Verdict
from audits.subject.randomness import generator
from audits.subject.settings import Settings
from audits.subject.subject import Subject

ROWS = 4
DRAWS = 3


def run(subject: Subject) -> Report:
    """Each row replaced in turn while the others stay; then a row alone against the same row in a batch.

    Positive control: the replaced row's own output must change.
    """
    rows = min(ROWS, subject.settings.batch)
    if rows < 2:
        return not_applicable("one row at a time: the batch was set to 1, or the model takes no more")
    base = subject.base(rows)
    before = subject.run(base)
    if not comparable(before):
        return undetermined("the outputs hold NaN or infinite numbers")
    trials = _trials(subject, base)
    differences = {key: max_abs_diff(before, subject.run(changed)) for key, changed in trials.items()}
    if not any(float(difference[row].max()) for (row, _), difference in differences.items()):
        return failed_control("replacing a row changed no output, not even its own")
    (row, draw), worst = max(differences.items(), key=lambda item: float(_others(item[1], item[0][0]).max()))
    found = _judge_replaced(subject, base, trials[row, draw], row, worst)
    return found or _judge_alone(subject, rows)


def _trials(subject: Subject, base: Tensor) -> dict[tuple[int, int], Tensor]:
    """Batches with one row replaced, by row and draw."""
    gen = generator(subject.settings.seed, "isolation")
    trials = {}
    for row in range(len(base)):
        for draw in range(DRAWS):
            changed = base.clone()
            fresh = subject.draw(1, base.shape[1], gen)[0]
            changed[row] = fresh * 10.0**draw if subject.settings.input == "features" else fresh
            trials[row, draw] = changed
    return trials


def _others(differences: Tensor, row: int) -> Tensor:
    """The differences with those of one row set to zero."""
    kept = differences.clone()
    kept[row] = 0
    return kept


def _judge_replaced(subject: Subject, base: Tensor, changed: Tensor, row: int, differences: Tensor) -> Report | None:
    """The report on replacing a row; None where no other row depends on it."""
    effect = float(_others(differences, row).max())

    def measure(other: Subject) -> float:
        return float(_others(max_abs_diff(other.run(base), other.run(changed)), row).max())

    one, two, after = (subject.run(given) for given in (base, changed, base))
    # State outside the model may look like an effect of other rows.
    noise = max(noise_of(subject), 4 * float(max_abs_diff(one, after).max()))
    scale = max(scale_of(one), scale_of(two))
    decision = decide(subject, effect, measure, same_shape=True, scale=scale, noise=noise)
    if decision.verdict is Verdict.PASS:
        return None
    if decision.verdict is Verdict.UNDETERMINED:
        return undetermined(f"another row changed a row by {effect:.1e}, which cannot be distinguished from rounding")
    sink_row, sink = divmod(int(_others(differences, row).argmax()), base.shape[1])
    violation = Violation(Site(None, row), Site(sink, sink_row), effect, decision.noise_floor)
    return Report(Verdict.LEAK, f"replacing row {row} changes row {sink_row} by {effect:.3g}", (violation,))


def _judge_alone(subject: Subject, replaced: int) -> Report:
    """A row's outputs must not depend on how many rows there are: some defects need many."""
    base = subject.base(subject.rows(subject.run(subject.base())))
    before = subject.run(base)

    def measure(other: Subject) -> float:
        return float(max_abs_diff(other.run(base)[:1], other.run(base[:1])).max())

    alone = max_abs_diff(before[:1], subject.run(base[:1]))
    effect = float(alone.max())
    decision = decide(subject, effect, measure, same_shape=False, scale=scale_of(before))
    if decision.verdict is Verdict.LEAK:
        violation = Violation(Site(None, 1), Site(int(alone.argmax()), 0), effect, decision.noise_floor)
        return Report(Verdict.LEAK, f"row 0 differs by {effect:.3g} alone and in a batch of {len(base)}", (violation,))
    why = f"{replaced * DRAWS} replaced rows: no other row changed, and a row alone is the same as in {len(base)} rows"
    return Report(decision.verdict, why)


def _forwards(settings: Settings) -> int:
    return DRAWS * min(ROWS, settings.batch) + 8


PROBE = Probe(
    "isolation",
    "rows that depend on other rows of the batch",
    order=3,
    run=run,
    forwards=_forwards,
    blind_to="everything that happens within a row.",
)
