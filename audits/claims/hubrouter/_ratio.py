"""The rule for a printed ratio of perplexities: our interval at the tier's scale, over widths and texts, and by parts.

A difference that is not significant never refutes. What refutes is a printed ratio outside our interval at every width,
with no trend over widths that leads towards it (docs/protocol.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from audits.claims.claim import ClaimVerdict
from audits.claims.figures import CurvePoint, Curves, Series
from audits.claims.hubrouter._trained import Models, Runs, compare, differences, ratio_text, runs_of
from audits.experiments.language_models._arm import Arm
from audits.experiments.language_models.scaling import TEXTS, WIDTHS
from audits.experiments.language_models.systems import own_chunk
from audits.formatting import Table
from audits.statistics.crossed import PairedComparison, crossed, slope_weights

RULE = (
    "The 95 % interval of the ratio of perplexities over seeds and text. SUPPORTED: it lies on the claimed side of 1 "
    "and holds the printed ratio. REFUTED: the printed ratio lies outside at every width of the scaling study, and no "
    "trend over widths leads towards it. What only a leaking arm shows is void."
)
MARGIN = 0.01  # nats: a part that changes less contributes nothing (fixed beforehand)
Pairs = Mapping[tuple[str, int], tuple[Runs, Runs]]  # treated and control by text and width
NAMES = {"": "source code"}  # of the texts; another is prose


@dataclass(frozen=True)
class AtWidth:
    """A comparison at one width on one text."""

    width: int
    text: str
    test: PairedComparison


@dataclass(frozen=True)
class Ratio:
    """Two arms compared; `printed` is the published ratio of perplexities, treated over control."""

    treated: str
    control: str
    printed: float
    test: PairedComparison
    scaled: tuple[AtWidth, ...]
    slope: PairedComparison | None  # nats for each doubling of the width, over both texts
    routing: PairedComparison | None  # the treated arm less the same with its own chunk alone
    runs: tuple[str, ...]

    @property
    def outside(self) -> bool:
        """Whether the printed ratio lies outside the interval at every width."""
        tests = [self.test, *(item.test for item in self.scaled)]
        return bool(self.scaled) and not any(_holds(test, self.printed) for test in tests)

    @property
    def approaching(self) -> bool:
        """Whether the ratio significantly moves towards the printed one with width."""
        if self.slope is None or not self.slope.significant:
            return False
        return (self.slope.difference > 0) == (math.log(self.printed) > self.test.difference)

    @property
    def claimed(self) -> bool:
        """Whether the interval lies wholly on the claimed side of 1."""
        return self.test.interval.low > 0 if self.printed > 1 else self.test.interval.high < 0

    @property
    def verdict(self) -> ClaimVerdict:
        """By the rule of the protocol."""
        if self.claimed and _holds(self.test, self.printed):
            return ClaimVerdict.SUPPORTED
        return ClaimVerdict.REFUTED if self.outside and not self.approaching else ClaimVerdict.INCONCLUSIVE

    @property
    def parts(self) -> str:
        """What routing contributes, in a few words; empty where nothing is known."""
        if self.routing is None:
            return ""
        if self.routing.interval.low > -MARGIN:
            return "; its own chunk does as well"
        return "; its routing contributes" if self.routing.interval.high < -MARGIN else "; routing's part is open"

    @property
    def ours(self) -> str:
        """The ratio with its interval and seeds."""
        return f"{ratio_text(self.test)}, {self.test.n} seeds"

    @property
    def sentence(self) -> str:
        """The result in one sentence: where the printed ratio and 1 lie, and what explains it."""
        printed = f"printed ratio {self.printed:.3f}"
        if _holds(self.test, self.printed):
            equal = " and 1, no difference" if _holds(self.test, 1.0) else ""
            return f"Our interval holds the {printed}{equal}{self.parts}."
        where = "at every width" if self.outside else "here, not at every width" if self.scaled else "at this scale"
        the = "The sign holds; the" if self.claimed else "The"
        return f"{the} {printed} lies outside our interval {where}{self.parts}."

    @property
    def details(self) -> str:
        """Slope and parts with their intervals."""
        found = []
        if self.slope is not None:
            found.append(f"Each doubling of the width changes the ratio by a factor of {ratio_text(self.slope)}.")
        if self.routing is not None:
            found.append(
                f"With routing the perplexity is {ratio_text(self.routing)} times that of its own chunk alone."
            )
        return " ".join(found)

    def table(self) -> Table:
        """Every width and text."""
        rows = tuple((NAMES.get(i.text, "prose"), str(i.width), str(i.test.n), ratio_text(i.test)) for i in self.scaled)
        header = ("text", "width", "seeds", f"{self.treated} / {self.control} (95 % interval)")
        return Table("The ratio over widths and texts", header, rows)

    def figure(self) -> Curves:
        """The ratio over the width, a curve a text, the printed one as a line."""
        series = tuple(
            Series(NAMES.get(text, "prose"), style, tuple(_point(i) for i in self.scaled if i.text == text))
            for text, style in zip(TEXTS, ("causal", "other"), strict=True)
        )
        title, label = f"{self.treated} against {self.control} over scale", "ratio of perplexities"
        note = f"Bars are 95 % intervals; published: {self.printed:.3f}."
        return Curves(title, "width", label, tuple(s for s in series if s.points), note, log_x=True)


def ratio(found: Models, names: tuple[str, str], arms: tuple[Arm, Arm], printed: float) -> Ratio:
    """The comparison of the treated arm with its control at the tier's scale, over widths, and by parts."""
    treated, control = (found.of(arm) for arm in arms)
    alone, pairs = found.of(own_chunk(arms[0])), _pairs(found, arms)
    complete = pairs if len(pairs) == len(TEXTS) * len(WIDTHS[found.tier]) else {}
    return Ratio(
        *names,
        printed,
        compare(treated, control),
        tuple(AtWidth(width, text, compare(*pair)) for (text, width), pair in complete.items()),
        _slope(WIDTHS[found.tier], complete) if complete else None,
        compare(treated, alone) if alone else None,
        runs_of(treated, control, alone, *(runs for pair in pairs.values() for runs in pair)),
    )


def _pairs(found: Models, arms: tuple[Arm, Arm]) -> Pairs:
    """Both arms at every width on every text that has runs of both."""
    pairs = {
        (text, width): tuple(found.of(replace(arm, width=width, text=text)) for arm in arms)
        for text in TEXTS
        for width in WIDTHS[found.tier]
    }
    return {at: (pair[0], pair[1]) for at, pair in pairs.items() if all(pair)}


def _slope(widths: Sequence[int], pairs: Pairs) -> PairedComparison:
    """Nats of the difference for each doubling of the width; the blocks of both texts side by side."""
    weights = slope_weights([math.log2(width) for width in widths])
    by_text = [
        differences(
            [
                (sign * weight, pairs[text, width][side])
                for weight, width in zip(weights, widths, strict=True)
                for side, sign in enumerate((1.0, -1.0))
            ]
        )
        for text in TEXTS
    ]
    return crossed([[*first, *second] for first, second in zip(*by_text, strict=True)])


def _holds(test: PairedComparison, printed: float) -> bool:
    return test.interval.low <= math.log(printed) <= test.interval.high


def _point(item: AtWidth) -> CurvePoint:
    test = item.test
    return CurvePoint(
        item.width, math.exp(test.difference), math.exp(test.interval.low), math.exp(test.interval.high), f"{test.n}"
    )


def parts_table(found: Models, title: str, arms: Mapping[str, Sequence[tuple[str, Arm]]]) -> Table:
    """The ablations of every hub arm against the arm itself, as ratios of perplexities."""
    rows = []
    for name, variants in arms.items():
        (_, whole), *_ = variants
        for label, arm in variants:
            runs = found.of(arm)
            if runs:
                against = "1" if arm == whole else ratio_text(compare(runs, found.of(whole)))
                parameters = str(runs[0].result.get("parameters", ""))
                rows.append((name, label, str(len(runs)), parameters, f"{runs[0].rate:g}", against))
    return Table(title, ("model", "variant", "seeds", "parameters", "rate", "perplexity / unchanged"), tuple(rows))
