"""The study of betting: how often it certifies what is causal, and what it proves of every planted leak.

Three kinds of runs: simulated tests on fair coins, short tests of small causal models trained online, and tests of a
planted leak. Of a leak's first seed both sides are tested, the leaky one to the last step, so that it shows how much
can be extracted; other seeds, which draw other alphabets and other tokens for the same weights, end at the proof.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from audits.betting.config import BetConfig
from audits.betting.eprocess import EProcess
from audits.betting.predictor import make_predictor
from audits.betting.run import bet, run_until_proof
from audits.betting.wealth import FRACTIONS, Wealth, certifies, log_factors
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.leaks import hub_selection_in_chunk
from audits.leaks._corpus import all_leaks
from audits.leaks._planted import PlantedLeak
from audits.subject.randomness import generator
from audits.subject.settings import Settings

NAME = "betting-study"
LEVELS = (0.5, 0.2, 0.1, 0.05, 0.01, 0.001)
DEVIATIONS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of the log odds of predictors of coins
ROUNDS, BETS = 100, 8  # of a test on coins
MODEL_STEPS = 30  # of a test of a small causal model
STEPS = 200  # of a test of a planted leak, at most
FIRST_SEED = 100
NARROW = "hub_selection_in_chunk"  # the leak that has an adversarial variant
VARIANTS = ((False, True), (True, False), (True, True))  # narrow council, frozen router
SIZES = {  # tests on coins of each deviation, tests of models in a run, such runs, seeds of each planted leak
    "quick": (2_000, 10, 1, 0),
    "full": (20_000, 50, 4, 3),
    "paper": (20_000, 50, 20, 10),
}


def runs(options: Options) -> tuple[RunSpec, ...]:
    """Coins, models and planted leaks; the runs of one tier are none of another's."""
    coins, models, parts, seeds = SIZES[options.tier]
    tier = {"tier": options.tier}
    plain = {"narrow": False, "frozen": False, "steps": STEPS}
    return (
        *(_spec({**tier, "part": "coins", "deviation": d, "tests": coins}, FIRST_SEED) for d in DEVIATIONS),
        *(_spec({**tier, "part": "models", "tests": models}, FIRST_SEED + part) for part in range(parts)),
        *(
            _spec({**tier, "part": "leak", "leak": leak.name, **plain, "to_the_end": seed == 0}, FIRST_SEED + seed)
            for seed in range(seeds)
            for leak in all_leaks()
        ),
        *(
            _spec({**tier, "part": "leak", "leak": NARROW, **plain, **variant, "to_the_end": True}, FIRST_SEED)
            for variant in ({"narrow": narrow, "frozen": frozen} for narrow, frozen in VARIANTS)
            if seeds
        ),
    )


def _spec(config: dict[str, Any], seed: int) -> RunSpec:
    return RunSpec(NAME, config, seed, f"betting on {config.get('leak', config['part'])}, seed {seed}")


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """How often each level was exceeded; of a leak, when it was proven and what its control came to."""
    del options
    progress(0, 1)
    config, seed = spec.config, spec.seed
    if config["part"] == "coins":
        return exceeded(coin_tests(float(config["deviation"]), int(config["tests"]), ROUNDS, BETS, seed).tolist())
    if config["part"] == "models":
        return exceeded(causal_tests(int(config["tests"]), MODEL_STEPS, seed))
    leak = next(leak for leak in all_leaks() if leak.name == config["leak"])
    if config["narrow"]:
        leak = replace(leak, leaky=hub_selection_in_chunk.narrow_leaky, clean=hub_selection_in_chunk.narrow_clean)
    freeze = ("*score*", "*encode*") if config["frozen"] else ()
    bets = BetConfig(steps=int(config["steps"]), freeze=freeze, to_the_end=bool(config["to_the_end"]))
    return leak_test(leak, bets, seed)


def exceeded(largest: Iterable[float]) -> dict[str, Any]:
    """Of tests with this largest log wealth in nats, how many certified at each level, by the level as a text."""
    logs = list(largest)
    return {"tests": len(logs), "exceeded": {f"{level:g}": sum(certifies(x, level) for x in logs) for level in LEVELS}}


def coin_tests(deviation: float, tests: int, rounds: int, bets: int, seed: int = 0) -> Tensor:
    """The largest log wealth in each of many simulated tests on fair coins, [tests], in nats.

    Args:
        deviation: standard deviation of the predictor's log odds, drawn anew for every bet.
        tests: independent tests.
        rounds: steps in a test.
        bets: coins in a step.
        seed: of predictions and coins.
    """
    gen, fractions = generator(seed, "coins", deviation), torch.tensor(FRACTIONS, dtype=torch.float64)
    wealth, largest = Wealth.start((tests,)), torch.zeros(tests, dtype=torch.float64)
    for _ in range(rounds):
        odds = deviation * torch.randn(tests, bets, generator=gen, dtype=torch.float64)
        heads = torch.randint(2, (tests, bets), generator=gen) * 2 - 1
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


def causal_tests(tests: int, steps: int, seed: int = 0) -> list[float]:
    """The largest log wealth in each of many short tests of causal models trained online, in nats."""
    config, largest = BetConfig(steps=steps, alphabets=(4,), lr=3e-2, to_the_end=True), []
    for drawn in range(seed * tests, (seed + 1) * tests):
        settings = Settings(vocab_size=4, seq_len=8, batch=4, seed=drawn, dtype="float32")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(drawn)
            model = Memory(4, 4)
        process = EProcess(make_predictor(model, settings, 4), config)
        largest.append(max(run_until_proof([process], config, settings)[0]))
    return largest


def leak_test(leak: PlantedLeak, config: BetConfig, seed: int) -> dict[str, Any]:
    """The step of the proof (None without one), and of a test to the end what was extracted and the clean control."""
    settings = replace(settings_of(leak), seed=seed)
    found = bet(leak.leaky(), settings, config)
    result: dict[str, Any] = {"leak_class": str(leak.leak_class), "proven_at": found.proven_at}
    if config.to_the_end:
        control = bet(leak.clean(), settings, replace(config, to_the_end=False))
        clean = {"proven_at": control.proven_at, "largest": 1 / control.p_value}
        result |= {"bits_per_token": found.bits_per_token, "clean": clean}
    return result


def settings_of(leak: PlantedLeak) -> Settings:
    """16 rows of the usual length."""
    kind = "features" if leak.width else "tokens"
    return Settings(kind, leak.vocab_size, leak.width, seq_len=leak.seq_len, batch=16)


EXPERIMENT = Experiment(NAME, runs, execute, not_hashed=OTHER_IMPLEMENTATIONS)
