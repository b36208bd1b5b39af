"""The rounding rule: how often rounding passes for a leak, and a faint leak for rounding, where there is much of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from audits.auditor.audit import overall
from audits.auditor.probing import run_probes
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.auditor._causal import VOCAB
from audits.experiments.auditor._rounding_heavy import FUTURE, MIXERS, rounding_heavy
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.instruments.probe import Probe
from audits.probes._registry import all_probes
from audits.subject.prepare import prepare
from audits.subject.settings import Settings

NAME = "rounding-rule"
JUDGED = ("perturbation", "gradient", "prefix-length", "isolation", "decode", "dtype")  # probes that tell them apart
LENGTHS = (12, 16, 24)  # in turn
SIZES = (1e-12, 1e-9, 1e-6)  # of the leaks
PARTS = {"quick": (1, 1), "full": (8, 10), "paper": (40, 10)}  # runs of each model and leak, draws in each


def runs(options: Options) -> tuple[RunSpec, ...]:
    """Every model without a leak, three times as often as with one of each kind and size."""
    parts, draws = PARTS[options.tier]
    models = [
        {"model": name, "kind": kind, "size": size, "draws": draws * (1 if size else 3)}
        for name, mixer in MIXERS.items()
        for kind, size in ((FUTURE, 0.0), *((kind, size) for kind in mixer.kinds for size in SIZES))
    ]
    return tuple(
        RunSpec(NAME, {**model, "tier": options.tier}, part, f"rounding of {model['model']}, part {part + 1}")
        for part in range(parts)
        for model in models
    )


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """The verdicts of all probes together and of each, over draws of weights and inputs."""
    config, counts = spec.config, Counter[str]()
    draws, by_probe = int(config["draws"]), Counter[str]()
    for draw in range(draws):
        progress(draw, draws)
        seed = spec.seed * draws + draw
        model = rounding_heavy(config["model"], seed, config["kind"], float(config["size"]))
        length = LENGTHS[seed % len(LENGTHS)]
        subject = prepare(model, Settings(vocab_size=VOCAB, seq_len=length, seed=seed, device=options.device))
        with subject.preserve_state():
            reports = {name: ran.report for name, ran in run_probes(subject, _judged()).items()}
        counts[str(overall(reports.values()))] += 1
        by_probe.update(f"{name}: {report.verdict}" for name, report in reports.items() if report.applicable)
    return {"verdicts": dict(sorted(counts.items())), "probes": dict(sorted(by_probe.items()))}


def _judged() -> list[Probe]:
    return [probe for probe in all_probes() if probe.name in JUDGED]


# Counts of verdicts: any machine must give the same ones.
EXPERIMENT = Experiment(NAME, runs, execute, not_hashed=OTHER_IMPLEMENTATIONS, tolerance=1e-9)
