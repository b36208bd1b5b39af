"""A document as data, and its files: Markdown and HTML from the same parts, each drawing in a file beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from audits.claims.figures import Dots, Figure
from audits.formatting import Table
from audits.report.render import plot_curves, plot_dots
from audits.report.render.marks import Mark
from audits.report.render.templates import page


@dataclass(frozen=True)
class Picture:
    """A drawing in a file of this name (without ending); `svg` is empty where nothing could be drawn."""

    name: str
    title: str
    svg: str
    description: str
    note: str = ""
    numbers: Table | None = None


@dataclass(frozen=True)
class Section:
    """Parts in the order in which they are shown; `folded` tables open on demand, a `matrix` is one of symbols."""

    heading: str = ""
    text: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    command: str = ""
    matrix: Table | None = None
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()

    @property
    def shows(self) -> bool:
        """Whether there is anything below the heading."""
        return self != Section(self.heading)


@dataclass(frozen=True)
class Document:
    """One page; `path` is that of its files below `reports/`, without ending, such as "claims/cost".

    `lead` are the sentences of the first screen; `mark` and `badges` stand beside the heading, `flags` are what needs
    attention.
    """

    path: str
    title: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]
    mark: Mark | None = None
    badges: tuple[str, ...] = ()
    flags: tuple[Mark, ...] = ()

    @property
    def files(self) -> Mapping[str, str]:
        """The texts of its files, by path below `reports/`."""
        pictures = [picture for section in self.sections for picture in section.pictures if picture.svg]
        folder = PurePosixPath(self.path).parent
        drawings = {str(folder / f"{picture.name}.svg"): picture.svg for picture in pictures}
        return {f"{self.path}.{end}": page(f"document.{end}", document=self) for end in ("md", "html")} | drawings


def figure_picture(name: str, figure: Figure) -> Picture:
    """The drawing of a claim's figure, how to read it, and its numbers."""
    plot = plot_dots if isinstance(figure, Dots) else plot_curves
    drawing, words, numbers = plot.svg(figure), plot.description(figure), plot.table(figure)
    return Picture(name, figure.title, drawing, words, plot.note(figure), numbers)
