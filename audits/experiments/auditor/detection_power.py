"""Detection power: every probe on every planted leak and its control, repeated with other weights and inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch import nn

from audits.auditor.audit import overall
from audits.auditor.presets import PRESETS
from audits.auditor.probing import run_probes
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.auditor._causal import CAUSAL, VOCAB, causal_model
from audits.experiments.auditor._detection import AUDIT, QUICK
from audits.experiments.auditor._detection import EXPERIMENT as NAME
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.leaks._corpus import all_leaks
from audits.leaks._planted import PlantedLeak, redrawn
from audits.probes._registry import all_probes
from audits.subject.prepare import prepare
from audits.subject.settings import Settings

LENGTH = 32  # shorter than the kill matrix's: the shortest at which every planted leak exists
LENGTHS = (16, 24, 32)  # of causal models, in turn
SIZES = {"quick": (2, 2, 1), "full": (12, 3, 5), "paper": (20, 20, 15)}  # draws in a run, with control, runs of a model


def runs(options: Options) -> tuple[RunSpec, ...]:
    """A few draws of every model; the draws of one tier are none of another's, so that all count together.

    Only some draws of a leak include its control: all controls together, not each, are to show that none is flagged.
    """
    draws, controls, count = SIZES[options.tier]
    models = [{"twin": leak.name, "controls": controls} for leak in all_leaks()] + [{"causal": name} for name in CAUSAL]
    return tuple(
        RunSpec(NAME, {**model, "draws": draws}, seed, f"power on {next(iter(model.values()))}, part {seed + 1}")
        for seed in range(count)
        for model in models
    )


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Count the verdicts of every probe over some draws, on the leaky side and, in the first ones, on the control."""
    counts: dict[str, dict[str, Counter[str]]] = {"leaky": {}, "clean": {}}
    draws, controls = int(spec.config["draws"]), int(spec.config.get("controls", 0))
    for draw in range(draws):
        progress(draw, draws)
        seed = seed_of(spec, draw)
        for side, build, settings in _sides(spec.config, seed, options.device)[: 2 if draw < controls else 1]:
            with redrawn(seed):
                model = build()
            for probe, verdict in _verdicts(model, settings).items():
                counts[side].setdefault(probe, Counter())[verdict] += 1
    return {side: {probe: dict(sorted(c.items())) for probe, c in sorted(of.items())} for side, of in counts.items()}


def seed_of(spec: RunSpec, draw: int) -> int:
    """The seed of one draw: no other draw of the model has it at any tier, nor has the kill matrix."""
    draws = int(spec.config["draws"])
    return 1000 * draws + spec.seed * draws + draw


def _sides(config: dict[str, Any], seed: int, device: str) -> list[tuple[str, Callable[[], nn.Module], Settings]]:
    """The models of one draw and how they are fed."""
    length = LENGTHS[seed % len(LENGTHS)]
    if "causal" in config:
        settings = Settings(vocab_size=VOCAB, seq_len=length, seed=seed, device=device)
        return [("clean", lambda: causal_model(config["causal"], seed), settings)]
    leak = next(leak for leak in all_leaks() if leak.name == config["twin"])
    return [
        ("leaky", leak.leaky, _settings(leak, LENGTH, seed, device)),
        ("clean", leak.clean, _settings(leak, length, seed, device)),
    ]


def _settings(leak: PlantedLeak, length: int, seed: int, device: str) -> Settings:
    kind = "features" if leak.width else "tokens"
    return Settings(kind, leak.vocab_size, leak.width, seq_len=length, seed=seed, device=device)


def _verdicts(model: nn.Module, settings: Settings) -> dict[str, str]:
    """The verdict of each probe that had something to look at, of all together, and of those of the quick preset."""
    subject = prepare(model, settings)
    with subject.preserve_state():
        reports = {name: ran.report for name, ran in run_probes(subject, all_probes()).items()}
    quick = [report for name, report in reports.items() if name in (PRESETS["quick"] or ())]
    verdicts = {name: str(report.verdict) for name, report in reports.items() if report.applicable}
    return {**verdicts, AUDIT: str(overall(reports.values())), QUICK: str(overall(quick))}


LEDGER = "audits.evidence.ledger"  # read by claims, not by runs
# Counts of verdicts: any machine must give the same ones.
EXPERIMENT = Experiment(NAME, runs, execute, not_hashed=(LEDGER, *OTHER_IMPLEMENTATIONS), tolerance=1e-9)
