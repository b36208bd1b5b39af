"""The claims on the number of hubs: made-up surfaces for every verdict, and what the judgements say and show."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from audits.claims.claim import ClaimVerdict, Scope
from audits.claims.hubrouter import _hub_trend, hub_count, orthogonal_m6
from audits.claims.hubrouter._hub_sweep import ORTHOGONAL, PLAIN, Sweep, sweep
from audits.claims.hubrouter._hub_trend import trend
from audits.claims.hubrouter._paper import PRINTED_ALONE
from audits.evidence.experiment import Options
from audits.evidence.ledger import Evidence, Record
from audits.experiments.routing.hub_count import CELLS, NAME, RATES, SIZES, runs
from audits.statistics.counts import Counts

Onset = Callable[[str, int, float, int], int]  # arm, hubs, rate, seed -> the first step at which it has converged


def record(config: dict[str, Any], seed: int, onset: int, ends: int | None = None) -> Record:
    """A run that converges at a step and stays so; the curve ends early where it diverged."""
    steps = range(0, (ends or config["steps"]) + 1, config["every"])
    return Record(NAME, config, seed, {"curve": [[s, 0.9 if s >= onset else 0.3] for s in steps]}, {}, 1.0)


def made(onset: Onset, tier: str = "full") -> Evidence:
    """The whole design of a tier."""
    specs = runs(Options(tier))
    return Evidence(
        tuple(
            record(s.config, s.seed, onset(s.config["arm"], s.config["hubs"], s.config["lr"], s.seed - 100))
            for s in specs
        )
    )


def jitter(seed: int) -> int:
    """Seeds converge at different steps."""
    return 25 * (seed % 3)


def falls(arm: str, hubs: int, lr: float, seed: int) -> int:
    """The band converges early, and more hubs ever later."""
    return 150 + jitter(seed) + 25 * max(0, hubs - 14)


def equal(arm: str, hubs: int, lr: float, seed: int) -> int:
    """No difference between any of them."""
    return 200


def late_beyond(arm: str, hubs: int, lr: float, seed: int) -> int:
    """Cells differ, without a trend from 8 to 32; one run beyond the band never converges."""
    return 999 if (hubs, seed) == (24, 3) else 200 + 25 * (hubs in (10, 28))


@pytest.mark.parametrize(
    ("onset", "verdict"),
    [
        (falls, ClaimVerdict.SUPPORTED),
        (lambda *cell: 999 if cell[1:] in [(10, lr, s) for lr in RATES["full"] for s in (0, 1)] else falls(*cell),
         ClaimVerdict.INCONCLUSIVE),  # falls, but a cell of the band has 3 of 5 everywhere
        (equal, ClaimVerdict.REFUTED),  # 20 of 20 wherever the band is as printed
        (late_beyond, ClaimVerdict.INCONCLUSIVE),  # 19 of 20 do not show .8
        (lambda *cell: 999, ClaimVerdict.INCONCLUSIVE),  # nothing converges: the band is nowhere as printed
        (lambda arm, hubs, lr, seed: 400 - 10 * hubs, ClaimVerdict.REFUTED),  # rises
    ],
)  # fmt: skip
def test_the_trend_on_the_surface_and_the_band_decide(onset: Onset, verdict: ClaimVerdict) -> None:
    judgement = hub_count.judge(made(onset))
    assert judgement.verdict is verdict
    assert not judgement.missing
    assert "our own task" in judgement.reason
    assert (judgement.minimum_detectable_effect is not None) == (verdict is ClaimVerdict.INCONCLUSIVE)
    assert len(judgement.evidence) == 320
    assert judgement.scope is Scope.OURS
    assert judgement.p is not None


def test_what_holds_at_one_operating_point_alone_does_not_refute() -> None:
    """Beyond the band all have converged at the largest rate, and none ever at the others."""

    def onset(arm: str, hubs: int, lr: float, seed: int) -> int:
        return 999 if hubs >= 20 and lr < 1e-2 and seed == 0 else 200

    found = _hub_trend.find(sweep(made(onset)))
    assert {p.beyond for p in found.printed if p.lr == 1e-2} == {Counts(20, 20)}
    assert {p.beyond for p in found.printed if p.lr < 1e-2} == {Counts(16, 20)}
    assert _hub_trend.decide(found) is not ClaimVerdict.REFUTED


def test_fewer_hubs_than_eight_take_no_part() -> None:
    other = made(lambda arm, hubs, lr, seed: 999 if hubs < 8 else falls(arm, hubs, lr, seed))
    assert hub_count.judge(other).p == hub_count.judge(made(falls)).p


def test_the_trend_permutes_within_seeds_and_its_p_is_twice_the_smaller_tail() -> None:
    grid, rows = (8, 14, 20), np.array([[0.9, 0.8, 0.2], [0.5, 0.6, 0.4], [0.7, 0.3, 0.1]])
    weights = np.array([-6.0, 0.0, 6.0]) / 72
    slopes = [np.mean(orders, axis=0) @ weights for orders in product(*(permutations(row) for row in rows))]
    found = trend(grid, rows)
    assert found.slope == pytest.approx(rows.mean(0) @ weights)
    assert found.within_seeds == pytest.approx(2 * np.mean(np.array(slopes) <= found.slope + 1e-12))
    assert found.over_cells == pytest.approx(2 / 6)
    assert found.sd == pytest.approx(np.std(slopes))


def test_where_nothing_differs_there_is_no_trend() -> None:
    found = trend((8, 10, 12, 14, 32), np.full((5, 5), 0.7) + 0.1 * np.arange(5)[:, None])
    assert (found.slope, found.p) == (0.0, 1.0)


def test_cells_that_differ_without_a_trend_do_not_make_one() -> None:
    """M = 8 alone is late in every seed, and with few cells their order decides nothing."""
    rows = np.tile(np.array([0.2, 0.8, 0.8]), (5, 1)) + 0.01 * np.arange(5)[:, None]
    found = trend((8, 20, 32), rows)
    assert found.within_seeds < 0.05
    assert found.p > 0.3


def test_a_run_that_diverged_has_converged_at_no_later_budget() -> None:
    config = next(s.config for s in runs(Options("full")))
    found = sweep(Evidence((record(config, 100, onset=100, ends=200),)))
    (routed,) = found.routed
    assert [steps for steps in found.budgets if routed.converged(steps)] == [100, 125, 150, 175, 200]
    assert found.shares(PLAIN, config["hubs"], config["lr"]) == {100: 5 / 20}


@pytest.mark.parametrize("claim", [hub_count, orthogonal_m6])
def test_an_unfinished_sweep_is_not_looked_at(claim: Any) -> None:
    whole = made(falls).records
    part = [r for r in whole if (r.config["hubs"], r.config["arm"], r.config["lr"], r.seed) != (8, PLAIN, 4e-3, 104)]
    for evidence in (Evidence(), Evidence(tuple(part))):
        judgement = claim.judge(evidence)
        assert judgement.missing
        assert judgement.details.endswith(PRINTED_ALONE)


def test_runs_of_another_setting_do_not_count() -> None:
    first = made(falls).records[0]
    other = Record(NAME, {**first.config, "batch": 9}, 100, first.result, {}, 1.0)
    assert hub_count.judge(Evidence((other, *made(falls).records))) == hub_count.judge(made(falls))
    assert hub_count.judge(Evidence((*made(falls).records, other))).missing


@pytest.mark.parametrize("claim", [hub_count, orthogonal_m6])
@pytest.mark.parametrize("apart", [999, -150])
def test_the_quick_tier_can_never_decide(claim: Any, apart: int) -> None:
    def onset(arm: str, hubs: int, lr: float, seed: int) -> int:
        return 150 + (apart if hubs > 14 or arm == ORTHOGONAL else 0)

    judgement = claim.judge(made(onset, "quick"))
    assert (judgement.verdict, judgement.missing) == (ClaimVerdict.INCONCLUSIVE, False)


def rescue(plain: int, treated: int, band: int) -> Onset:
    """The step at which M = 6 converges without and with the penalty, and the band."""

    def onset(arm: str, hubs: int, lr: float, seed: int) -> int:
        return jitter(seed) + (treated if arm == ORTHOGONAL else plain if hubs == 6 else band)

    return onset


def half(arm: str, hubs: int, lr: float, seed: int) -> int:
    """As often earlier with the penalty as later; the band as the others."""
    return 250 + jitter(seed) + (25 * (-1) ** (seed % 2) if arm == ORTHOGONAL else 0)


@pytest.mark.parametrize(
    ("onset", "verdict"),
    [
        (rescue(400, 150, 150), ClaimVerdict.SUPPORTED),
        (rescue(400, 300, 150), ClaimVerdict.INCONCLUSIVE),  # it helps, but does not reach the band
        (rescue(400, 400, 150), ClaimVerdict.REFUTED),  # no gain, and behind the band
        (rescue(150, 400, 150), ClaimVerdict.REFUTED),  # it harms
        (rescue(150, 150, 150), ClaimVerdict.INCONCLUSIVE),  # nothing to rescue
        (half, ClaimVerdict.INCONCLUSIVE),
    ],
)
def test_both_arms_of_six_hubs_and_the_band_decide_the_rescue(onset: Onset, verdict: ClaimVerdict) -> None:
    judgement = orthogonal_m6.judge(made(onset))
    assert judgement.verdict is verdict
    assert "our own task" in judgement.reason
    assert judgement.scope is Scope.OURS
    assert len(judgement.evidence) == 4 * (20 + 20 + 4 * 5)
    assert (judgement.minimum_detectable_effect is not None) == (verdict is ClaimVerdict.INCONCLUSIVE)


def test_tables_show_the_whole_surface_and_the_order_of_records_does_not_matter() -> None:
    evidence = made(falls)
    for claim in (hub_count, orthogonal_m6):
        judgement = claim.judge(evidence)
        assert claim.judge(Evidence(evidence.records[::-1])) == judgement
        for table in judgement.tables:
            assert {len(row) for row in table.rows} == {len(table.header)}
    by_rate, *surface = hub_count.judge(evidence).tables[:5]
    assert [row[0] for row in by_rate.rows] == ["0.002", "0.004", "0.006", "0.01"]
    assert [len(table.rows) for table in surface] == [13] * 4
    assert surface[0].header[2:5] == ("25", "50", "75")
    assert surface[0].rows[4][:2] == ("8", "5")
    assert surface[0].rows[4][2:11] == ("0", "0", "0", "0", "0", "2", "4", "5", "5")


def test_figures_show_each_rate_over_hubs_and_over_steps() -> None:
    figures = hub_count.judge(made(falls)).figures
    assert [len(figure.series) for figure in figures] == [5] * 4
    assert [series.label for series in figures[0].series] == [f"{n} steps" for n in (100, 200, 300, 400, 500)]
    assert [p.y for p in figures[0].series[1].points if p.x == 14] == [1.0]
    arms = orthogonal_m6.judge(made(falls)).figures
    assert [len(series.points) for series in arms[0].series] == [20, 20]


def test_the_designed_runs_are_the_ones_the_experiment_lists() -> None:
    for tier in SIZES:
        found: Sweep = sweep(made(equal, tier))
        assert found.complete(PLAIN)
        assert found.complete(ORTHOGONAL)
        assert found.hubs(PLAIN) == tuple(sorted(CELLS[tier].plain))
        assert found.rates == RATES[tier]
