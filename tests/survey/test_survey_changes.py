"""What changed between surveyed releases: found from the rows alone, explained only by an entry that fits."""

from __future__ import annotations

import msgspec
import pytest

from audits.report.survey.files import changes_texts
from audits.survey.changes import Cause, causes, comparisons
from audits.survey.rows import Code, Concluded, Found, Row, Survey

FIXED = Cause("shelf", ("gate",), ("LEAK", "PASS"), "<4.42.3", ">=4.42.3", "the mask is no longer multiplied")


def row(name: str, verdict: str, *classes: str, **probes: str) -> Row:
    """A row of which `probes` names a probe by the class it found; without them one that the classes alone describe."""
    location = ("shelf/models.py", 7) if verdict == "LEAK" else (None, None)
    named = {probe: leak_class for probe, leak_class in probes.items() if leak_class}
    seen = named.items() or enumerate(classes)
    return Row(
        name=name,
        model=name.title(),
        seq_len=40,
        verdict=verdict,
        findings=tuple(Found(str(probe), leak_class, *location) for probe, leak_class in seen),
        concluded=tuple(Concluded(probe, "LEAK" if found else "PASS") for probe, found in probes.items()),
        settings={"probes": tuple(probes)},
        code=Code.CURRENT,
    )


def releases(**rows: list[Row]) -> list[Survey]:
    return [Survey("shelf", release.strip("v").replace("_", "."), tuple(found)) for release, found in rows.items()]


FOUND = releases(
    v5_23_0=[row("gate", "PASS"), row("lamp", "PASS"), row("rail", "LEAK", "dense", "decode"), row("vase", "PASS")],
    v4_42_1=[row("gate", "LEAK", "dense"), row("lamp", "PASS"), row("rail", "LEAK", "dense"), row("door", "PASS")],
    v5_9_0=[row("gate", "NOT_BUILT"), row("lamp", "PASS"), row("rail", "LEAK", "dense")],
)


def test_releases_are_ordered_as_versions_and_a_row_is_compared_with_the_last_that_was_built():
    (comparison,) = comparisons(FOUND, [])
    assert [survey.release for survey in comparison.releases] == ["4.42.1", "5.9.0", "5.23.0"]
    assert [(c.before.name, c.older, c.newer) for c in comparison.changes] == [
        ("gate", "4.42.1", "5.23.0"),
        ("rail", "5.9.0", "5.23.0"),
    ]


def test_what_only_a_probe_sees_that_the_older_audit_did_not_have_is_no_change_of_the_release():
    found = releases(
        v1=[row("gate", "PASS", gradient=""), row("lamp", "PASS", gradient="")],
        v2=[
            row("gate", "LEAK", "document", gradient="", documents="document"),
            row("lamp", "LEAK", "dense", "document", gradient="dense", documents="document"),
        ],
    )
    (comparison,) = comparisons(found, [])
    assert [change.after.name for change in comparison.changes] == ["lamp"]


def test_a_cause_explains_the_change_it_was_written_for():
    (comparison,) = comparisons(FOUND, [FIXED])
    assert [change.before.name for change in comparison.unexplained] == ["rail"]


@pytest.mark.parametrize(
    "other",
    [
        {"library": "attic"},
        {"names": ("lamp",)},
        {"verdicts": ("PASS", "LEAK")},
        {"older": "<4.42.0"},
        {"newer": ">=6"},
    ],
    ids=str,
)
def test_a_cause_for_something_else_explains_nothing(other):
    (comparison,) = comparisons(FOUND, [msgspec.structs.replace(FIXED, **other)])
    assert len(comparison.unexplained) == 2


def test_one_release_alone_is_not_compared():
    assert comparisons(FOUND[:1], []) == ()


def test_the_tables_show_the_change_the_place_and_what_nobody_explained_first():
    found = comparisons(FOUND, [FIXED])
    table = changes_texts(found)["md"]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == ["rail", "gate"]
    assert "unexplained" in lines[0]
    assert "shelf/models.py:7" in lines[1]
    assert "no longer multiplied" in lines[1]
    assert "no longer multiplied" in changes_texts(found)["html"]


def test_every_written_cause_is_read():
    assert all(cause.reason and len(cause.verdicts) == 2 for cause in causes())
