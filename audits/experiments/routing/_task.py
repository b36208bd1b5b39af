"""The routing tasks by name, at each tier's size."""

from __future__ import annotations

from hubrouter.diagnostic.tasks.distant_evidence import DistantEvidence
from hubrouter.diagnostic.tasks.mqar import Mqar

FAR, PLAIN, NEAR, MQAR = "far", "far, other keys", "near", "mqar"
Questions = DistantEvidence | Mqar

# Small: a quarter of the paper's length, its ratio of distance to length kept. Eight distractors with the query's own
# key make what content alone can reach 4 of 9; four picks could otherwise hold them all.
_SMALL: dict[str, Questions] = {
    FAR: DistantEvidence(128, 50, 256, 8),
    PLAIN: DistantEvidence(128, 50, 256, 8, same_key=False),
    NEAR: DistantEvidence(128, 50, 256, 8, far=False),
    MQAR: Mqar(128, 16, 256),
}
_PAPER: dict[str, Questions] = {
    FAR: DistantEvidence(512, 200, 256, 8),
    PLAIN: DistantEvidence(512, 200, 256, 8, same_key=False),
    NEAR: DistantEvidence(512, 200, 256, 8, far=False),
    MQAR: Mqar(256, 16, 8192),
}
TASKS = {"quick": _SMALL, "full": _SMALL, "paper": _PAPER}


def content_ceiling(task: Questions) -> float | None:
    """The precision by the query's key without any distance; None where the key alone identifies the answer."""
    if isinstance(task, Mqar) or not task.same_key:
        return None
    return min(1.0, task.picks / (task.distractors + 1))
