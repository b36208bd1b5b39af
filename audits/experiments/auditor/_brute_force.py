"""Ground truth for mutants, independent of the auditor: what may not change an output is changed, many times.

Each circumstance is a plain comparison of two calls. A mutant is live in it where the difference is many times that of
the model without the fault under the same draws, and more than the rounding of its dtype.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ROWS = 3
MARGIN = 100.0  # times the difference of the model without the fault
# Of the largest output. Many architectures compute part of it in float32 whatever their dtype.
ROUNDING = {torch.float64: 1e-5, torch.float32: 1e-4, torch.bfloat16: 0.05}

Call = Callable[[nn.Module, Tensor], Tensor]  # tokens [B, N] to outputs [B, N, V]


@dataclass(frozen=True)
class Trial:
    """One model's tokens and how it is called; `steps` continues it token by token, where it can be."""

    vocab_size: int
    length: int
    call: Call
    steps: Call | None
    seed: int
    draws: int = 8  # of inputs, for each circumstance

    def draw(self, rows: int, draw: int, length: int | None = None) -> Tensor:
        """Random tokens."""
        gen = torch.Generator().manual_seed(1000 * self.seed + draw)
        return torch.randint(self.vocab_size, (rows, length or self.length), generator=gen)


def live(trial: Trial, clean: nn.Module, mutant: nn.Module) -> dict[str, float]:
    """The circumstances in which a fault shows, with its effect relative to the largest output."""
    found = {}
    for name, circumstance in CIRCUMSTANCES.items():
        usual, effect = (_effect(circumstance, trial, model) for model in (clean, mutant))
        if usual is None or effect is None:
            continue
        if effect > max(MARGIN * usual, ROUNDING[circumstance.dtype]):
            found[name] = float(f"{effect:.3g}")
    return found


@dataclass(frozen=True)
class Circumstance:
    """The largest difference that must not be, over a model's largest output, in one dtype."""

    differ: Callable[[Trial, nn.Module], float]
    dtype: torch.dtype = torch.float64
    training: bool = False


def _effect(circumstance: Circumstance, trial: Trial, model: nn.Module) -> float | None:
    """None where the model cannot be called so."""
    model = copy.deepcopy(model).to(circumstance.dtype).train(circumstance.training)
    try:
        with torch.no_grad():
            scale = _run(trial, model, trial.draw(1, 0)).abs().max().clamp_min(1e-30)
            return circumstance.differ(trial, model) / float(scale)
    except Exception:
        return None


def _run(trial: Trial, model: nn.Module, tokens: Tensor, call: Call | None = None) -> Tensor:
    """The outputs; whatever is drawn at random is drawn alike in every call."""
    torch.manual_seed(0)
    return (call or trial.call)(model, tokens).double()


def _gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().nan_to_num().max()) if a.numel() else 0.0


def future(trial: Trial, model: nn.Module) -> float:
    """Suffixes replaced from many cuts on: outputs before the cut, each of a copy that nothing was called on."""
    worst = 0.0
    for draw in range(trial.draws):
        base, other = trial.draw(ROWS, 2 * draw), trial.draw(ROWS, 2 * draw + 1)
        before = _run(trial, copy.deepcopy(model), base)
        for cut in {1, trial.length // 3, trial.length // 2, trial.length - 1 - draw}:
            changed = torch.cat([base[:, :cut], other[:, cut:]], 1)
            worst = max(worst, _gap(before[:, :cut], _run(trial, copy.deepcopy(model), changed)[:, :cut]))
    return worst


def rows(trial: Trial, model: nn.Module) -> float:
    """A row replaced: outputs of the others."""
    base, other = trial.draw(ROWS, 0), trial.draw(ROWS, 1)
    before = _run(trial, model, base)
    worst = 0.0
    for row in range(ROWS):
        changed = torch.where((torch.arange(ROWS) == row)[:, None], other, base)
        others = torch.arange(ROWS) != row
        worst = max(worst, _gap(before[others], _run(trial, model, changed)[others]))
    return worst


def length(trial: Trial, model: nn.Module) -> float:
    """Prefixes alone: the outputs that the whole sequence has."""
    base = trial.draw(1, 0)
    whole = _run(trial, model, base)
    cuts = (trial.length // 4, trial.length // 2, trial.length - 1)
    return max(_gap(whole[:, :cut], _run(trial, model, base[:, :cut])) for cut in cuts)


def calls(trial: Trial, model: nn.Module) -> float:
    """The same input after other calls."""
    base, worst = trial.draw(1, 0), 0.0
    first = _run(trial, model, base)
    for draw in range(1, trial.draws):
        _run(trial, model, trial.draw(1, draw, trial.length - draw))
        worst = max(worst, _gap(first, _run(trial, model, base)))
    return worst


def steps(trial: Trial, model: nn.Module) -> float:
    """Token by token with a cache: the outputs of the whole."""
    if trial.steps is None:
        return 0.0
    base = trial.draw(1, 0)
    return _gap(_run(trial, model, base), _run(trial, model, base, trial.steps))


CIRCUMSTANCES: Mapping[str, Circumstance] = {
    "future": Circumstance(future),
    "future, float32": Circumstance(future, torch.float32),
    "future, bfloat16": Circumstance(future, torch.bfloat16),
    "future, training": Circumstance(future, training=True),
    "rows": Circumstance(rows),
    "length": Circumstance(length),
    "calls": Circumstance(calls),
    "steps": Circumstance(steps),
}
