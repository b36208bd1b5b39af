"""The comparison with another checker as a page."""

from __future__ import annotations

from audits.claims.judged import Report
from audits.claims.tool import _peers as peers
from audits.report.render.document import Document, Section
from audits.report.render.words import TIMING_NOTE


def peers_document(report: Report) -> Document:
    """What each finds of the same models, and the time of both."""
    found = peers.peers(report)
    if found is None:
        return Document("peers", peers.HEADING, (peers.NOT_RUN,), ())
    seen = Section("What each finds", tables=(peers.class_table(found),), folded=(peers.leak_table(found),))
    timed = Section("Time of both", (TIMING_NOTE,), tables=(peers.time_table(found),))
    return Document("peers", peers.HEADING, (peers.sentence(found),), (seen, timed) if found.timings else (seen,))
