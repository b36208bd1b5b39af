"""The distant attack on made-up runs: every verdict, the gate, and what the report shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from audits.claims.claim import ClaimVerdict, Judgement
from audits.claims.figures import Curves, Dots
from audits.claims.hubrouter.attack_distant import CLAIM
from audits.evidence.ledger import Evidence, Record
from audits.experiments.language_models.distant import ARMS, BLOCKS, CONTROL, LOCAL, ROUTED

ASKED = 1600
NOISE = (0.01, -0.01, 0.0)


def run(task: str, arm: str, seed: int, accuracy: float, **changed: Any) -> Record:
    correct, block = round(ASKED * accuracy), ASKED // BLOCKS
    config = {"tier": "full", "task": task, "arm": arm, "lr": 4e-3, "stages": [{"sizes": {"length": 512}}]}
    result = {
        "distant": [ASKED, correct],
        "kept": [10, 5],
        "own_chunk": [0, 0],
        "distances": [[0, 256, 0, 0], [256, 512, ASKED, correct]],
        # Blocks differ a little, alike in all arms.
        "blocks": [[block, round(block * accuracy) + part % 2] for part in range(BLOCKS)],
        "selected": [] if arm in (CONTROL, LOCAL, "window") else [0.4, 0.5],
        "nats": 1.0,
        "parameters": 1000,
        "diverged": False,
        "audit": "PASS" if seed == 100 else None,
        **changed,
    }
    return Record("distant", config, seed, result, {}, 1.0)


def evidence(
    gains: dict[str, float],
    control: dict[str, float] | None = None,
    noise: Sequence[float] = NOISE,
    **changed: Any,
) -> Evidence:
    """Three seeds of every arm; `gains` of HubRouter over its own chunk, `control` the accuracy of attention."""
    solved = control or {}
    level = {task: {CONTROL: solved.get(task, 0.98), ROUTED: 0.1 + gain} for task, gain in gains.items()}
    return Evidence(
        tuple(
            run(task, arm, 100 + at, level[task].get(arm, 0.1) + (noise[at] if arm == ROUTED else 0), **changed)
            for task in gains
            for arm in ARMS
            for at in range(len(noise))
        )
    )


def judged(*args: Any, **kwargs: Any) -> Judgement:
    return CLAIM.judge(evidence(*args, **kwargs))


def test_nothing_on_both_tasks_supports_the_attack() -> None:
    judgement = judged({"mqar": 0.0, "repeats": 0.01})
    assert judgement.verdict is ClaimVerdict.SUPPORTED
    assert len(judgement.evidence) == 2 * 3 * len(ARMS)


def test_a_gain_on_one_task_refutes_it_whatever_the_other_shows() -> None:
    for other in ({}, {"control": {"mqar": 0.5}}):
        judgement = judged({"mqar": 0.0, "repeats": 0.4}, **other)
        assert judgement.verdict is ClaimVerdict.REFUTED
        assert "40.0 points on planted repeats" in judgement.reason


@pytest.mark.parametrize("gain", [0.0, 0.4])
def test_a_task_that_attention_does_not_solve_decides_nothing(gain: float) -> None:
    judgement = judged({"mqar": gain, "repeats": 0.0}, control={"mqar": 0.89})
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert judgement.reason.startswith("Open: attention solves associative recall to 89.0 %.")


def test_an_interval_around_the_margin_leaves_it_open_with_what_would_resolve_it() -> None:
    judgement = judged({"mqar": 0.05, "repeats": 0.0}, noise=(0.06, -0.05, 0.0))
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert judgement.minimum_detectable_effect
    assert judged({"mqar": 0.03, "repeats": 0.0}, noise=(0.06, -0.05, 0.0)).seeds_needed


def test_the_sequences_widen_the_interval() -> None:
    made = evidence({"mqar": 0.015, "repeats": 0.0})
    assert CLAIM.judge(made).verdict is ClaimVerdict.SUPPORTED
    for record in made.records:
        if record.config["arm"] == ROUTED:
            even = record.result["blocks"]
            record.result["blocks"] = [
                [asked, correct + (10 if part % 2 else -10)] for part, (asked, correct) in enumerate(even)
            ]
    assert CLAIM.judge(made).verdict is ClaimVerdict.INCONCLUSIVE


@pytest.mark.parametrize(("changed", "gate"), [({"diverged": True}, True), ({"audit": "LEAK"}, False)])
def test_diverged_and_leaking_models_decide_nothing(changed: dict[str, Any], gate: bool) -> None:
    judgement = judged({"mqar": 0.4, "repeats": 0.4}, **changed)
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert judgement.gate is gate


def test_an_ablation_that_diverged_is_counted_in_the_figure_and_decides_nothing() -> None:
    made = evidence({"mqar": 0.0, "repeats": 0.4})
    lost = {"diverged": True, "nats": None}
    changed = tuple(
        Record(r.experiment, r.config, r.seed, {k: lost.get(k, r.result[k]) for k in ("audit", *lost)}, {}, 1.0)
        if (r.config["arm"], r.seed) == ("random selection", 100)
        else r
        for r in made.records
    )
    judgement = CLAIM.judge(Evidence(changed))
    assert judgement.verdict is ClaimVerdict.REFUTED
    dots = next(figure for figure in judgement.figures if isinstance(figure, Dots))
    assert {c.label: c.failed for c in dots.columns if c.failed} == {"random selection": 1}


def test_missing_seeds_and_tuning_runs_are_no_evidence() -> None:
    made = evidence({"mqar": 0.4, "repeats": 0.4})
    assert CLAIM.judge(Evidence()).missing
    assert CLAIM.judge(Evidence(tuple(r for r in made.records if r.seed < 102))).missing
    assert CLAIM.judge(Evidence(tuple(r for r in made.records if r.config["task"] == "mqar"))).missing
    tuning = run("mqar", ROUTED, 900, 1.0)
    assert CLAIM.judge(Evidence((*made.records, tuning))) == CLAIM.judge(made)


def test_the_figures_show_every_seed_and_every_distance_that_was_asked() -> None:
    figures = judged({"mqar": 0.0, "repeats": 0.4}).figures
    dots, curves = (next(f for f in figures if isinstance(f, kind)) for kind in (Dots, Curves))
    assert isinstance(dots, Dots)
    assert isinstance(curves, Curves)
    assert [column.label for column in dots.columns] == list(ARMS)
    assert all(len(column.points) == 3 for column in dots.columns)
    assert all([point.x for point in series.points] == [384] for series in curves.series)


def test_every_reason_is_one_short_sentence() -> None:
    cases = [
        ({"mqar": a, "repeats": b}, {"mqar": c, "repeats": c})
        for a in (0, 0.05, 0.4)
        for b in (0, 0.05, 0.4)
        for c in (0.5, 0.98)
    ]
    for gains, control in cases:
        reason = judged(gains, control=control, noise=(0.06, -0.05, 0.0)).reason
        assert len(reason.split()) <= 25
        assert reason.count(". ") == 0
