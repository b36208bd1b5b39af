"""Pages from the templates in `audits/report/templates`: HTML is escaped by jinja2, Markdown by its filters."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from audits.formatting import count, number
from audits.report.render import words
from audits.report.render.escape import code, markdown, printable
from audits.report.render.marks import audit_mark

_SEAM = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[/_+])(?=\w)")


def page(template: str, *, script: str = "", **values: Any) -> str:
    """A document from a file in `audits/report/templates`; every text is escaped in those that end in .html or .svg.

    A `script` from there is held by the page, and known to the browser by its digest; the page must read without it.
    A name of the template that `values` lacks is an error.
    """
    held = files("audits.report").joinpath("templates", script).read_text(encoding="utf-8") if script else ""
    digest = base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()
    return _environment().get_template(template).render(values, script=held, digest=digest)


def fragment(template: str, **values: Any) -> Markup:
    """A part of a document, such as a drawing, from a template that ends in `.html` or `.svg`: markup already."""
    return Markup(_environment().get_template(template).render(values))  # noqa: S704 - escaped by its template


def breakable(text: str) -> Markup:
    """Text in which names and paths may be broken between their words: "Two|Words", "a/|path", "a_|name"."""
    return Markup(_SEAM.sub("<wbr>", escape(text)))  # noqa: S704 - escaped before


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("audits.report", "templates"),
        autoescape=select_autoescape(["html", "svg"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_allowed,
    )
    environment.filters |= {"code": code, "line": markdown, "breakable": breakable}
    environment.globals |= {"words": words, "audit_mark": audit_mark, "number": number, "count": count}
    return environment


def _allowed(value: Any) -> Any:
    """Texts without the characters that no document may hold; markup stays markup."""
    return type(value)(printable(value)) if isinstance(value, str) else value
