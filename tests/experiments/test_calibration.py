import numpy as np
import pytest

from audits.claims.claim import ClaimVerdict, expectations
from audits.claims.tool import statistics_power
from audits.claims.tool.statistics_power import CLAIM, Row, judge_rows
from audits.evidence.experiment import TIERS, Options
from audits.evidence.ledger import Evidence, Record
from audits.experiments.calibration import _means as means
from audits.experiments.calibration import _rates as rates
from audits.experiments.calibration import calibration
from audits.experiments.calibration._noise import NOISE
from audits.statistics.counts import Counts
from audits.statistics.crossed import crossed
from audits.statistics.multiplicity import holm
from audits.statistics.permutation import sign_flip, two_sample
from audits.statistics.summary import summarise
from audits.statistics.t_test import equivalence_p, paired, welch
from audits.statistics.trend import Direction, on_grid, tails_over_runs, tails_within_seeds


def quiet(*_args):
    """A progress that nobody looks at."""


@pytest.fixture(scope="module")
def records():
    """The evidence of a calibration with few draws."""

    def record(spec):
        few = {**spec.config, "draws": 200}
        result = calibration.execute(type(spec)(spec.experiment, few, 0), Options(), quiet)
        return Record(spec.experiment, spec.config, spec.seed, result, {}, 1.0)

    return tuple(record(spec) for spec in calibration.runs(Options()))


@pytest.mark.parametrize("n", [3, 5])
def test_the_batches_give_the_p_values_of_the_tests_in_use(n):
    rng = np.random.default_rng(51)
    a, b = rng.normal(0.5, 1, (20, n)), rng.normal(0, 1, (20, n))
    rows = list(zip(a.tolist(), b.tolist(), strict=True))
    assert means.paired_p(a - b) == pytest.approx([paired(x, y).p for x, y in rows])
    assert means.sign_flip_p(a - b) == pytest.approx([sign_flip(gaps).p for gaps in (a - b).tolist()])
    assert means.welch_p(a, b) == pytest.approx([welch(summarise(x), summarise(y)).p for x, y in rows])
    assert means.two_sample_p(a, b) == pytest.approx([two_sample(x, y).p for x, y in rows])
    assert means.paired_tost_p(a - b, 2.0) == pytest.approx([equivalence_p(x, y, 2.0) for x, y in rows])


def test_the_batch_of_crossed_tests_gives_their_p_values():
    values = np.random.default_rng(54).standard_normal((20, 4, 6)) + 0.3
    assert means.crossed_p(values) == pytest.approx([crossed(rows).p for rows in values.tolist()])


def test_the_batch_of_holm_rejects_what_holm_rejects():
    p = np.random.default_rng(52).uniform(0, 0.1, (6, 50))
    assert means._holm_rejects(p).T.tolist() == [[test.rejected for test in holm(column)] for column in p.T.tolist()]


def test_the_batches_of_trends_give_the_p_values_of_the_trend_tests():
    rng = np.random.default_rng(53)
    outcomes = rng.random((15, 5, 8)) < 0.7
    hits = outcomes.sum(axis=1)
    for doses in (rates.HUBS, rates.LOG_HUBS):
        grid = on_grid(doses)
        tails = [tails_over_runs(grid, (5,) * 8, sum(row), Direction.FALLING) for row in hits.tolist()]
        known = [found.p[np.dot(grid, row)] for found, row in zip(tails, hits, strict=True)]
        assert rates.trend_p_over_runs(doses, hits, Direction.FALLING) == pytest.approx(known)
    grid = on_grid(rates.HUBS)
    tails = [tails_within_seeds(grid, tuple(sorted(sweep.sum(1).tolist())), Direction.EITHER) for sweep in outcomes]
    known = [found.p[np.dot(grid, row)] for found, row in zip(tails, hits, strict=True)]
    assert rates.trend_p_within_seeds(rates.HUBS, outcomes) == pytest.approx(known)


@pytest.mark.parametrize("name", NOISE)
def test_every_noise_has_mean_zero_and_unit_spread(name):
    drawn = NOISE[name](np.random.default_rng(54), (1_000_000,))
    assert drawn.mean() == pytest.approx(0.0, abs=0.02)
    assert drawn.std() == pytest.approx(1.0, abs=0.2)  # of the heavy tails and the skew the estimate converges slowly


def test_every_tier_has_one_run_a_procedure_with_rows_that_differ():
    for tier in TIERS:
        names = [spec.config["procedure"] for spec in calibration.runs(Options(tier))]
        assert len(names) == len(set(names)) > 10
    rows = [(case.procedure, case.n, case.setting) for case in calibration.all_cases()]
    assert len(rows) == len(set(rows))


def test_a_run_repeats_itself_and_counts_every_draw():
    spec = next(spec for spec in calibration.runs(Options()) if spec.config["procedure"] == "paired t")
    few = type(spec)(spec.experiment, {**spec.config, "draws": 1500}, 0)
    first = calibration.execute(few, Options(), quiet)
    assert first == calibration.execute(few, Options(), quiet)
    assert {row["draws"] for row in first["rows"]} == {1500}
    assert first["rows"][0]["rejected"] > 30


def test_few_draws_leave_the_claim_open_and_show_every_row(records):
    judged = CLAIM.judge(Evidence(records))
    assert judged.verdict is ClaimVerdict.INCONCLUSIVE
    assert judged.minimum_detectable_effect
    assert sum(len(table.rows) for table in judged.tables) == len(calibration.all_cases())
    assert all(len(row) == len(table.header) for table in judged.tables for row in table.rows)
    assert {series.style for figure in judged.figures for series in figure.series} >= {"causal", "leaky", "control"}


def test_a_missing_procedure_is_no_evidence(records):
    assert CLAIM.judge(Evidence(records[1:])).missing
    assert CLAIM.judge(Evidence()).missing


def row(rejected, trap="", n=3):
    return Row("paired t", n, "normal noise", trap, "2 SD", Counts(rejected, 4000), Counts(500, 1000))


def test_a_test_in_use_above_its_level_refutes_and_is_named():
    judged = judge_rows((row(200), row(320, n=5)), ("run",))
    assert judged.verdict is ClaimVerdict.REFUTED
    assert "n = 5" in judged.details
    assert "n = 3" not in judged.details


def test_a_trap_above_its_level_refutes_nothing_and_says_why_it_is_not_used():
    judged = judge_rows((row(200), row(1000, trap="picked by the data", n=5)), ("run",))
    assert judged.verdict is ClaimVerdict.SUPPORTED
    assert judged.tables[1].rows[0][-1] == "picked by the data"


def test_a_rate_above_the_level_by_less_than_a_fifth_is_named_in_the_support():
    counted = Row("Welch's t", 3, "SDs 1 and 3", "", "", Counts(2240, 40_000), None)
    judged = judge_rows((counted,), ("run",))
    assert judged.verdict is ClaimVerdict.SUPPORTED
    assert "Detectably above" in judged.details


def test_the_claim_is_reviewed_and_reads_the_calibration():
    assert expectations()[CLAIM.id].by_tier["quick"] is ClaimVerdict.SUPPORTED
    assert CLAIM.needs == (calibration.EXPERIMENT.name,)
    assert statistics_power.REFUTING < statistics_power.SUFFICIENT
