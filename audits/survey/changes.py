"""What changed between the surveyed releases of a library, and why: `changes.toml`, next to this module, explains."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise

import msgspec
from packaging.version import Version

from audits.survey.reviews import holds
from audits.survey.rows import NOT_BUILT, Row, Survey


class Cause(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the verdict on some architectures of a library changed from the earlier to the later one, and no other.

    `older` are the releases that still had the earlier verdict, such as "<4.42.3", `newer` those that have the later
    one; `reason` names the issue or pull request upstream.
    """

    library: str
    names: tuple[str, ...]
    verdicts: tuple[str, str]
    older: str
    newer: str
    reason: str


@dataclass(frozen=True)
class Change:
    """An architecture whose verdict, or whose classes of leak, differ from one surveyed release to the next."""

    older: str
    newer: str
    before: Row
    after: Row
    cause: Cause | None


@dataclass(frozen=True)
class Comparison:
    """The surveyed releases of a library, the earliest first, and what changed between them."""

    library: str
    releases: tuple[Survey, ...]
    changes: tuple[Change, ...]

    @property
    def unexplained(self) -> tuple[Change, ...]:
        """The changes without a cause."""
        return tuple(change for change in self.changes if change.cause is None)


def causes() -> tuple[Cause, ...]:
    """All explanations; an unknown key in the file is an error."""
    text = files("audits.survey").joinpath("changes.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["change"], tuple[Cause, ...])


def comparisons(found: Iterable[Survey], known: Iterable[Cause]) -> tuple[Comparison, ...]:
    """The comparison of every library of which two releases or more were surveyed."""
    libraries: dict[str, list[Survey]] = {}
    for survey in found:
        libraries.setdefault(survey.library, []).append(survey)
    known = tuple(known)
    return tuple(_compared(name, parts, known) for name, parts in sorted(libraries.items()) if len(parts) > 1)


def _compared(library: str, parts: list[Survey], known: tuple[Cause, ...]) -> Comparison:
    releases = tuple(sorted(parts, key=lambda survey: Version(survey.release)))
    built: dict[str, list[tuple[str, Row]]] = {}
    for survey in releases:
        for row in survey.rows:
            if row.verdict != NOT_BUILT:
                built.setdefault(row.name, []).append((survey.release, row))
    changes = [
        Change(older, newer, before, after, _cause(known, library, older, newer, before, after))
        for _, rows in sorted(built.items())
        for (older, first), (newer, second) in pairwise(rows)
        for before, after in [_by_common_probes(first, second)]
        if (before.verdict, set(before.leak_classes)) != (after.verdict, set(after.leak_classes))
    ]
    return Comparison(library, releases, tuple(changes))


def _by_common_probes(before: Row, after: Row) -> tuple[Row, Row]:
    """Both rows as judged by the probes of both audits: a probe added later is no change of the release."""
    common = before.tried & after.tried
    return before.judged_by(common), after.judged_by(common)


def _cause(known: Iterable[Cause], library: str, older: str, newer: str, before: Row, after: Row) -> Cause | None:
    asked = (library, (before.verdict, after.verdict))
    same = (cause for cause in known if (cause.library, cause.verdicts) == asked and before.name in cause.names)
    return next((cause for cause in same if holds(cause.older, older) and holds(cause.newer, newer)), None)
