"""Tokens sorted by group, multiplied group by group, and put back: routed experts in one kernel.

Literally, a token's place after sorting depends on all tokens, and so does which weights its row meets. Only where the
literal trace found a flow that no change confirms is the pass repeated with `grouping`: sorted rows then carry the time
of the cell they came from, on the assumption that they are put back and that each row meets its own group's weights.
Where groups are gone through one by one, those that nobody chose are skipped; which those are depends on all tokens.
The repeated pass takes the list of groups for a constant, on the assumption that an empty group adds nothing.
"""

from __future__ import annotations

from torch import Tensor

from audits.instruments.tracing.call import Call, Result, latest, rule

GROUPING = "tokens sorted by an integer key meet their own group and are put back"
SKIPPING = "groups that no token chose add nothing"
SORTS = ("sort", "argsort")


def groups(call: Call) -> bool:
    """Whether a sort is taken for grouping."""
    return call.notes.grouping and call.name in SORTS and not call.values["self"].is_floating_point()


def grouped(call: Call) -> Result:
    """A sort in which every entry keeps the time of its own cell."""
    call.notes.assumptions[GROUPING] = None
    order: Tensor = call.out if isinstance(call.out, Tensor) else call.out[1]
    return call.solid("self").gather(call.get("dim", -1), order)


def lists_groups(call: Call, stamps: Tensor) -> bool:
    """Whether a mask says which groups have members: one cell a group, all of which depend on the same tokens."""
    if not call.notes.grouping or stamps.ndim != 1 or len(stamps) < 2 or bool((stamps != stamps[0]).any()):
        return False
    call.notes.assumptions[SKIPPING] = None
    return True


@rule("histc", "bincount")
def count(call: Call) -> Result:
    """Counts depend on everything counted."""
    return latest(*(m.max() for m in call.all_marks() if m.numel()))


@rule("_grouped_mm")
def grouped_product(call: Call) -> Result:
    """Rows [R, K] times the weights [G, K, J] of the group whose offsets enclose them; other shapes mix everything."""
    rows, weights, offsets = call.solid("self"), call.mark("mat2"), call.mark("offs")
    if rows.ndim != 2 or call.values["mat2"].ndim != 3:
        return count(call)
    borders = None if offsets is None or call.notes.grouping else offsets.max()
    return latest(rows.amax(-1, keepdim=True), None if weights is None else weights.max(), borders)
