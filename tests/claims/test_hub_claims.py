"""The claims on the number of hubs: made-up sweeps for every verdict, and what the judgements say and show."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from audits.claims.claim import ClaimVerdict, Judgement
from audits.claims.figures import Curves, Dots
from audits.claims.hubrouter import _hub_trend, hub_count, orthogonal_m6
from audits.claims.hubrouter._hub_sweep import ORTHOGONAL, PLAIN, sweep
from audits.claims.hubrouter._paper import PRINTED_ALONE
from audits.evidence.experiment import Options
from audits.evidence.ledger import Evidence, Record
from audits.experiments.routing.hub_count import CELLS, NAME, SIZES, runs
from audits.statistics.counts import Counts, discordant

SETTING = {"named": 4, "relevant": 2, "chunk": 16, "length": 96, "d_model": 32, "steps": 250, "penalty": 1.0}


def run(arm: str, hubs: int, seed: int, *, converged: bool, tier: str = "full", diverged: bool = False) -> Record:
    recall = None if diverged else (0.9 if converged else 0.5) + 0.001 * seed + 0.0001 * hubs * (seed % 3)
    result = {
        "recall": recall,
        "converged": converged,
        "diverged": diverged,
        "steps_to_threshold": 200 if converged else None,
    }
    return Record(NAME, {"arm": arm, "hubs": hubs, "tier": tier, **SETTING}, seed, result, {}, 1.0)


def made(counts: Mapping[int, int], rescued: int = 10, tier: str = "full") -> Evidence:
    """The whole design of a tier: `counts` converged by M without the penalty (3 where unnamed), `rescued` at M = 6."""
    records = [
        run(arm, hubs, seed, converged=seed - 100 < (counts.get(hubs, 3) if arm == PLAIN else rescued), tier=tier)
        for arm in (PLAIN, ORTHOGONAL)
        for hubs, seeds in CELLS[tier].seeds(arm).items()
        for seed in seeds
    ]
    return Evidence(tuple(records))


def by(count: Callable[[int], int]) -> dict[int, int]:
    return {hubs: count(hubs) for hubs in CELLS["full"].plain}


FALL = by(lambda m: 5 if m <= 14 else max(0, 5 - (m - 14) // 4))
RISE = by(lambda m: min(5, m // 6))
FLAT = by(lambda m: 4 if m == 10 else 5)


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        (FALL, ClaimVerdict.SUPPORTED),
        (FALL | {12: 3}, ClaimVerdict.INCONCLUSIVE),  # falls, but a cell of the band is not reliable
        (RISE, ClaimVerdict.REFUTED),
        (FLAT, ClaimVerdict.REFUTED),  # no fall where one would be seen
        (by(lambda _: 1), ClaimVerdict.INCONCLUSIVE),  # no fall, but none could be seen either
        (by(lambda _: 5), ClaimVerdict.INCONCLUSIVE),  # too easy: nothing to compare
        (by(lambda _: 0), ClaimVerdict.INCONCLUSIVE),  # too hard
        (by(lambda m: 4 if m < 28 else 3), ClaimVerdict.INCONCLUSIVE),  # falls a little, not significantly
    ],
)
def test_the_trend_over_all_runs_from_eight_hubs_on_decides(counts: dict[int, int], verdict: ClaimVerdict) -> None:
    judgement = hub_count.judge(made(counts))
    assert judgement.verdict is verdict
    assert not judgement.missing
    assert judgement.reason.startswith("SMALL SCALE, OUR OWN TASK")
    assert judgement.minimum_detectable_effect
    assert len(judgement.evidence) == 80
    assert judgement.p is not None


def test_fewer_hubs_than_eight_take_no_part_in_the_trend() -> None:
    assert hub_count.judge(made(FALL | {1: 0, 2: 0, 3: 0, 4: 0})).p == hub_count.judge(made(FALL)).p


def test_a_diverged_run_counts_as_not_converged_and_is_shown() -> None:
    whole = made(FALL)
    lost = [r for r in whole.records if (r.config["arm"], r.config["hubs"], r.seed) == (PLAIN, 20, 100)]
    records = [r for r in whole.records if r not in lost] + [run(PLAIN, 20, 100, converged=False, diverged=True)]
    found = sweep(Evidence(tuple(records)))
    assert found.counts(PLAIN, 20) == Counts(FALL[20] - 1, 5)
    judgement = hub_count.judge(Evidence(tuple(records)))
    assert [row[-1] for row in judgement.tables[0].rows if row[:2] == ("without regularisation", "20")] == ["1"]
    assert sum(column.failed for column in dots(judgement).columns) == 1
    assert "not computable" in judgement.tables[1].rows[0][0]


@pytest.mark.parametrize("claim", [hub_count, orthogonal_m6])
def test_an_unfinished_sweep_is_not_looked_at(claim: Any) -> None:
    whole = made(FALL)
    part = [r for r in whole.records if not (r.config["hubs"] == 6 and r.seed == 104 and r.config["arm"] == PLAIN)]
    for evidence in (Evidence(), Evidence(tuple(part))):
        judgement = claim.judge(evidence)
        assert judgement.missing
        assert judgement.reason.endswith(PRINTED_ALONE)


def test_runs_of_another_setting_do_not_count() -> None:
    old = run(PLAIN, 8, 0, converged=True)
    other = Record(NAME, {**old.config, "steps": 9}, 0, old.result, {}, 1.0)
    assert hub_count.judge(Evidence((other, *made(RISE).records))) == hub_count.judge(made(RISE))
    assert hub_count.judge(Evidence((*made(RISE).records, other))).missing


def test_an_unknown_tier_has_no_design_and_so_no_verdict() -> None:
    records = [replace(record, config={**record.config, "tier": "other"}) for record in made(FALL).records]
    assert hub_count.judge(Evidence(tuple(records))).missing


def test_the_quick_tier_can_never_decide_because_its_six_runs_cannot_be_significant() -> None:
    for low in range(4):
        for high in range(4):
            found = _hub_trend.find(sweep(made({8: low, 20: high}, rescued=3, tier="quick")))
            assert _hub_trend.decide(found) is ClaimVerdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("plain", "rescued", "verdict"),
    [
        (10, 20, ClaimVerdict.SUPPORTED),
        (18, 8, ClaimVerdict.REFUTED),
        (10, 10, ClaimVerdict.REFUTED),  # no gain where a rescue of all would be seen
        (19, 19, ClaimVerdict.INCONCLUSIVE),  # nothing to rescue
        (10, 13, ClaimVerdict.INCONCLUSIVE),  # a gain that is not significant
        (20, 20, ClaimVerdict.INCONCLUSIVE),
        (0, 0, ClaimVerdict.REFUTED),
    ],
)
def test_both_arms_of_six_hubs_decide_the_rescue(plain: int, rescued: int, verdict: ClaimVerdict) -> None:
    judgement = orthogonal_m6.judge(made({6: plain}, rescued))
    assert judgement.verdict is verdict
    assert judgement.reason.startswith("SMALL SCALE, OUR OWN TASK")
    assert f"{rescued}/20 seeds converge with the penalty" in judgement.reason
    assert len(judgement.evidence) == 40
    assert judgement.minimum_detectable_effect


def test_three_seeds_an_arm_can_never_decide_on_the_rescue() -> None:
    for plain in range(4):
        for rescued in range(4):
            rescue = orthogonal_m6.find(sweep(made({6: plain}, rescued, tier="quick")))
            assert orthogonal_m6.decide(rescue) is ClaimVerdict.INCONCLUSIVE


def dots(judgement: Judgement) -> Dots:
    return next(figure for figure in judgement.figures if isinstance(figure, Dots))


def test_figures_show_every_seed_and_every_rate_with_its_interval() -> None:
    judgement = hub_count.judge(made(FALL))
    curves = next(figure for figure in judgement.figures if isinstance(figure, Curves))
    assert [len(series.points) for series in curves.series] == [13, 1]
    point = next(p for p in curves.series[0].points if p.x == 8)
    assert (point.y, point.count) == (1.0, "5/5")
    assert point.low == pytest.approx(0.478, abs=1e-3)
    assert sum(len(column.points) for column in dots(judgement).columns) == 80
    pairs = dots(orthogonal_m6.judge(made(FALL)))
    assert pairs.joined
    assert [len(column.points) for column in pairs.columns] == [20, 20]


def test_tables_are_rectangular_and_the_order_of_records_does_not_matter() -> None:
    evidence = made(FALL)
    for claim in (hub_count, orthogonal_m6):
        judgement = claim.judge(evidence)
        assert claim.judge(Evidence(evidence.records[::-1])) == judgement
        for table in judgement.tables:
            assert {len(row) for row in table.rows} == {len(table.header)}


def test_the_designed_runs_are_the_ones_the_experiment_lists() -> None:
    for tier in SIZES:
        specs = runs(Options(tier=tier))
        failed = run(PLAIN, 1, 0, converged=False).result
        records = [Record(spec.experiment, spec.config, spec.seed, failed, {}, 1.0) for spec in specs]
        assert sweep(Evidence(tuple(records))).complete(PLAIN)
        assert sweep(Evidence(tuple(records))).complete(ORTHOGONAL)


def test_the_stated_fall_would_be_found_by_the_full_design_where_the_band_is_reliable() -> None:
    found = _hub_trend.find(sweep(made(FALL)))
    assert found.grid == (8, 10, 12, 14, 16, 20, 24, 28, 32)
    assert found.power > 0.8
    assert found.test.slope < 0


def test_only_pairs_that_differ_tell_anything() -> None:
    test = discordant([True] * 6 + [True, False], [False] * 6 + [True, False])
    assert (test.gained, test.lost, test.pairs) == (6, 0, 8)
    assert test.p == pytest.approx(2 / 64)
    assert discordant([True, False], [True, False]).p == 1.0
    for bad in (([], []), ([True], [True, False])):
        with pytest.raises(ValueError, match="pairs"):
            discordant(*bad)
