"""Wealth: 1 on average whatever is bet on fair dice, never below a floor, and large only for a predictor that sees."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from audits.betting.eprocess import FollowTheLeader
from audits.betting.wealth import FRACTIONS, RESERVE, Wealth, certifies, log_factors
from audits.experiments.auditor.betting_study import coin_tests
from audits.statistics.counts import Counts, rate_interval

BET_FRACTIONS = torch.tensor(FRACTIONS, dtype=torch.float64)
RUIN = -math.inf


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def every_sequence(symbols: int, rounds: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(symbols), repeat=rounds)))


def mean_wealth(symbols: int, rounds: int, deviation: float, *, sees: bool) -> list[float]:
    """The mean over all sequences, which are equally likely, of the wealth after each round.

    The predictor answers every history with a distribution of its own, or one that knows the symbol to come.
    """
    sequences = every_sequence(symbols, rounds)
    wealth, means = Wealth.start((len(sequences),)), []
    for t in range(rounds):
        history = (sequences[:, :t] * symbols ** torch.arange(t)).sum(1)
        logits = deviation * drawn(symbols**t, symbols, seed=t)[history]
        if sees:
            logits = logits + torch.nn.functional.one_hot(sequences[:, t], symbols)
        log_p = logits.log_softmax(-1).gather(-1, sequences[:, t : t + 1])[:, 0]
        wealth = wealth.after(log_factors(log_p, symbols, BET_FRACTIONS))
        means.append(float(wealth.log.exp().mean()))
    return means


@pytest.mark.parametrize("deviation", [0.1, 1.0, 20.0])
@pytest.mark.parametrize(("symbols", "rounds"), [(2, 8), (3, 5)])
def test_the_mean_wealth_over_all_sequences_is_exactly_1_after_every_round(symbols, rounds, deviation):
    assert mean_wealth(symbols, rounds, deviation, sees=False) == pytest.approx([1.0] * rounds, abs=1e-12)


def test_a_predictor_that_sees_the_symbol_makes_the_mean_grow():
    means = mean_wealth(2, 8, 0.1, sees=True)
    assert means == sorted(means)
    assert means[-1] > 1.05


@pytest.mark.parametrize("deviation", [0.05, 1.0, 10.0])
def test_simulated_tests_end_in_a_proof_no_more_often_than_alpha(deviation):
    largest = coin_tests(deviation, tests=4000, rounds=40, bets=4)
    for alpha in (0.5, 0.1, 0.02):
        proofs = sum(certifies(log, alpha) for log in largest.tolist())
        assert rate_interval(Counts(proofs, len(largest))).low <= alpha


def test_slightly_loaded_dice_end_in_a_proof_more_often_than_alpha():
    gen, wealth = torch.Generator().manual_seed(0), Wealth.start((1000,))
    for _ in range(40):
        heads = torch.rand(1000, 4, generator=gen) < 0.65
        log_p = torch.where(heads, math.log(0.65), math.log(0.35))
        wealth = wealth.after(log_factors(log_p, 2, BET_FRACTIONS).sum(1))
    proofs = sum(certifies(log, 0.02) for log in wealth.log.tolist())
    assert rate_interval(Counts(proofs, 1000)).low > 0.02


def test_wealth_never_falls_below_the_reserve_however_bad_the_bets():
    wealth = Wealth.start()
    for _ in range(300):
        wealth = wealth.after(torch.full((len(FRACTIONS),), RUIN))
        assert math.log(RESERVE) <= float(wealth.log) <= 0.0


def test_wealth_released_later_gains_from_a_predictor_that_was_ruinous_at_first():
    bad, good = log_factors(torch.tensor([math.log(1e-9), 0.0]), 2, BET_FRACTIONS) * 100
    wealth = Wealth.start()
    for _ in range(50):
        wealth = wealth.after(bad)
    assert float(wealth.log) < -1.0
    assert certifies(float(wealth.after(good).log), 1e-9)
    never_restarted = Wealth(50, 50 * bad + math.log((1 - RESERVE) / len(FRACTIONS)))
    assert float(never_restarted.invested[-1] + good[-1]) < -1000


def test_independent_runs_are_counted_apart():
    gains = drawn(3, len(FRACTIONS))
    together = Wealth.start((3,)).after(gains).after(gains).log
    apart = [float(Wealth.start().after(row).after(row).log) for row in gains]
    assert together.tolist() == pytest.approx(apart)


@pytest.mark.parametrize("gain", [math.nan, math.inf])
def test_a_gain_that_is_no_number_of_nats_is_refused(gain):
    with pytest.raises(ValueError, match="not a finite number"):
        Wealth.start().after(torch.full((len(FRACTIONS),), gain))


def test_a_prediction_that_is_not_a_number_neither_wins_nor_loses():
    assert log_factors(torch.tensor(math.nan), 4, BET_FRACTIONS).tolist() == [0.0] * len(FRACTIONS)


def test_infinite_logits_cannot_win_on_average():
    logits = torch.tensor([math.inf, 0.0, 1.0], dtype=torch.float64)
    factors = log_factors(logits.log_softmax(-1), 3, BET_FRACTIONS).exp()
    assert bool((factors.mean(0) <= 1).all())


def test_the_mean_factor_of_every_fraction_over_the_symbols_is_exactly_1():
    log_p = (5 * drawn(100, 7)).log_softmax(-1)
    assert torch.allclose(
        log_factors(log_p, 7, BET_FRACTIONS).exp().mean(1), torch.ones(100, len(FRACTIONS)).double(), atol=1e-13
    )


def coin_gains(flips: Tensor, seed: int) -> Tensor:
    """Log factors [B, P, L] of fixed predictions for coins [B, P]."""
    signs = flips * 2 - 1
    return log_factors(torch.nn.functional.logsigmoid(2 * drawn(*flips.shape, seed=seed) * signs), 2, BET_FRACTIONS)


def test_the_leader_is_chosen_before_the_batch_so_its_mean_gain_is_exactly_1():
    shape, flips = (2, 3), every_sequence(2, 6).view(-1, 2, 3)
    for first in flips[::7]:
        leader = FollowTheLeader().after(coin_gains(first.view(shape), seed=1))
        factors = [math.exp(leader.log_gain(coin_gains(flip, seed=2))) for flip in flips]
        assert sum(factors) / len(factors) == pytest.approx(1.0, abs=1e-12)


def test_the_leader_bets_where_it_gained_and_nothing_elsewhere():
    gains = torch.zeros(4, 3, len(FRACTIONS), dtype=torch.float64)
    gains[:, 1], gains[:, 2] = 0.2, -0.2
    leader = FollowTheLeader().after(gains)
    assert FollowTheLeader().log_gain(gains) == 0
    assert float(leader.log_gain(gains)) == pytest.approx(4 * 0.2)


@pytest.mark.parametrize(("log_wealth", "proof"), [(math.log(1000) + 1e-9, True), (math.log(999), False)])
def test_a_certificate_takes_a_wealth_of_1_over_alpha(log_wealth, proof):
    assert certifies(log_wealth, 1e-3) is proof
