"""How a verdict is marked for a reader: a word and a symbol, so that colour is never the only carrier."""

from __future__ import annotations

from dataclasses import dataclass

from audits.results import Verdict


@dataclass(frozen=True)
class Mark:
    """A symbol and a word; `tone` is the class name a renderer may colour by."""

    symbol: str
    word: str
    tone: str

    @property
    def text(self) -> str:
        """Symbol and word together."""
        return f"{self.symbol} {self.word}"


_AUDIT_MARKS: dict[str, Mark] = {
    Verdict.PASS: Mark("✓", "PASS", "pass"),
    Verdict.LEAK: Mark("✗", "LEAK", "fail"),
    Verdict.UNDETERMINED: Mark("?", "UNDETERMINED", "neutral"),
}


def audit_mark(verdict: str) -> Mark:
    """The mark of an instrument's verdict; a word that is no `Verdict` is shown as it is, with a dash."""
    return _AUDIT_MARKS.get(verdict, Mark("-", verdict.replace("_", " ") or "not run", "neutral"))
