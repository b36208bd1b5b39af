"""A finding in words: what depends on what, where, what that means in practice, and what to look at first."""

from __future__ import annotations

import linecache
from textwrap import dedent

from audits.formatting import number
from audits.results import CALLERS_INPUT, Finding, LeakClass, Site

_KINDS = {
    LeakClass.DENSE: "A later position reaches an earlier output along a gradient path.",
    LeakClass.SELECTION: "A discrete choice (such as top-k) depends on later positions; no gradient shows it.",
    LeakClass.STATISTIC: "A statistic over the sequence, detached or in a normaliser, carries later positions back.",
    LeakClass.LENGTH: "An output changes with the length of the sequence behind it.",
    LeakClass.BATCH: "A row of the batch depends on another row.",
    LeakClass.STATE: "An output depends on earlier calls of the model.",
    LeakClass.TRAINING_MODE: "The model is causal in evaluation and not in training mode.",
    LeakClass.DECODE: "Step-by-step decoding differs from the parallel pass.",
    LeakClass.DOCUMENT: "A packed document depends on another document.",
    LeakClass.UNKNOWN: "An earlier output depends on a later position in a way that could not be classified.",
}
_AHEAD = "Training sees what it has to predict, so losses and scores are better than the model can be when it generates"
_MEANS = {
    LeakClass.DENSE: f"{_AHEAD}; training makes use of it, because a gradient passes.",
    LeakClass.SELECTION: f"{_AHEAD}. Later tokens decide which ones are chosen; no gradient shows that. Expert "
    "capacity and hashing over the whole sequence do so by design; generation then chooses differently from training.",
    LeakClass.STATISTIC: f"{_AHEAD}: a number computed over the whole sequence carries later positions back.",
    LeakClass.LENGTH: "No later token is read: what comes out depends on how long the sequence is. Scores of whole "
    "sequences do not hold for the prefixes that generation works on.",
    LeakClass.BATCH: "Other sequences of the batch seep in: the same input is answered differently in other company.",
    LeakClass.STATE: "Something is kept between calls: the same input is answered differently after other inputs.",
    LeakClass.TRAINING_MODE: f"{_AHEAD}: in training mode alone, so that evaluation does not show it.",
    LeakClass.DECODE: "Generation step by step does not compute what was trained and scored in one pass.",
    LeakClass.DOCUMENT: "Documents packed into one row seep into each other, although their boundaries are given.",
    LeakClass.UNKNOWN: f"{_AHEAD}. How the later input enters could not be determined.",
}
_LOOK = {
    LeakClass.DENSE: "the mask, the direction of a scan or shift, and the padding of a convolution",
    LeakClass.SELECTION: "over which positions the choice (top-k, sort, argmax, comparison) is made",
    LeakClass.STATISTIC: "over which axes the mean, norm or maximum is taken",
    LeakClass.LENGTH: "what is computed from the number of positions: scales, rotary bases, counts, padding",
    LeakClass.BATCH: "operations over the first axis, and reshapes that merge rows",
    LeakClass.STATE: "buffers and attributes that the forward writes and a later call reads",
    LeakClass.TRAINING_MODE: "what depends on self.training: batch statistics, dropout, masks",
    LeakClass.DECODE: "what the cached path computes differently: positions, masks, what is written into the cache",
    LeakClass.DOCUMENT: "whether mask, convolution, recurrence and positions all restart at a boundary",
    LeakClass.UNKNOWN: "the operation and line named above",
}
kind = _KINDS.__getitem__  # what a leak of a class is, in one sentence
meaning = _MEANS.__getitem__  # what it means in practice
look_first = _LOOK.__getitem__  # what to look at first, as the object of "look at"
_WITHOUT_SOURCE = {  # what probes see that compare two calls and know no single position that makes the difference
    "prefix-length": "changes when the sequence is cut at {source}",
    "repeat-call": "depends on an earlier call",
    "decode": "differs between streaming and one pass",
    "documents": "differs from that of the same document alone",
}


def what(finding: Finding) -> str:
    """What depends on what: "the output at position 3, row 0 depends on position 5, row 0"."""
    seen = _WITHOUT_SOURCE.get(finding.probe) if finding.source == Site() or finding.probe == "prefix-length" else None
    seen = "is changed by the call itself" if finding.changed == CALLERS_INPUT else seen
    source = f"{finding.argument}, {finding.source}" if finding.argument else finding.source
    seen = seen or (f"depends on {source}" if finding.source != Site() else "depends on a later input")
    return f"{finding.changed} at {finding.sink} {seen.format(source=finding.source)}"


def sentence(finding: Finding, named: int | None = None) -> str:
    """What depends on what, by how much, how it enters, and which probes saw it: all, or the first `named` of them."""
    text, seen_by = what(finding), finding.seen_by[:named]
    more = ", …" if len(seen_by) < len(finding.seen_by) else ""
    size = f"by {number(finding.effect)}, where rounding explains {number(finding.noise_floor)}"
    clocks = f" {finding.clocks[0].upper()}{finding.clocks[1:]}." if finding.clocks else ""
    return f"{text[0].upper()}{text[1:]}, {size} ({finding.leak_class}; seen by {', '.join(seen_by)}{more}).{clocks}"


def place(finding: Finding) -> str:
    """Where in the code, as far as it is known: "file.py:12, module blocks.0, operation softmax".

    Without an operation the line is only where the module's forward begins.
    """
    at = f"{finding.file}:{finding.line}" if finding.file and finding.line else finding.file
    at = at if finding.op or not at else f"somewhere in the forward at {at}"
    parts = (at, finding.module and f"module {finding.module}", finding.op and f"operation {finding.op}")
    return ", ".join(part for part in parts if part) or "not located"


def trail(finding: Finding) -> str:
    """The way of the value: "token 31 -> mean my.py:27 -> output 16"; empty where it was not followed."""
    return " -> ".join(map(str, finding.trace))


def excerpt(finding: Finding) -> tuple[str, ...]:
    """The line named and its neighbours, numbered, the line itself marked by ">"; empty where it cannot be read."""
    if not finding.line or not source_line(finding.file, finding.line):
        return ()
    texts = {n: linecache.getline(str(finding.file), n) for n in range(max(1, finding.line - 1), finding.line + 2)}
    numbers = [n for n, text in texts.items() if text]
    width = len(str(numbers[-1]))
    shown = zip(numbers, dedent("".join(texts.values())).splitlines(), strict=True)
    return tuple(f"{'>' if n == finding.line else ' '} {n:{width}} | {text}" for n, text in shown)


def source_line(file: str | None, line: int | None) -> str:
    """A line of a source file without its indentation; empty where it cannot be read."""
    return linecache.getline(file, line).strip() if file and line else ""
