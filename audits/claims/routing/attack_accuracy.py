"""Attack on the companion paper: reading the answer is not yet predicting it."""

import math
from collections.abc import Sequence

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind
from audits.claims.figures import DotColumn, DotPoint, Dots, Reference
from audits.claims.routing._runs import Cell, below, cells_table, judge_cells, routes, runs_of, scale
from audits.experiments.routing._plan import NAME, SEEDS, TRAINED_OUT
from audits.experiments.routing._task import FAR, SMALL, TASKS
from audits.formatting import percent
from audits.statistics.mean import Mean, mean_of_runs

GAP = 0.1  # of all questions: what counts as the same (our choice)
RISE = 0.05  # of accuracy, by twice the training: below it a head counts as trained out (our choice)
SHOWN = ("attention", "attention-causal", "flow", "perceiver, M = 16")


def gap(cell: Cell) -> Mean:
    """Precision less accuracy, both shares of the same questions."""
    read, right = cell.average("precision"), cell.average("accuracy")
    asked = int(cell.seeds[0].config["held_out"])
    error = math.sqrt((read * (1 - read) + right * (1 - right)) / asked)
    return mean_of_runs([r.result["precision"] - r.result["accuracy"] for r in cell.seeds], error)


def rise(shorter: Cell, longer: Cell) -> Mean:
    """What the accuracy of one head gains by longer training, paired by seed."""
    pairs = zip(longer.seeds, shorter.seeds, strict=True)
    return mean_of_runs([float(long.result["accuracy"] - short.result["accuracy"]) for long, short in pairs])


def rule(cells: Sequence[Cell]) -> Judgement:
    """By the layer whose head is trained longest; others are shown."""
    shorter, longest, *others = cells
    found, gained = gap(longest), rise(shorter, longest)
    verdict, reason = _verdict(longest, found, gained)
    return Judgement(
        verdict,
        reason,
        "A head that goes on learning after accuracy has stopped rising here, or a task with fewer values.",
        minimum_detectable_effect=f"{found.half_width:.2f} of all questions ({SEEDS} seeds, 95 %)",
        ours=f"{percent(found.mean)} read and missed ({found.n} seeds)",
        seeds_needed=found.runs_to_resolve(abs(found.mean - GAP)) if verdict is ClaimVerdict.INCONCLUSIVE else None,
        details=f"Precision less accuracy: {_text(found)}; accuracy gained by training {longest.times} instead of "
        f"{shorter.times} times as long as usual: {_text(gained)}. The paper prints 99.5 % with an accuracy of 32.2, "
        f"and 98.4 with 74.5 ({scale([longest])}).",
        evidence=runs_of(cells),
        tables=(cells_table(cells),),
        figures=(_figure([longest, *others]),),
    )


def _verdict(cell: Cell, found: Mean, gained: Mean) -> tuple[ClaimVerdict, str]:
    read, right = (f"{100 * cell.average(key):.0f} %" for key in ("precision", "accuracy"))
    if not routes(cell).holds:
        return (
            ClaimVerdict.INCONCLUSIVE,
            f"Not shown: the layer whose head is trained out reads only {read} of the answers.",
        )
    if found.interval.high <= GAP:
        return ClaimVerdict.REFUTED, f"With its head trained out one attention layer predicts {right} and reads {read}."
    if found.interval.low > GAP and below(gained, RISE):
        return ClaimVerdict.SUPPORTED, f"One attention layer reads {read} and predicts {right}, and no longer improves."
    return (
        ClaimVerdict.INCONCLUSIVE,
        f"One attention layer reads {read} and predicts {right}; twice the training added {100 * gained.mean:.0f} "
        "points.",
    )


def _text(found: Mean) -> str:
    return f"{found.mean:+.3f} (95 % interval {found.interval.low:+.3f} to {found.interval.high:+.3f})"


def _figure(cells: Sequence[Cell]) -> Dots:
    columns = [
        DotColumn(f"{cell.name}: {key}", style, tuple(DotPoint(r.seed, float(r.result[key])) for r in cell.seeds))
        for cell in cells
        for key, style in (("precision", "other"), ("accuracy", "control"))
    ]
    values = TASKS[str(cells[0].seeds[0].config["tier"])][SMALL].vocab_size - 1
    references = (Reference(f"accuracy by chance of {values} values", 1 / values),)
    title = "What is read and what is predicted"
    return Dots(title, "share of questions", tuple(columns), joined=False, references=references)


CLAIM = Claim(
    id="attack-routing-accuracy",
    statement="Routing precision is no proxy for accuracy: answers that are read are missed.",
    source="our attack on arXiv:2603.20997, which argues by precision and prints accuracy in brackets",
    kind=Kind.ATTACK,
    test=f"One attention layer on 32 token values, trained {TRAINED_OUT[1]} times as long as usual, {SEEDS} seeds: "
    f"precision less accuracy on the same questions, 95 % interval. SUPPORTED if it lies above {GAP} and accuracy "
    f"gained at most {RISE} since {TRAINED_OUT[0]} times; REFUTED if it lies up to {GAP}.",
    refuted_by="A head that, trained long enough, predicts what the router reads.",
    judge=judge_cells(
        [*(("attention", SMALL, times) for times in TRAINED_OUT), *((name, FAR, 1) for name in SHOWN)], rule
    ),
    published={"bidirectional Mamba": "99.5 % (accuracy 32.2 %)", "attention": "98.4 % (accuracy 74.5 %)"},
    needs=(NAME,),
)
