"""Re-checking evidence by sample: repeat some runs of earlier code with today's, and compare every number.

The sample is chosen by the hash of today's code, so nobody picks it: the runs, sorted by configuration, are cut into as
many blocks as runs are to be repeated, and the hash draws one of each. Where a share of all runs would differ, at least
that share of the draws would find one, whichever runs they are: n equal draws exclude, at 95 %, that more than
1 - 0.05^(1/n) of the runs differ.

Repeated runs are ordinary records of today's code. An interrupted re-check goes on from them; only once all are there
is one record written (`audits.evidence.succession`) of what the comparison gave and which share of the runs could
still differ. One difference, and none of the earlier runs counts.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from audits.evidence.code_hash import code_of
from audits.evidence.experiment import TIERS, Experiment, Options, RunSpec
from audits.evidence.ledger import Evidence, Ledger, Record, is_fresh, run_hash
from audits.evidence.machine import commit, environment
from audits.evidence.runner import gather
from audits.evidence.succession import KIND, accepted, config_of, rechecked

SHARE, FEWEST = 0.05, 3  # of the runs, and runs, that are repeated at least
CONFIDENCE = 0.95
SAME = ("cpu", "device", "platform", "python", "torch", "triton")  # what numbers equal to the last bit need
SHOWN = 20  # differences that a record lists


@dataclass(frozen=True)
class Difference:
    """A number that a repeated run gave otherwise; None for one that is absent."""

    run: str
    path: str
    before: Any
    now: Any


@dataclass(frozen=True)
class Outcome:
    """What became of the runs of one experiment that one earlier code made."""

    experiment: str  # its name in the ledger
    before: str  # the hash of the earlier code
    now: str  # that of today's
    runs: int = 0  # that the earlier code made
    repeated: int = 0  # of them
    different: tuple[Difference, ...] = ()
    refused: str = ""  # why nothing was repeated; empty where it was

    @property
    def holds(self) -> bool:
        """Whether the earlier runs count as made by today's code."""
        return not self.refused and not self.different


@dataclass(frozen=True)
class Recheck:
    """How runs are repeated: on which device, by how many processes at a time, and where their progress is shown."""

    device: str = "cpu"
    workers: int | None = None
    console: Console | None = None

    def of_ledger(self, experiments: Iterable[Experiment], ledger: Ledger) -> tuple[Outcome, ...]:
        """Repeat a sample of what earlier code made, for each experiment and code, and record what that gave."""
        return tuple(
            self._recorded(studies, before, ledger)
            for kind, studies in _by_kind(experiments).items()
            for before in _earlier(ledger.read(), kind, code_of(studies[0]))
        )

    def of_outside(self, experiments: Iterable[Experiment], outside: Evidence) -> tuple[Outcome, ...]:
        """Repeat a sample of runs from outside that today's code is said to have made; nothing is recorded.

        The sample is drawn at random: whoever made the records must not know it.
        """
        found: list[Outcome] = []
        for kind, studies in _by_kind(experiments).items():
            today = code_of(studies[0])
            if made := population(outside, kind, today):
                with TemporaryDirectory() as folder:
                    found.append(self._repeated(studies, today, made, token_hex(), Ledger(Path(folder)))[0])
        return tuple(found)

    def _recorded(self, studies: Sequence[Experiment], before: str, ledger: Ledger) -> Outcome:
        kind, now, evidence = studies[0].recorded_as, code_of(studies[0]), ledger.read()
        if known := rechecked(evidence, kind, before, now):
            return Outcome(kind, before, now, known.result["runs"], refused="a re-check found differences: gather anew")
        outcome, pairs = self._repeated(studies, before, population(evidence, kind, before), now, ledger)
        if pairs:
            result = {
                "by": "sample",
                "holds": outcome.holds,
                "runs": outcome.runs,
                "sample": [[run.run, again.run] for run, again in pairs],
                "may_differ": may_differ(outcome.runs, outcome.repeated),
                "exact": not any(unlike(run, again.environment) for run, again in pairs),
                "different": [vars(difference) for difference in outcome.different[:SHOWN]],
            }
            config, here = config_of(kind, before, now), environment(self.device)
            seconds, at = sum(again.seconds for _, again in pairs), datetime.now(UTC).isoformat(timespec="seconds")
            ledger.append(Record(KIND, config, 0, result, here, seconds, "", commit(), at))
        return outcome

    def _repeated(
        self, studies: Sequence[Experiment], before: str, made: tuple[Record, ...], drawn_by: str, ledger: Ledger
    ) -> tuple[Outcome, list[tuple[Record, Record]]]:
        """Repeat a sample of the runs and compare; the pairs of runs are empty where that is refused."""
        first, here = studies[0], environment(self.device)
        asked = _asked(studies, self.device, Evidence(made))
        runs = [run for run in made if run.question in asked]
        outcome = Outcome(first.recorded_as, before, code_of(first), len(runs))
        if not runs:
            return replace(outcome, refused="today's experiment asks for none of these runs: gather anew"), []
        elsewhere = next(filter(None, (unlike(run, here) for run in runs)), None)
        if elsewhere and first.tolerance is None:
            refused = f"made with {elsewhere}, and no tolerance is stated for that: gather anew"
            return replace(outcome, refused=refused), []
        repeated = sample(runs, drawn_by)
        # What another re-check lets count as made by today's code was not made by it.
        done = {record.question for record in population(ledger.read(), outcome.experiment, outcome.now)}
        wanted = [asked[run.question] for run in repeated if run.question not in done]
        for tier in dict.fromkeys(tier for tier, _ in wanted):
            only = _only(first, tuple(spec for at, spec in wanted if at == tier))
            options = Options(tier=tier, device=self.device)
            gathered = gather([only], options, ledger, workers=self.workers, console=self.console, fresh=True)
            if gathered.failures:
                return replace(outcome, refused=f"a repeated run failed: {gathered.failures[0].line}"), []
        now = {record.question: record for record in population(ledger.read(), outcome.experiment, outcome.now)}
        pairs = [(run, now[run.question]) for run in repeated]
        different = tuple(difference for pair in pairs for difference in differences(*pair, first))
        return replace(outcome, repeated=len(repeated), different=different), pairs


def _by_kind(experiments: Iterable[Experiment]) -> dict[str, list[Experiment]]:
    found: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        found.setdefault(experiment.recorded_as, []).append(experiment)
    return found


def _earlier(evidence: Evidence, kind: str, now: str) -> tuple[str, ...]:
    """The code behind the latest records of a kind where it does not count as today's (unknown code cannot)."""
    codes = accepted(evidence, {kind: now})
    latest = evidence.latest_per_question(codes).records
    return tuple(sorted({r.code for r in latest if r.experiment == kind and r.code and not is_fresh(r, codes)}))


def _asked(studies: Sequence[Experiment], device: str, made: Evidence) -> Mapping[str, tuple[str, RunSpec]]:
    """Today's runs of all tiers, each with its tier, by what they answer; `made` decides those that hang on others."""
    return {
        run_hash(spec.experiment, spec.config, spec.seed): (tier, spec)
        for tier in TIERS
        for experiment in studies
        for spec in experiment.planned(Options(tier=tier, device=device), made.at(tier))
    }


def _only(experiment: Experiment, specs: tuple[RunSpec, ...]) -> Experiment:
    return replace(experiment, runs=lambda _: specs, follow_up=None)


def population(evidence: Evidence, experiment: str, code: str) -> tuple[Record, ...]:
    """The runs of an experiment that this code made, the latest of each question, by configuration and seed."""
    made = (record for record in evidence.records if (record.experiment, record.code) == (experiment, code))
    found = {record.question: record for record in made}
    return tuple(sorted(found.values(), key=lambda record: (json.dumps(record.config, sort_keys=True), record.seed)))


def sample(runs: Sequence[Record], code: str) -> tuple[Record, ...]:
    """The runs to repeat: one of each block, drawn by the hash of today's code."""
    wanted = min(len(runs), max(FEWEST, math.ceil(SHARE * len(runs))))
    bounds = pairwise(index * len(runs) // wanted for index in range(wanted + 1))
    return tuple(block[_drawn(code, block) % len(block)] for low, high in bounds for block in [runs[low:high]])


def _drawn(code: str, block: Sequence[Record]) -> int:
    named = " ".join([code, *(record.question for record in block)])
    return int(hashlib.sha256(named.encode()).hexdigest(), 16)


def may_differ(runs: int, repeated: int) -> float:
    """The share of runs below which those that differ must lie, at 95 %, where no repeated run differed."""
    if repeated >= runs:
        return 0.0
    largest = math.ceil(runs / repeated)  # blocks differ by a run; as if all were of the largest size
    excluded: float = (1 - (1 - CONFIDENCE) ** (1 / repeated)) * largest * repeated / runs
    return min(1.0, excluded)


def unlike(record: Record, environment: Mapping[str, str]) -> str:
    """What a record was made with that is other than here, and may change the last bit; empty where nothing is."""
    made = record.environment
    return ", ".join(f"{key} {made.get(key)}" for key in SAME if made.get(key) != environment.get(key))


def differences(before: Record, now: Record, experiment: Experiment) -> tuple[Difference, ...]:
    """Every number, truth value and word that differs, apart from what the experiment says is not compared.

    Numbers must be equal; made on another machine they must agree within the experiment's tolerance.
    """
    tolerance = experiment.tolerance if unlike(before, now.environment) else None
    old, new = dict(_leaves(before.result)), dict(_leaves(now.result))
    compared = [path for path in old | new if not any(fnmatchcase(path, left) for left in experiment.not_compared)]
    return tuple(
        Difference(before.run, path, old.get(path), new.get(path))
        for path in compared
        if path not in old or path not in new or not _equal(old[path], new[path], tolerance)
    )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths of what a result holds; an empty list or mapping is a leaf, so that it cannot vanish."""
    pairs = value.items() if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else ()
    if not pairs:
        yield path, value
    for key, item in pairs:
        yield from _leaves(item, f"{path}.{key}".lstrip("."))


def _equal(before: Any, now: Any, tolerance: float | None) -> bool:
    if tolerance and isinstance(before, float | int) and isinstance(now, float | int):
        return math.isclose(before, now, rel_tol=tolerance, abs_tol=tolerance)
    return type(before) is type(now) and bool(before == now)
