"""False-positive rate of betting on causal models, and what it proves: the tables of `docs/betting.md`.

`python -m audits.experiments.auditor._betting_study {dice|models|leaks|narrow|power}` prints one of them as Markdown.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from audits.betting.config import BetConfig
from audits.betting.eprocess import EProcess
from audits.betting.predictor import make_predictor
from audits.betting.result import BetResult
from audits.betting.run import bet, run_until_proof
from audits.betting.wealth import FRACTIONS, Wealth, certifies, log_factors
from audits.experiments.auditor._betting_study_seeds import HEADER, power_row
from audits.leaks import hub_selection_in_chunk
from audits.leaks._corpus import all_leaks
from audits.leaks._planted import PlantedLeak
from audits.statistics.counts import Counts, rate_interval
from audits.subject.randomness import generator
from audits.subject.settings import Settings
from audits.subject.subject import Model

LEVELS = (0.5, 0.2, 0.1, 0.05, 0.01, 0.001)
COLUMNS = ("class", "proven after", "extracted, bits per token", "clean control, largest e-value")


def dice(deviation: float, runs: int, rounds: int, bets: int, seed: int = 0) -> Tensor:
    """The largest log wealth in each of many simulated tests on fair coins, [runs], in nats.

    Args:
        deviation: standard deviation of the predictor's log odds, drawn anew for every bet.
        runs: independent tests.
        rounds: steps in a test.
        bets: coins in a step.
        seed: of predictions and coins.
    """
    gen, fractions = generator(seed, "dice", deviation), torch.tensor(FRACTIONS, dtype=torch.float64)
    wealth, largest = Wealth.start((runs,)), torch.zeros(runs, dtype=torch.float64)
    for _ in range(rounds):
        odds = deviation * torch.randn(runs, bets, generator=gen, dtype=torch.float64)
        heads = torch.randint(2, (runs, bets), generator=gen) * 2 - 1
        wealth = wealth.after(log_factors(nn.functional.logsigmoid(odds * heads), 2, fractions).sum(1))
        largest = largest.maximum(wealth.log)
    return largest


class Memory(nn.Module):
    """A causal model small enough for hundreds of tests: a decaying sum of embeddings, then a layer."""

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


def causal_tests(runs: int, steps: int) -> list[float]:
    """The largest log wealth in each of many short tests of causal models trained online, in nats."""
    config, largest = BetConfig(steps=steps, alphabets=(4,), lr=3e-2, to_the_end=True), []
    for seed in range(runs):
        settings = Settings(vocab_size=4, seq_len=8, batch=4, seed=seed, dtype="float32")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = Memory(4, 4)
        process = EProcess(make_predictor(model, settings, 4), config)
        largest.append(max(run_until_proof([process], config, settings)[0]))
    return largest


@dataclass(frozen=True)
class Timed:
    """A test of a planted leak or its clean control; `seconds` is the time to the proof, None without one."""

    result: BetResult
    seconds: float | None


def timed(model: Model, settings: Settings, config: BetConfig) -> Timed:
    """Run to the end, and measure the time to the proof."""
    started, times = time.perf_counter(), list[float]()
    result = bet(model, settings, config, watch=lambda _step, _log: times.append(time.perf_counter() - started))
    return Timed(result, times[result.proven_at - 1] if result.proven_at else None)


def settings_of(leak: PlantedLeak) -> Settings:
    """16 rows of the usual length."""
    return Settings(
        input="tokens" if leak.width is None else "features",
        vocab_size=leak.vocab_size,
        width=leak.width,
        seq_len=leak.seq_len,
        batch=16,
    )


def exceedance_row(name: str, largest: Sequence[float]) -> list[str]:
    """The proportion of tests whose largest wealth exceeded each level, with the upper end of its 95 % interval."""
    cells = []
    for alpha in LEVELS:
        counts = Counts(sum(certifies(log, alpha) for log in largest), len(largest))
        cells.append(f"{counts.successes / counts.trials:.4f} (≤ {rate_interval(counts).high:.4f})")
    return [name, *cells]


def print_dice() -> None:
    """Fair coins, predictors with small to large random log odds."""
    _print_row(["standard deviation of the log odds", *(f"level {alpha:g}" for alpha in LEVELS)], head=True)
    for deviation in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0):
        _print_row(exceedance_row(f"{deviation:g}", dice(deviation, runs=20_000, rounds=100, bets=8).tolist()))


def print_models() -> None:
    """Causal models trained online."""
    _print_row(["tests", *(f"level {alpha:g}" for alpha in LEVELS)], head=True)
    _print_row(exceedance_row("400 causal models", causal_tests(400, 30)))


def print_leaks(config: BetConfig) -> None:
    """Every planted leak and its clean control."""
    _print_row(["planted leak", *COLUMNS], head=True)
    for leak in all_leaks():
        _print_row(_leak_row(leak.name, leak, config))


def print_narrow(config: BetConfig) -> None:
    """Selection inside the chunk: as planted, and in adversarial variants."""
    leak = hub_selection_in_chunk.LEAK
    narrow = replace(leak, leaky=hub_selection_in_chunk.narrow_leaky, clean=hub_selection_in_chunk.narrow_clean)
    frozen = replace(config, freeze=("*score*", "*encode*"))
    _print_row(["variant", *COLUMNS], head=True)
    for name, variant in (("as planted", leak), ("narrow council", narrow)):
        _print_row(_leak_row(name, variant, config))
        _print_row(_leak_row(f"{name}, frozen router", variant, frozen))


def print_power(config: BetConfig, seeds: int) -> None:
    """Every planted leak in several tests, each up to its proof."""
    _print_row(HEADER, head=True)
    for leak in all_leaks():
        _print_row(power_row(leak, settings_of(leak), replace(config, to_the_end=False), seeds))


def _leak_row(name: str, leak: PlantedLeak, config: BetConfig) -> list[str]:
    found = timed(leak.leaky(), settings_of(leak), config)
    causal = bet(leak.clean(), settings_of(leak), replace(config, to_the_end=False))
    proof = "not proven" if found.seconds is None else f"{found.result.proven_at} steps, {found.seconds:.1f} s"
    false_positive = "PROVEN: " if causal.proven_at else ""
    e_value = f"{false_positive}{1 / causal.p_value:.2g}"
    return [name, str(leak.leak_class), proof, f"{found.result.bits_per_token:.3f}", e_value]


def _print_row(cells: Sequence[str], *, head: bool = False) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n" + (f"|{'---|' * len(cells)}\n" if head else ""))
    sys.stdout.flush()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m audits.experiments.auditor._betting_study", description=__doc__)
    parser.add_argument("table", choices=("dice", "models", "leaks", "narrow", "power"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--alphabets", type=int, nargs="+", default=BetConfig.alphabets)
    parser.add_argument("--seeds", type=int, default=10, help="tests of each planted leak, for the power")
    options = parser.parse_args()
    config = BetConfig(steps=options.steps, alphabets=tuple(options.alphabets), to_the_end=True)
    tables: dict[str, Callable[[], None]] = {
        "dice": print_dice,
        "models": print_models,
        "leaks": lambda: print_leaks(config),
        "narrow": lambda: print_narrow(config),
        "power": lambda: print_power(config, options.seeds),
    }
    tables[options.table]()


if __name__ == "__main__":
    main()
