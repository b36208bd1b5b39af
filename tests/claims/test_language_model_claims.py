"""Claims about trained language models: what synthetic runs support, refute, or leave open, by the protocol's rules."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from audits.claims.claim import ClaimVerdict, Judgement
from audits.claims.hubrouter import (
    attack_council_worth,
    attack_own_chunk,
    attack_selection,
    chunk_size,
    graduated_25,
    hub_gpt_causal,
    hub_gpt_ppl,
    hub_jamba_ppl,
    retrofit,
)
from audits.evidence.ledger import Evidence, Record
from audits.experiments.language_models import families, leak_dose, scaling, systems
from audits.experiments.language_models import retrofit as retrofitting
from audits.experiments.language_models._arm import FIRST_SEED, SIZES, Arm, Cell, arm_of
from audits.experiments.language_models._doses import COUNCIL, SAFE

BLOCKS, TIER = 8, "full"
LEAK = [{"probe": "perturbation", "leak_class": "dense"}]
PRINTED_JAMBA, PRINTED_QUARTER = math.log(200.2 / 209.0), math.log(268.0 / 282.4)
Loss = Callable[[Arm], float]  # mean nats of an arm


def noise(name: str, sd: float) -> float:
    """Reproducible noise, another for every name."""
    return random.Random(name).gauss(0, sd)


def blocks(name: str, mean: float, seed: int) -> list[float]:
    """Losses by block: noise of seed and block that all arms share, and a little of the arm's own."""
    own = noise(f"{name} {seed}", 0.002)
    return [mean + noise(f"seed {seed}", 0.02) + noise(f"block {b}", 0.1) + own for b in range(BLOCKS)]


def record(arm: Arm, seed: int, mean: float, masked: float | None = None, verdict: str = "PASS") -> Record:
    name = str(arm)
    result = {
        "block_nats": blocks(name, mean, seed),
        "clean_mask_blocks": None if masked is None else blocks(f"masked {name}", masked, seed),
        "stages": [[30, mean + 1.0], [75, mean + 0.5], [150, mean + 0.2]],
        "diverged": False,
        "readable": 0.25,
        "parameters": 1000,
        "operations": {"128": 128_000, "1024": 2_048_000},
        "audit": {"verdict": verdict, "findings": LEAK if verdict == "LEAK" else []},
    }
    size = SIZES[TIER]
    config = {"tier": TIER, "stage": "judged", **asdict(arm), **size.shape, "lr": 4e-3}
    return Record("language-model", config, seed, result, {}, 1.0)


def study(cells: tuple[Cell, ...], loss: Loss, leaky: str = "LEAK") -> list[Record]:
    """All runs of these cells."""
    found = []
    for cell in cells:
        safe = cell.arm.routing in SAFE
        for seed in range(FIRST_SEED, FIRST_SEED + cell.seeds):
            masked, verdict = (None, "PASS") if safe else (5.0, leaky)
            found.append(record(cell.arm, seed, loss(cell.arm), masked, verdict))
    return found


def systems_and_scaling(loss: Loss, leaky: str = "LEAK") -> Evidence:
    cells = (*systems.study_cells(TIER), *scaling.study_cells(TIER), *families.study_cells(TIER))
    return Evidence(tuple(study(cells, loss, leaky)))


def shifted(by: dict[str, float], slope: float = 0.0) -> Loss:
    """3.8 nats, and the shift of an arm's pattern (with "bidirectional" or "chunk" where it is that); hub arms also
    change by `slope` with each doubling of the width from 64.
    """

    def loss(arm: Arm) -> float:
        kind = arm.routing if arm.routing != "causal" else "chunk" if arm.council == "chunk" else ""
        moved = by.get(f"{arm.pattern} {kind}".strip(), by.get(arm.pattern, 0.0))
        return 3.8 + moved + (slope * math.log2(arm.width / 64) if "H" in arm.pattern else 0.0)

    return loss


def words(judgement: Judgement) -> int:
    return len(judgement.reason.split())


@pytest.mark.parametrize(
    ("hub", "slope", "verdict"),
    [
        (PRINTED_JAMBA, 0.0, ClaimVerdict.SUPPORTED),
        (0.0, 0.0, ClaimVerdict.REFUTED),  # not significant, but the printed ratio lies outside at every width
        (0.05, 0.0, ClaimVerdict.REFUTED),
        (0.01, -0.02, ClaimVerdict.INCONCLUSIVE),  # outside, but width leads towards it
        (0.01, 0.02, ClaimVerdict.REFUTED),
    ],
)
def test_a_printed_ratio_is_refuted_where_it_lies_outside_and_width_does_not_lead_there(
    hub: float, slope: float, verdict: ClaimVerdict
) -> None:
    judgement = hub_jamba_ppl.judge(systems_and_scaling(shifted({"MMHM": hub}, slope)))
    assert judgement.verdict is verdict, judgement.reason
    assert judgement.minimum_detectable_effect
    assert words(judgement) <= 25


def test_noise_never_refutes_a_ratio() -> None:
    def loss(arm: Arm) -> float:
        return 3.8 + (noise(str(arm), 0.2) if arm.pattern == "MMHM" else 0.0)

    wide = systems_and_scaling(loss)
    found = hub_jamba_ppl.judge(wide).verdict
    assert found in (ClaimVerdict.INCONCLUSIVE, ClaimVerdict.REFUTED)
    only = Evidence(tuple(r for r in wide.records if r.config["width"] == 64 and not r.config["text"]))
    assert hub_jamba_ppl.judge(only).verdict is not ClaimVerdict.REFUTED  # without the scaling study nothing is


def test_a_gain_that_only_the_bidirectional_arm_has_is_void() -> None:
    judgement = hub_jamba_ppl.judge(systems_and_scaling(shifted({"MMHM bidirectional": PRINTED_JAMBA})))
    assert judgement.verdict is ClaimVerdict.REFUTED
    assert "leaks" in judgement.details


@pytest.mark.parametrize(
    ("alone", "said"), [(0.0, "own chunk does as well"), (0.05, "contributes"), (-0.05, "own chunk does as well")]
)
def test_the_sentence_says_what_attention_in_the_own_chunk_explains(alone: float, said: str) -> None:
    judgement = hub_gpt_ppl.judge(systems_and_scaling(shifted({"HHHH": 0.0144, "HHHH chunk": 0.0144 + alone})))
    assert said in judgement.reason
    assert judgement.verdict is ClaimVerdict.SUPPORTED, judgement.reason
    assert words(judgement) <= 25


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [
        ({"AAAH": PRINTED_QUARTER}, ClaimVerdict.SUPPORTED),
        ({"AAAH": PRINTED_QUARTER, "AHAH": -0.2}, ClaimVerdict.INCONCLUSIVE),  # another share is better still
        ({"AAAH": 0.0}, ClaimVerdict.REFUTED),
        ({"AAAH bidirectional": PRINTED_QUARTER}, ClaimVerdict.REFUTED),
    ],
)
def test_a_quarter_replaced_has_to_have_the_printed_ratio_and_be_the_best(
    losses: dict[str, float], verdict: ClaimVerdict
) -> None:
    judgement = graduated_25.judge(systems_and_scaling(shifted(losses)))
    assert judgement.verdict is verdict, judgement.reason
    assert words(judgement) <= 25


@pytest.mark.parametrize(
    ("alone", "verdict"),
    [(0.0, ClaimVerdict.SUPPORTED), (-0.1, ClaimVerdict.SUPPORTED), (0.1, ClaimVerdict.REFUTED)],
)
def test_the_attack_on_routing_succeeds_where_the_own_chunk_alone_is_as_good(
    alone: float, verdict: ClaimVerdict
) -> None:
    chunks = {f"{pattern} chunk": alone for pattern in ("HHHH", "MMHM", "AAAH")}
    judgement = attack_own_chunk.judge(systems_and_scaling(shifted(chunks)))
    assert judgement.verdict is verdict, judgement.reason
    assert words(judgement) <= 25
    parts, table = judgement.tables
    assert {row[1] for row in parts.rows} >= {"unchanged", "own chunk alone", "random selection", "no read-out"}
    assert len(table.rows) == 3 + len(families.FAMILIES)
    assert len(judgement.figures) == 3


@pytest.mark.parametrize("claim", [hub_jamba_ppl, hub_gpt_ppl, graduated_25, attack_own_chunk])
def test_a_causal_arm_that_leaks_closes_the_gate_of_every_perplexity_claim(claim: Any) -> None:
    evidence = systems_and_scaling(shifted({}))
    leaking = [replace(r, result=r.result | {"audit": {"verdict": "LEAK", "findings": LEAK}}) for r in evidence.records]
    judgement = claim.judge(Evidence(tuple(leaking)))
    assert (judgement.verdict, judgement.gate) == (ClaimVerdict.INCONCLUSIVE, False)


@pytest.mark.parametrize("claim", [hub_jamba_ppl, hub_gpt_ppl, graduated_25, attack_own_chunk, attack_council_worth])
def test_a_diverged_run_leaves_a_claim_open(claim: Any) -> None:
    cells = (*systems.study_cells(TIER), *scaling.study_cells(TIER), *leak_dose.study_cells(TIER))
    lost = [replace(r, result=r.result | {"diverged": True, "block_nats": None}) for r in study(cells, shifted({}))]
    judgement = claim.judge(Evidence(tuple(lost)))
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert "diverged" in judgement.reason


def dosed(gain: float, masked: float, chunk: Callable[[Arm], float] = lambda arm: 0.0) -> Evidence:
    """Doses that gain so much, evaluated under the clean mask at so much."""
    found = study(leak_dose.study_cells(TIER), lambda a: 3.8 + chunk(a) - (0.0 if a.routing in SAFE else gain))
    return Evidence(
        tuple(
            r if r.config["routing"] in SAFE else replace(
                r, result=r.result | {"clean_mask_blocks": blocks(f"masked {r.config}", masked, r.seed)}
            )
            for r in found
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("gain", "masked", "verdict"),
    [
        (0.5, 4.4, ClaimVerdict.SUPPORTED),
        (0.5, 3.4, ClaimVerdict.REFUTED),
        (0.0, 4.4, ClaimVerdict.INCONCLUSIVE),
        (-0.1, 4.4, ClaimVerdict.INCONCLUSIVE),
    ],
)
def test_a_dose_has_to_gain_and_to_lose_it_under_the_clean_mask(
    gain: float, masked: float, verdict: ClaimVerdict
) -> None:
    judgement = attack_council_worth.judge(dosed(gain, masked))
    assert judgement.verdict is verdict, judgement.reason
    assert words(judgement) <= 25
    (table,) = judgement.tables
    assert len(table.rows) == len(leak_dose.DOSES)


def test_which_doses_fit_the_published_gain_is_computed() -> None:
    table = attack_council_worth.judge(dosed(-math.log1p(-0.042), 4.4)).tables[0]
    assert "yes" in {row[-1] for row in table.rows}
    table = attack_council_worth.judge(dosed(0.5, 4.4)).tables[0]
    assert {row[-1] for row in table.rows} == {"no"}


def test_a_dose_whose_leak_no_audit_sees_says_nothing() -> None:
    unseen = Evidence(tuple(study(leak_dose.study_cells(TIER), shifted({}), leaky="PASS")))
    judgement = attack_council_worth.judge(unseen)
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert "no leak" in judgement.reason


@pytest.mark.parametrize(
    ("by_chunk", "verdict"),
    [
        (lambda a: 0.0 if a.routing in SAFE else -0.2 * math.log2(a.chunk / 16), ClaimVerdict.SUPPORTED),
        (lambda a: 0.3 * math.log2(a.chunk / 16) if a.routing in SAFE else 0.0, ClaimVerdict.REFUTED),
        (lambda a: 0.0 if a.routing != COUNCIL else 0.2 * math.log2(a.chunk / 16), ClaimVerdict.INCONCLUSIVE),
        (lambda a: 0.0, ClaimVerdict.INCONCLUSIVE),
    ],
)
def test_the_chunk_size_needs_equality_after_the_fix_and_every_dose_before_it(
    by_chunk: Callable[[Arm], float], verdict: ClaimVerdict
) -> None:
    judgement = chunk_size.judge(dosed(0.5, 4.4, by_chunk))
    assert judgement.verdict is verdict, judgement.reason
    assert words(judgement) <= 25


def attempt(seed: int, **means: float) -> Record:
    ways = {**dict.fromkeys(("pretrained", "just swapped", *retrofitting.WAYS), 3.7)}
    ways |= {retrofitting.ATTENTION: means["attention"], retrofitting.SCRATCH: means["scratch"]}
    ways[retrofitting.DISTILLED] = means["best"]
    result = {way: {"block_nats": blocks(way, mean, seed), "diverged": False} for way, mean in ways.items()}
    config = {"tier": TIER, "stage": "judged", "steps": 300, "tuning": 150}
    return Record("retrofit", config, seed, result, {}, 1.0)


@pytest.mark.parametrize(
    ("best", "verdict"),
    [(3.65, ClaimVerdict.SUPPORTED), (3.30, ClaimVerdict.REFUTED), (3.55, ClaimVerdict.INCONCLUSIVE)],
)
def test_a_retrofit_fails_where_it_is_worse_than_both_controls(best: float, verdict: ClaimVerdict) -> None:
    runs = tuple(attempt(seed, attention=3.4, scratch=3.6, best=best) for seed in range(100, 105))
    judgement = retrofit.judge(Evidence(runs))
    assert judgement.verdict is verdict, judgement.reason
    assert retrofitting.DISTILLED in judgement.reason
    assert words(judgement) <= 25
    assert retrofit.judge(Evidence(runs[:2])).missing


def test_fewer_seeds_than_were_registered_decide_nothing() -> None:
    few = Evidence(tuple(r for r in systems_and_scaling(shifted({})).records if r.seed < FIRST_SEED + 2))
    for claim in (hub_jamba_ppl, hub_gpt_ppl, graduated_25, attack_own_chunk, hub_gpt_causal, attack_council_worth):
        assert claim.judge(few).missing


@pytest.mark.parametrize(
    ("verdict", "expected", "gate"),
    [
        ("PASS", ClaimVerdict.SUPPORTED, True),
        ("LEAK", ClaimVerdict.REFUTED, False),
        ("UNDETERMINED", ClaimVerdict.INCONCLUSIVE, False),
    ],
)
def test_one_trained_model_that_does_not_pass_closes_the_causality_gate(
    verdict: str, expected: ClaimVerdict, gate: bool
) -> None:
    hub_gpt = SIZES[TIER].arm("HHHH")
    *rest, last = (r for r in systems_and_scaling(shifted({})).records if arm_of(r.config) == hub_gpt)
    changed = replace(last, result=last.result | {"audit": {"verdict": verdict, "findings": []}})
    judgement = hub_gpt_causal.judge(Evidence((*rest, changed)))
    assert (judgement.verdict, judgement.gate) == (expected, gate)


def selection(seed: int, perturbation: str, gradient: str = "PASS") -> Record:
    result = {"perturbation": perturbation, "gradient": gradient, "audit": {"verdict": perturbation, "findings": []}}
    return Record("selection-attack", {}, seed, result, {}, 1.0)


def test_one_model_that_leaks_shows_that_the_mask_is_not_enough() -> None:
    judgement = attack_selection.judge(Evidence((selection(0, "PASS"), selection(1, "LEAK"))))
    assert judgement.verdict is ClaimVerdict.SUPPORTED
    assert "1 of 2" in judgement.reason
    assert "not verified" in judgement.details
    trained = study(leak_dose.study_cells(TIER), shifted({}))
    with_runs = attack_selection.judge(Evidence((selection(1, "LEAK"), *trained)))
    assert "matched arm" in with_runs.details


def test_only_passes_refute_that_the_mask_is_not_enough() -> None:
    passes = tuple(selection(seed, "PASS") for seed in range(3))
    assert attack_selection.judge(Evidence(passes)).verdict is ClaimVerdict.REFUTED
    assert attack_selection.judge(Evidence(passes[:2])).missing
    undecided = Evidence((*passes[:2], selection(2, "UNDETERMINED")))
    assert attack_selection.judge(undecided).verdict is ClaimVerdict.INCONCLUSIVE
