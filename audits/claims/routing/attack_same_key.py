"""Attack on the companion paper: what its distractors carry decides how well raw embeddings do."""

from collections.abc import Sequence

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind
from audits.claims.routing._figures import precision_dots
from audits.claims.routing._runs import Cell, at_chance, cells_table, decide, judge_cells, open_effect, runs_of, scale
from audits.experiments.routing._plan import NAME, SEEDS
from audits.experiments.routing._task import FAR, PLAIN

ROWS = ("raw", "bloom filter")


def rule(cells: Sequence[Cell]) -> Judgement:
    """Raw embeddings in both versions; exact matching is shown for comparison."""
    far, plain, *_ = cells
    checks = [at_chance(far), at_chance(plain)]
    held = [check.holds for check in checks]
    verdict = decide([None if None in held else any(held)])
    effect, needed = open_effect(checks)
    return Judgement(
        verdict,
        f"{'. '.join(check.text for check in checks)}. With distractors that carry the query's key, content finds "
        f"{far.seeds[0].config['distractors'] + 1} like tokens and can do no better than pick among them; with other "
        f"distractors it finds the answer alone. 1.2 % is possible in neither version ({scale(cells)}).",
        "A generator in which the answer does not repeat the query's token, or a router that is not trained.",
        minimum_detectable_effect=effect,
        seeds_needed=needed if verdict is ClaimVerdict.INCONCLUSIVE else None,
        evidence=runs_of(cells),
        tables=(cells_table(cells),),
        figures=(precision_dots("Content alone, with and without same-key distractors", cells, tasks=True),),
    )


CLAIM = Claim(
    id="attack-routing-same-key",
    statement="Raw embeddings route at 1.2 % although the answer repeats the query's token.",
    source="our attack on arXiv:2603.20997, which does not say what its distractors carry",
    kind=Kind.ATTACK,
    test=f"Raw embeddings with distractors that carry the query's key, and with others, at least {SEEDS} "
    "seeds and three learning rates: REFUTED if normalised precision is above 0.1 in both versions. A Bloom filter, "
    "which matches exactly and learns nothing, is shown for comparison.",
    refuted_by="Intervals above chance in both versions.",
    judge=judge_cells([("raw", FAR), ("raw", PLAIN), ("bloom filter", FAR), ("bloom filter", PLAIN)], rule),
    published={"raw embeddings": "1.2 %"},
    needs=(NAME,),
)
