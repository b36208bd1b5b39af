"""Attention replaced by HubRouter: is the model better, and is it still better where routing is strictly causal?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from audits.claims.claim import ClaimVerdict
from audits.claims.hubrouter._trained import Trained, compare, leaks, perplexity, ratio_text
from audits.formatting import Table, p_text
from audits.statistics.comparison import PairedComparison
from audits.statistics.levels import ALPHA


@dataclass(frozen=True)
class Replacement:
    """One replaced model in both arms, and the model with attention, paired by seed [seeds]."""

    name: str
    control: Sequence[Trained]
    causal: Sequence[Trained]
    bidirectional: Sequence[Trained]

    @property
    def strict(self) -> PairedComparison:
        """Strictly causal replacement minus control, nats."""
        return compare(self.causal, self.control)

    @property
    def published(self) -> PairedComparison:
        """Bidirectional replacement, as published, minus control, nats."""
        return compare(self.bidirectional, self.control)

    @property
    def verdict(self) -> ClaimVerdict:
        """On "the replaced model is better": what only a leaking arm shows is void, and refutes."""
        strict, published = self.strict, self.published
        if strict.p <= ALPHA:
            return ClaimVerdict.SUPPORTED if strict.difference < 0 else ClaimVerdict.REFUTED
        only_leaky = published.p <= ALPHA and published.difference < 0 and leaks(self.bidirectional)
        return ClaimVerdict.REFUTED if only_leaky else ClaimVerdict.INCONCLUSIVE

    @property
    def sentence(self) -> str:
        """Both arms in words."""
        seen = "which the audit finds leaking" if leaks(self.bidirectional) else "in which the audit finds no leak"
        return (
            f"With strictly causal routing {self.name} has {ratio_text(self.strict)} times the perplexity of the "
            f"model with attention (p = {p_text(self.strict.p)}, {self.strict.n} paired seeds); with bidirectional "
            f"routing, {seen}, {ratio_text(self.published)} times."
        )

    @property
    def row(self) -> tuple[str, ...]:
        """Mean perplexities and both comparisons."""
        masked = [model.clean_mask_nats for model in self.bidirectional]
        under = "not finite" if None in masked else f"{_mean_perplexity(masked)}"
        arms = (perplexity(self.causal), perplexity(self.bidirectional), under)
        tests = ((ratio_text(t), p_text(t.p)) for t in (self.strict, self.published))
        return (self.name, perplexity(self.control), *arms, *(cell for pair in tests for cell in pair))


def replacement_table(title: str, found: Sequence[Replacement]) -> Table:
    """Every replacement, one row each."""
    header = (
        "model",
        "attention",
        "causal",
        "bidirectional",
        "the same weights, clean mask",
        "causal / attention",
        "p",
        "bidirectional / attention",
        "p",
    )
    return Table(title, header, tuple(item.row for item in found))


def _mean_perplexity(nats: Sequence[float | None]) -> str:
    known = [value for value in nats if value is not None]
    return f"{math.exp(sum(known) / len(known)):.1f}"
