"""Re-checking evidence by sample: repeat some runs of earlier code with today's, and compare every number.

Repeated runs are ordinary records of today's code. An interrupted re-check goes on from them; only once all are there
is one record written (`audits.evidence.succession`) of what the comparison gave and which share of the runs could
still differ. One difference, and none of the earlier runs counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from rich.console import Console

from audits.evidence.address import code_of
from audits.evidence.experiment import TIERS, Experiment, Options, RunSpec
from audits.evidence.ledger import Evidence, Ledger, Record, is_fresh, run_hash
from audits.evidence.machine import commit, environment
from audits.evidence.resample import SAME, Difference, differences, may_differ, population, same, sample
from audits.evidence.runner import Gathered, gather
from audits.evidence.succession import KIND, accepted, config_of, rechecked

SHOWN = 20  # differences that a record lists


@dataclass(frozen=True)
class Outcome:
    """What became of the runs of one experiment that one earlier code made.

    Attributes:
        experiment: its name in the ledger.
        before: the hash of the earlier code.
        now: that of today's.
        runs: how many runs the earlier code made.
        repeated: how many of them were repeated.
        different: what differed.
        refused: why nothing was repeated; empty where it was.
    """

    experiment: str
    before: str
    now: str
    runs: int
    repeated: int = 0
    different: tuple[Difference, ...] = ()
    refused: str = ""

    @property
    def holds(self) -> bool:
        """Whether the earlier runs count as made by today's code."""
        return not self.refused and not self.different


def recheck(
    experiments: Iterable[Experiment],
    ledger: Ledger,
    *,
    device: str = "cpu",
    workers: int | None = None,
    console: Console | None = None,
) -> tuple[Outcome, ...]:
    """Repeat a sample of the runs that earlier code made, for each experiment and code, and record what it gave.

    Raises:
        LedgerError: the ledger cannot be read or written.
    """
    by_kind: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        by_kind.setdefault(experiment.recorded_as, []).append(experiment)
    repeat = partial(gather, ledger=ledger, workers=workers, console=console)
    return tuple(
        _recheck_one(studies, before, ledger, device, repeat)
        for kind, studies in by_kind.items()
        for before in _earlier(ledger.read(), kind, code_of(studies[0]))
    )


def _earlier(evidence: Evidence, kind: str, now: str) -> tuple[str, ...]:
    """The code behind the latest records of a kind where it does not count as today's (unknown code cannot)."""
    codes = accepted(evidence, {kind: now})
    latest = evidence.latest_per_question(codes).records
    return tuple(sorted({r.code for r in latest if r.experiment == kind and r.code and not is_fresh(r, codes)}))


def _recheck_one(
    studies: Sequence[Experiment], before: str, ledger: Ledger, device: str, repeat: Callable[..., Gathered]
) -> Outcome:
    first, evidence = studies[0], ledger.read()
    outcome = Outcome(first.recorded_as, before, code_of(first), 0)
    known = rechecked(evidence, first.recorded_as, before, outcome.now)
    if known is not None:
        return replace(outcome, runs=known.result["runs"], refused="a re-check found differences: gather anew")
    made = population(evidence, first.recorded_as, before)
    asked = _asked(studies, device, Evidence(tuple(made)))
    runs = [run for run in made if run.question in asked]
    outcome = replace(outcome, runs=len(runs))
    if not runs:
        return replace(outcome, refused="today's experiment asks for none of these runs: gather anew")
    here = environment(device)
    elsewhere = next((run for run in runs if not same(run, here)), None)
    if elsewhere is not None and first.tolerance is None:
        what = ", ".join(f"{k} {elsewhere.environment.get(k)}" for k in SAME if not same(elsewhere, here, k))
        return replace(outcome, refused=f"made with {what}, and no tolerance is stated for that: gather anew")
    repeated = sample(runs, outcome.now)
    for tier in TIERS:
        specs = tuple(spec for at, spec in (asked[run.question] for run in repeated) if at == tier)
        failures = repeat([_only(first, specs)], Options(tier=tier, device=device)).failures if specs else ()
        if failures:
            return replace(outcome, refused=f"a repeated run failed: {failures[0].line}")
    return _judge(first, replace(outcome, repeated=len(repeated)), repeated, ledger, here)


def _asked(studies: Sequence[Experiment], device: str, made: Evidence) -> Mapping[str, tuple[str, RunSpec]]:
    """Today's runs of all tiers, each with its tier, by what they answer; `made` decides those that hang on others."""
    specs = (
        (tier, spec)
        for tier in TIERS
        for experiment in studies
        for spec in experiment.planned(Options(tier=tier, device=device), made.at(tier))
    )
    return {run_hash(spec.experiment, spec.config, spec.seed): (tier, spec) for tier, spec in specs}


def _only(experiment: Experiment, specs: tuple[RunSpec, ...]) -> Experiment:
    return replace(experiment, runs=lambda _: specs, follow_up=None)


def _judge(
    experiment: Experiment, outcome: Outcome, repeated: Sequence[Record], ledger: Ledger, here: dict[str, str]
) -> Outcome:
    """Compare, and record what the comparison gave."""
    now = {record.question: record for record in population(ledger.read(), experiment.recorded_as, outcome.now)}
    different = tuple(d for run in repeated for d in differences(run, now[run.question], experiment))
    outcome = replace(outcome, different=different)
    result = {
        "by": "sample",
        "holds": outcome.holds,
        "runs": outcome.runs,
        "sample": [[run.run, now[run.question].run] for run in repeated],
        "may_differ": may_differ(outcome.runs, outcome.repeated),
        "exact": all(same(run, now[run.question].environment) for run in repeated),
        "different": [vars(difference) for difference in different[:SHOWN]],
    }
    config = config_of(outcome.experiment, outcome.before, outcome.now)
    seconds = sum(now[run.question].seconds for run in repeated)
    recorded = datetime.now(UTC).isoformat(timespec="seconds")
    ledger.append(Record(KIND, config, 0, result, here, seconds, "", commit(), recorded))
    return outcome
