"""Verdicts other than PASS that a person has examined and explained: `reviews.toml`, next to this module."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from enum import StrEnum
from importlib.resources import files

import msgspec
from packaging.specifiers import SpecifierSet


class Status(StrEnum):
    """What a review says of the surveyed code."""

    DEFECT = "defect"
    FIXED = "fixed"  # a defect, mended upstream since
    BY_DESIGN = "by design"  # what the architecture, or the setting, means to do
    UNDECIDED = "undecided"
    NOT_BUILT = "not built"


class Review(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An explanation of the verdict on some architectures of a library; another verdict or leak class is unexplained.

    `releases` of the library, or of the row's own package, are where it holds, such as ">=4.30,<5"; all where empty.
    """

    library: str
    names: tuple[str, ...]
    verdict: str
    status: Status
    reason: str
    leak_classes: tuple[str, ...] = ()
    releases: str = ""


def reviewed() -> tuple[Review, ...]:
    """All reviews; an unknown key in the file is an error."""
    text = files("audits.survey").joinpath("reviews.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["review"], tuple[Review, ...])


def review_of(
    reviews: Iterable[Review], library: str, release: str, name: str, verdict: str, leak_classes: tuple[str, ...]
) -> Review | None:
    """The review that explains a row, None where nothing does; `release` is that of the row's own package, if any."""
    same = (r for r in reviews if (r.library, r.verdict) == (library, verdict) and name in r.names)
    return next((r for r in same if holds(r.releases, release) and set(leak_classes) <= set(r.leak_classes)), None)


def holds(releases: str, release: str) -> bool:
    """Whether a release is one of ">=4.30,<5"."""
    return SpecifierSet(releases, prereleases=True).contains(release)
