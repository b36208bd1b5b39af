"""Our attack on every perplexity claim: does routing add anything to attention inside the own chunk?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind, no_run_yet
from audits.claims.figures import Dots
from audits.claims.hubrouter._gate import void
from audits.claims.hubrouter._parts import variants
from audits.claims.hubrouter._ratio import MARGIN, parts_table
from audits.claims.hubrouter._trained import (
    SEEDS,
    Models,
    column,
    compare,
    detectable_text,
    models,
    perplexity,
    rates_text,
    ratio_text,
    runs_of,
)
from audits.evidence.ledger import Evidence
from audits.experiments.language_models import families
from audits.experiments.language_models._arm import SIZES, Arm
from audits.experiments.language_models.systems import own_chunk, replaced, systems
from audits.formatting import Table
from audits.statistics.crossed import PairedComparison


def hub_arms(found: Models) -> dict[str, Arm]:
    """The hub arms whose own chunk alone was trained too, by name."""
    size = SIZES[found.tier]
    named = {name: arm for name, arm in systems(size).items() if name in ("Hub-GPT", "Hub-Jamba")}
    named |= {f"{100 * share:.0f} % replaced": arm for share, arm in replaced(size).items() if share == 0.25}
    return {name: arm for name, arm in named.items() if found.complete((arm, own_chunk(arm)))}


def judge(evidence: Evidence) -> Judgement:
    """Every hub arm against the same with its own chunk alone."""
    found = models(evidence)
    named = hub_arms(found)
    if not named:
        return no_run_yet(f"a hub model and its own chunk alone with {SEEDS} paired seeds")
    whole = [found.of(arm) for arm in named.values()]
    alone = [found.of(own_chunk(arm)) for arm in named.values()]
    if problem := void(found.scale, [*whole, *alone], [*whole, *alone]):
        return problem
    tests = {name: compare(a, b) for name, a, b in zip(named, whole, alone, strict=True)}
    widest = max(tests.values(), key=lambda test: test.mde)
    changes = sorted(math.expm1(test.difference) for test in tests.values())
    shown = "; ".join(f"{name} {ratio_text(test)}" for name, test in tests.items())
    return Judgement(
        decide(list(tests.values())),
        sentence(tests),
        "A scale or a task at which distant tokens help; see attack-distant.",
        minimum_detectable_effect=detectable_text(widest),
        seeds_needed=widest.seeds_needed,
        ours=f"{changes[0]:+.1%} to {changes[-1]:+.1%} by routing, {widest.n} seeds",
        evidence=runs_of(*whole, *alone),
        details=f"Perplexity with routing over that of the own chunk alone: {shown} ({found.scale}).",
        tables=(
            parts_table(found, "Hub arms and their ablations", {n: variants(found, a) for n, a in named.items()}),
            families_table(found),
        ),
        figures=tuple(_figure(found, name, variants(found, arm)) for name, arm in named.items()),
    )


def decide(tests: Sequence[PairedComparison]) -> ClaimVerdict:
    """The attack succeeds where routing lowers the loss of no hub arm by the margin; one arm it lowers refutes."""
    if any(test.interval.high < -MARGIN for test in tests):
        return ClaimVerdict.REFUTED
    succeeded = all(test.interval.low > -MARGIN for test in tests)
    return ClaimVerdict.SUPPORTED if succeeded else ClaimVerdict.INCONCLUSIVE


def sentence(tests: Mapping[str, PairedComparison]) -> str:
    """The outcome in one sentence."""
    helped = [name for name, test in tests.items() if test.interval.high < -MARGIN]
    open_ = [name for name, test in tests.items() if test.interval.low <= -MARGIN and name not in helped]
    if helped:
        return f"Routing lowers the perplexity of {' and '.join(helped)} below that of its own chunk alone."
    if open_:
        shown = [name for name in tests if name not in open_]
        nothing = f"Routing gains {' and '.join(shown)} nothing; whether it gains" if shown else "Whether routing gains"
        return f"{nothing} {' and '.join(open_)} 1 % of perplexity stays open."
    return f"Hubs and selection lower perplexity by less than 1 % in all {len(tests)} hub models tested."


def families_table(found: Models) -> Table:
    """The efficient-attention families: perplexity, operations and the audit's word, tuned alike."""
    size = SIZES[found.tier]
    named = systems(size)
    arms = {
        "Transformer": named["Transformer"],
        "Hub-GPT": named["Hub-GPT"],
        "Hub-GPT, own chunk alone": own_chunk(named["Hub-GPT"]),
        **families.arms(found.tier),
    }
    rows = []
    for name, arm in arms.items():
        if runs := found.of(arm):
            counted = {int(n): int(value) for n, value in runs[0].result.get("operations", {}).items()}
            per_token = [f"{counted[n] / n / 1e3:.0f}" for n in sorted(counted)]
            verdict = " and ".join(sorted({model.verdict for model in runs}))
            rate = rates_text(runs, found.tier)
            rows.append((name, str(len(runs)), perplexity(runs), rate, *(per_token or ["", ""])[:2], verdict))
    header = ("model", "seeds", "perplexity", "rate", "kFLOP a token, n", "the same, 8 n", "audit")
    return Table("Efficient attention at one scale, every rate tuned", header, tuple(rows))


def _figure(found: Models, name: str, arms: Sequence[tuple[str, Arm]]) -> Dots:
    columns = tuple(column(label, found.of(arm)) for label, arm in arms if found.of(arm))
    return Dots(f"What explains the perplexity of {name}", "validation perplexity", columns)


CLAIM = Claim(
    id="attack-own-chunk",
    statement="HubRouter's hubs and selection add nothing to attention inside the own chunk.",
    source="our attack on every perplexity of arXiv:2604.22442 that a hub model has",
    kind=Kind.ATTACK,
    test="Hub-GPT, Hub-Jamba and the Transformer with a quarter replaced, each against the same with its own chunk "
    f"alone and no read-out of the hubs, each rate tuned, at least {SEEDS} paired seeds, all audited. SUPPORTED if no "
    f"interval reaches a gain of {MARGIN} nats, REFUTED if one lies wholly beyond it.",
    refuted_by=f"A hub model whose routing lowers its loss by more than {MARGIN} nats.",
    judge=judge,
    needs=("systems", "families"),
)
