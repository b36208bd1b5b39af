"""Tokens sorted by group, multiplied group by group, and put back: routed experts in one kernel.

Literally, a token's place after sorting depends on all tokens, and so do the weights that its row is multiplied by. If
the literal trace finds a flow that no change confirms, the pass is repeated with `grouping`: sorted rows then have the
label of the cell they came from, on the assumption that they are put back and that each row is multiplied by its own
group's weights. A loop over groups skips those that no token chose; which those are depends on all tokens. The repeated
pass treats the list of groups as a constant, on the assumption that an empty group adds nothing.
"""

from __future__ import annotations

from torch import Tensor

from audits.instruments.tracing.call import Call, Notes, Result, latest, rule

GROUPING = "tokens sorted by an integer key interact within their own group and are put back"
SKIPPING = "groups that no token chose add nothing"


def groups(call: Call) -> bool:
    """Whether a sort is assumed to be grouping."""
    return call.notes.grouping and call.name == "sort" and not call.values["self"].is_floating_point()


def grouped(call: Call) -> Result:
    """A sort in which every entry keeps the label of its own cell."""
    call.assume(GROUPING)
    return call.labels_or_zeros("self").gather(call.get("dim", -1), call.out[1])


def lists_groups(notes: Notes, labels: Tensor) -> bool:
    """Whether a list says which groups have members: one cell a group, all of which depend on the same tokens."""
    if not notes.grouping or labels.ndim != 1 or len(labels) < 2 or bool((labels != labels[0]).any()):
        return False
    notes.assumptions[SKIPPING] = None
    return True


@rule("histc", "bincount")
def count(call: Call) -> Result:
    """Counts depend on all that is counted."""
    return latest(*(m.max() for m in call.all_labels() if m.numel()))


@rule("_grouped_mm")
def grouped_product(call: Call) -> Result:
    """Rows [R, K] times the weights [G, K, J] of the group whose offsets enclose them; other shapes mix all."""
    rows, weights, offsets = call.labels_or_zeros("self"), call.labels_of("mat2"), call.labels_of("offs")
    if rows.ndim != 2 or call.values["mat2"].ndim != 3:
        return count(call)
    borders = None if offsets is None or call.notes.grouping else offsets.max()
    return latest(rows.amax(-1, keepdim=True), None if weights is None else weights.max(), borders)
