"""Gathers evidence: finds out which runs the ledger lacks, has them executed, and reads the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console

from audits.evidence.address import code_of
from audits.evidence.display import Display
from audits.evidence.executors.executor import Executor
from audits.evidence.executors.registry import ExecutorConfig, make_executor
from audits.evidence.experiment import Experiment, Options
from audits.evidence.gathering import Failure, Gathering, Task
from audits.evidence.ledger import Evidence, Ledger, run_hash
from audits.evidence.succession import accepted


@dataclass(frozen=True)
class Gathered:
    """All evidence in the ledger after the gathering, and the runs that failed."""

    evidence: Evidence
    failures: tuple[Failure, ...]


def gather(
    experiments: Iterable[Experiment],
    options: Options,
    ledger: Ledger,
    *,
    workers: int | None = None,
    fresh: bool = False,
    console: Console | None = None,
    executor: Executor | None = None,
) -> Gathered:
    """Execute every run that is not in the ledger yet, and read the ledger.

    Each finished run is in the ledger at once; an interrupt loses only runs under way. Only this process writes the
    ledger, wherever the runs are executed.

    Args:
        experiments: what to gather.
        options: the user's choices, handed to each experiment. Each run gets a folder of its own in that of
            checkpoints; it is deleted when the run is recorded, or begun afresh.
        ledger: where evidence is looked for and recorded.
        workers: local processes at a time; None is one per core, and one in all on a GPU, whose memory the runs would
            share.
        fresh: execute all runs anew; their records replace the earlier ones.
        console: where progress is shown; None is standard error.
        executor: what executes the runs; None is local processes.

    Raises:
        LedgerError: the ledger cannot be read or written.
        ExecutorError: the executor cannot execute runs.
        ValueError: `workers` is below 1, or an experiment lists a run under another's name.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    ledger.check_writable()
    experiments, tried, failures = tuple(experiments), set[str](), list[Failure]()
    with executor or make_executor("local", ExecutorConfig(options.device, workers)) as at_work:
        while True:
            tasks, done = _tasks(experiments, options, Evidence() if fresh and not tried else ledger.read())
            missing = [task for task in tasks if task.run not in tried and (fresh or task.run not in done)]
            if tried and not missing:
                break
            tried |= {task.run for task in missing}
            with Display(console or Console(stderr=True), len(missing)) as display:
                display.say(f"{len(missing)} runs to execute, {len(tasks) - len(missing)} already in the ledger")
                work = Gathering(options, ledger, display, at_work)
                work.execute(missing, fresh=fresh)
            failures += work.failures
            if not missing:
                break
    if fresh:
        ledger.compact()
    return Gathered(ledger.read(), tuple(failures))


def _tasks(experiments: Iterable[Experiment], options: Options, evidence: Evidence) -> tuple[list[Task], set[str]]:
    """The runs of all experiments in order, each once, and those that code which counts as today's has done."""
    codes = accepted(evidence, {experiment.recorded_as: code_of(experiment) for experiment in experiments})
    known = evidence.fresh(codes)
    answered = {record.question for record in known.records}
    tasks: dict[str, Task] = {}
    done: set[str] = set()
    for experiment in experiments:
        for spec in experiment.planned(options, known):
            if spec.experiment != experiment.recorded_as:
                raise ValueError(
                    f"experiment {experiment.name} lists a run of {spec.experiment}; use {experiment.recorded_as}"
                )
            run = run_hash(spec.experiment, spec.config, spec.seed, code_of(experiment))
            tasks.setdefault(run, Task(experiment, spec, run))
            if run_hash(spec.experiment, spec.config, spec.seed) in answered:
                done.add(run)
    return list(tasks.values()), done
