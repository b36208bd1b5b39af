"""How often betting is wrong on causal models, and what it proves: the tables of `docs/betting.md`.

`python -m audits.experiments.auditor._betting_study {dice|models|twins|narrow|power}` prints one of them as Markdown.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from audits.betting.bettor import bettor
from audits.betting.game import bet, play
from audits.betting.result import BetResult
from audits.betting.stakes import Stakes
from audits.betting.table import Table
from audits.betting.wealth import SHARES, Wealth, log_factors
from audits.experiments.auditor._betting_study_seeds import HEADER, power_row
from audits.leaks._control import Twin
from audits.leaks._corpus import all_twins
from audits.statistics import Counts, rate_interval
from audits.subject.randomness import generator
from audits.subject.subject import Model, Settings

LEVELS = (0.5, 0.2, 0.1, 0.05, 0.01, 0.001)
COLUMNS = ("class", "proven after", "stolen, bits a token", "clean twin, largest e-value")


def dice(deviation: float, runs: int, rounds: int, bets: int, seed: int = 0) -> Tensor:
    """The largest log wealth in each of many games on fair coins, [runs], in nats.

    Args:
        deviation: standard deviation of the predictor's log odds, drawn anew for every bet: how rash it is.
        runs: independent games.
        rounds: steps in a game.
        bets: coins in a step.
        seed: of predictions and coins.
    """
    gen, shares = generator(seed, "dice", deviation), torch.tensor(SHARES, dtype=torch.float64)
    wealth, largest = Wealth.start((runs,)), torch.zeros(runs, dtype=torch.float64)
    for _ in range(rounds):
        odds = deviation * torch.randn(runs, bets, generator=gen, dtype=torch.float64)
        heads = torch.randint(2, (runs, bets), generator=gen) * 2 - 1
        wealth = wealth.after(log_factors(nn.functional.logsigmoid(odds * heads), 2, shares).sum(1))
        largest = largest.maximum(wealth.log)
    return largest


class Memory(nn.Module):
    """A causal model small enough for hundreds of games: a decaying sum of embeddings, then a layer."""

    def __init__(self, vocab: int, width: int) -> None:
        super().__init__()
        self.embedding, self.decay = nn.Embedding(vocab, width), nn.Parameter(torch.zeros(width))
        self.head = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, vocab))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token."""
        x = self.embedding(tokens)
        lag = torch.arange(tokens.shape[1], device=x.device)
        weight = torch.where(
            lag[:, None] >= lag, self.decay.sigmoid()[:, None, None] ** (lag[:, None] - lag).clamp(min=0), 0.0
        )
        y: Tensor = self.head(torch.cat([x, torch.einsum("dts,bsd->btd", weight, x)], dim=-1))
        return y


def games(runs: int, steps: int) -> list[float]:
    """The largest log wealth of each of many short games on causal models trained online, in nats."""
    stakes, largest = Stakes(steps=steps, alphabets=(4,), lr=3e-2, to_the_end=True), []
    for seed in range(runs):
        settings = Settings(vocab_size=4, seq_len=8, batch=4, seed=seed, dtype="float32")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = Memory(4, 4)
        trace, _ = play([Table(bettor(model, settings, 4), stakes)], stakes, settings)
        largest.append(max(trace))
    return largest


@dataclass(frozen=True)
class Played:
    """A game on a planted leak or its clean twin; `seconds` is the time to the proof, None without one."""

    result: BetResult
    seconds: float | None


def played(model: Model, settings: Settings, stakes: Stakes) -> Played:
    """Play to the end, and note the time of the proof."""
    started, times = time.perf_counter(), list[float]()
    result = bet(model, settings, stakes, watch=lambda _step, _log: times.append(time.perf_counter() - started))
    return Played(result, times[result.proven_at - 1] if result.proven_at else None)


def settings_of(twin: Twin) -> Settings:
    """How the twins are fed: 16 rows of their usual length."""
    return Settings(
        input="tokens" if twin.width is None else "features",
        vocab_size=twin.vocab_size,
        width=twin.width,
        seq_len=twin.seq_len,
        batch=16,
    )


def exceedance_row(name: str, largest: Sequence[float]) -> list[str]:
    """The share of games whose largest wealth would have been called a proof at each level, with its 95 % interval."""
    cells = []
    for alpha in LEVELS:
        counts = Counts(sum(log >= -math.log(alpha) for log in largest), len(largest))
        cells.append(f"{counts.successes / counts.trials:.4f} (≤ {rate_interval(counts).high:.4f})")
    return [name, *cells]


def print_dice() -> None:
    """Fair coins against predictors from timid to rash."""
    _print_row(["log odds of standard deviation", *(f"level {alpha:g}" for alpha in LEVELS)], head=True)
    for deviation in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0):
        _print_row(exceedance_row(f"{deviation:g}", dice(deviation, runs=20_000, rounds=100, bets=8).tolist()))


def print_models() -> None:
    """Causal models trained online."""
    _print_row(["games", *(f"level {alpha:g}" for alpha in LEVELS)], head=True)
    _print_row(exceedance_row("400 causal models", games(400, 30)))


def print_twins(stakes: Stakes) -> None:
    """Every planted leak and its clean twin."""
    _print_row(["planted leak", *COLUMNS], head=True)
    for twin in all_twins():
        _print_row(_twin_row(twin.name, str(twin.leak_class), twin.leaky, twin.clean, settings_of(twin), stakes))


def print_narrow(stakes: Stakes) -> None:
    """Selection inside the chunk: as planted, and in adversarial variants."""
    twin = next(twin for twin in all_twins() if twin.name == "hub_selection_in_chunk")
    module = sys.modules[twin.leaky.__module__]
    frozen = replace(stakes, freeze=("*score*", "*encode*"))
    _print_row(["variant", *COLUMNS], head=True)
    variants = (
        ("as planted", twin.leaky, twin.clean, stakes),
        ("as planted, frozen router", twin.leaky, twin.clean, frozen),
        ("narrow council", module.narrow_leaky, module.narrow_clean, stakes),
        ("narrow council, frozen router", module.narrow_leaky, module.narrow_clean, frozen),
    )
    for name, leaky, clean, how in variants:
        _print_row(_twin_row(name, str(twin.leak_class), leaky, clean, settings_of(twin), how))


def print_power(stakes: Stakes, seeds: int) -> None:
    """Every planted leak in several games, each up to its proof."""
    _print_row(HEADER, head=True)
    for twin in all_twins():
        _print_row(power_row(twin, settings_of(twin), replace(stakes, to_the_end=False), seeds))


def _twin_row(
    name: str,
    leak_class: str,
    leaky: Callable[[], nn.Module],
    clean: Callable[[], nn.Module],
    settings: Settings,
    stakes: Stakes,
) -> list[str]:
    found = played(leaky(), settings, stakes)
    causal = played(clean(), settings, replace(stakes, to_the_end=False)).result
    proof = "not proven" if found.seconds is None else f"{found.result.proven_at} steps, {found.seconds:.1f} s"
    alarm = "PROVEN: " if causal.proven_at else ""
    return [name, leak_class, proof, f"{found.result.bits_per_token:.3f}", f"{alarm}{1 / causal.p_value:.2g}"]


def _print_row(cells: Sequence[str], *, head: bool = False) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n" + (f"|{'---|' * len(cells)}\n" if head else ""))
    sys.stdout.flush()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m audits.experiments.auditor._betting_study", description=__doc__)
    parser.add_argument("table", choices=("dice", "models", "twins", "narrow", "power"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--alphabets", type=int, nargs="+", default=Stakes.alphabets)
    parser.add_argument("--seeds", type=int, default=10, help="games a planted leak, for the power")
    options = parser.parse_args()
    stakes = Stakes(steps=options.steps, alphabets=tuple(options.alphabets), to_the_end=True)
    tables: dict[str, Callable[[], None]] = {
        "dice": print_dice,
        "models": print_models,
        "twins": lambda: print_twins(stakes),
        "narrow": lambda: print_narrow(stakes),
        "power": lambda: print_power(stakes, options.seeds),
    }
    tables[options.table]()


if __name__ == "__main__":
    main()
