"""Re-checking evidence by sample: what it repeats, what it compares, and what it may say afterwards."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from audits.evidence.code_hash import code_of
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.evidence.ledger import Evidence, Ledger, Record
from audits.evidence.machine import environment
from audits.evidence.recheck import Outcome, Recheck, differences, may_differ, population, sample
from audits.evidence.succession import KIND, accepted, shown_by

OLD = "old code"
CONFIGS = [{"tier": "quick", "x": x} for x in range(6)]


def square(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    return {"square": spec.config["x"] ** 2, "tier": options.tier, "seconds": 1.0}


def experiment(configs: list[dict[str, Any]] = CONFIGS, **fields: Any) -> Experiment:
    specs = tuple(RunSpec("demo", config, seed) for config in configs for seed in range(2))
    return Experiment("demo", lambda options: specs if options.tier == "quick" else (), square, **fields)


def record(x: int, seed: int = 0, code: str = OLD, **changed: Any) -> Record:
    result = {"square": x**2, "tier": "quick", "seconds": 1.0} | changed.pop("result", {})
    made = Record("demo", {"tier": "quick", "x": x}, seed, result, environment(), 1.0, code, "", "")
    return replace(made, **changed)


def ledger_of(folder: Path, *records: Record) -> Ledger:
    ledger = Ledger(folder)
    for made in records:
        ledger.append(made)
    return ledger


def everything() -> list[Record]:
    return [record(x, seed) for x in range(6) for seed in range(2)]


def checked(ledger: Ledger, what: Experiment | None = None) -> tuple[Outcome, ...]:
    return Recheck(workers=1, console=Console(file=io.StringIO())).of_ledger([what or experiment()], ledger)


def fresh(ledger: Ledger) -> int:
    evidence = ledger.read()
    codes = accepted(evidence, {"demo": code_of(experiment())})
    return len(evidence.latest_per_question(codes).fresh(codes).of("demo"))


def test_a_sample_that_is_equal_makes_all_runs_count(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, *everything())
    assert fresh(ledger) == 0
    (outcome,) = checked(ledger)
    assert outcome.holds
    assert (outcome.runs, outcome.repeated) == (12, 3)
    assert fresh(ledger) == 12
    link = ledger.read().of(KIND)[0].result
    assert link["may_differ"] == may_differ(12, 3)
    assert len(link["sample"]) == 3
    assert len(ledger.read().of("demo")) == 15  # no record was replaced
    assert checked(ledger) == ()


def test_one_number_that_differs_makes_all_runs_stale(tmp_path: Path) -> None:
    records = everything()
    chosen = sample(population(Evidence(tuple(records)), "demo", OLD), code_of(experiment()))[1]
    wrong = replace(chosen, result=chosen.result | {"square": math.nextafter(chosen.result["square"] + 1.0, math.inf)})
    ledger = ledger_of(tmp_path, *(wrong if made == chosen else made for made in records))
    (outcome,) = checked(ledger)
    assert not outcome.holds
    assert [difference.path for difference in outcome.different] == ["square"]
    assert fresh(ledger) == 3  # those that were repeated
    (again,) = checked(ledger)
    assert again.refused == "a re-check found differences: gather anew"
    assert fresh(ledger) == 3


def test_runs_of_two_earlier_codes_are_repeated_by_todays_and_by_no_accepted_one(tmp_path: Path) -> None:
    """The first code's re-check holds and makes its runs count; the second code made the same ones, and some more."""
    ledger = ledger_of(tmp_path, *(record(x, code="first code") for x in range(4)))
    for x in range(8):
        ledger.append(record(x, code="second code"))
    ledger.append(record(9, code="first code"))
    what = experiment([{"tier": "quick", "x": x} for x in range(10)])
    outcomes = checked(ledger, what)
    assert [outcome.before for outcome in outcomes] == ["first code", "second code"]
    assert all(outcome.holds and outcome.repeated == 3 for outcome in outcomes)
    made = {made.question for made in population(ledger.read(), "demo", code_of(what))}
    assert all(shown.question in made for shown in ledger.read().of("demo") if shown.code == code_of(what))


def test_what_is_not_compared_may_differ(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, *(record(x, result={"seconds": 2.0}) for x in range(6)))
    (outcome,) = checked(ledger, experiment(not_compared=("seconds",)))
    assert outcome.holds


def test_an_interrupted_recheck_goes_on_and_counts_for_nothing_before(tmp_path: Path) -> None:
    records = everything()
    ledger = ledger_of(tmp_path, *records)
    first = sample(population(ledger.read(), "demo", OLD), code_of(experiment()))[0]
    ledger.append(replace(first, code=code_of(experiment())))  # as far as it came
    assert fresh(ledger) == 1
    seen = io.StringIO()
    Recheck(workers=1, console=Console(file=seen)).of_ledger([experiment()], ledger)
    assert "2 runs to execute" in seen.getvalue()
    assert fresh(ledger) == 12


def test_records_from_outside_are_repeated_and_a_forged_number_is_found(tmp_path: Path) -> None:
    today, again = code_of(experiment()), Recheck(workers=1, console=Console(file=io.StringIO()))
    good = Evidence(tuple(replace(made, code=today) for made in everything()))
    forged = Evidence(tuple(replace(made, result=made.result | {"square": -1}) for made in good.records))
    (outcome,) = again.of_outside([experiment()], good)
    assert outcome.holds
    assert (outcome.runs, outcome.repeated) == (12, 3)
    (outcome,) = again.of_outside([experiment()], forged)
    assert [difference.path for difference in outcome.different] == ["square"] * 3
    assert again.of_outside([experiment()], Evidence(tuple(everything()))) == ()


def test_a_run_whose_code_is_unknown_is_left_alone(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, *(record(x, code="") for x in range(6)))
    assert checked(ledger) == ()
    assert fresh(ledger) == 0


def test_runs_that_are_not_asked_for_any_more_are_refused(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, *everything())
    (outcome,) = checked(ledger, experiment([{"tier": "quick", "x": 77}]))
    assert "asks for none of these runs" in outcome.refused
    assert fresh(ledger) == 0


def test_another_machine_needs_a_tolerance(tmp_path: Path) -> None:
    elsewhere = environment() | {"cpu": "another"}
    ledger = ledger_of(tmp_path, *(record(x, environment=elsewhere, result={"square": x**2 + 1e-9}) for x in range(6)))
    (refused,) = checked(ledger)
    assert "made with cpu another, and no tolerance is stated" in refused.refused
    (outcome,) = checked(ledger, experiment(tolerance=1e-6))
    assert outcome.holds
    assert ledger.read().of(KIND)[0].result["exact"] is False


def test_a_tolerance_is_no_excuse_on_the_same_machine() -> None:
    one, other = record(3), record(3, code="new", result={"square": 9.0000001})
    assert differences(one, other, experiment(tolerance=0.1))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"a": 1}, {"a": 1.0}),
        ({"a": []}, {}),
        ({"a": [], "b": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": True}, {"a": 1}),
        ({"a": {}}, {}),
    ],
)
def test_what_vanishes_comes_or_changes_its_type_differs(before: dict[str, Any], now: dict[str, Any]) -> None:
    one, other = (replace(record(1), result=result) for result in (before, now))
    assert differences(one, other, experiment())
    assert not differences(one, one, experiment())


def test_successions_lead_from_code_to_code(tmp_path: Path) -> None:
    links = [("a", "b", True), ("b", "c", True), ("x", "c", False), ("c", "d", True)]
    made = tuple(
        Record(KIND, {"experiment": "demo", "from": old, "to": new}, 0, {"holds": holds}, {}, 0.0)
        for old, new, holds in links
    )
    assert accepted(Evidence(made), {"demo": "c", "other": "c"}) == {
        "demo": frozenset("abc"),
        "other": frozenset("c"),
    }


@given(st.integers(1, 60), st.text("abcdef0123456789", min_size=16, max_size=16))
@settings(deadline=None)
def test_the_sample_is_drawn_by_the_hash_and_spread_over_configurations(count: int, code: str) -> None:
    runs = population(Evidence(tuple(record(x, seed) for x in range(count) for seed in range(3))), "demo", OLD)
    chosen = sample(runs, code)
    assert len({run.run for run in chosen}) == max(3, math.ceil(0.05 * len(runs)))
    assert chosen == sample(population(Evidence(tuple(reversed(runs))), "demo", OLD), code)
    size = len(runs) / len(chosen)
    for block, run in enumerate(chosen):
        assert math.floor(block * size) <= runs.index(run) < math.ceil((block + 1) * size)


def test_another_hash_draws_another_sample() -> None:
    runs = population(Evidence(tuple(record(x, seed) for x in range(30) for seed in range(3))), "demo", OLD)
    assert len({tuple(run.run for run in sample(runs, code)) for code in "abcdefgh"}) == 8


@pytest.mark.parametrize(("runs", "repeated"), [(6, 3), (7, 3), (10, 4), (11, 3), (9, 9)])
def test_the_printed_bound_holds_whichever_runs_differ(runs: int, repeated: int) -> None:
    blocks = [range(i * runs // repeated, (i + 1) * runs // repeated) for i in range(repeated)]
    bound = may_differ(runs, repeated)
    for differing in range(math.ceil(bound * runs), runs + 1):
        if differing == 0 or differing < bound * runs:
            continue
        for bad in combinations(range(runs), differing):
            missed = math.prod(sum(run not in bad for run in block) / len(block) for block in blocks)
            assert missed <= 0.05 + 1e-12


def test_the_report_says_by_what_earlier_runs_count(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, *everything())
    checked(ledger)
    today = code_of(experiment())
    assert shown_by(ledger.read(), "demo", OLD, today) == (
        f"demo: made by code {OLD}; 3 of 12 runs repeated under code {today}, all equal: at 95 % fewer than 64 % could "
        "differ",
    )
    assert shown_by(ledger.read(), "demo", today, today) == ()
