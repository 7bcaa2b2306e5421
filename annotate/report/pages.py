"""Pages: a template and values in, one self-contained HTML file out.

A page loads nothing, runs nothing and sends nothing: pictures are in it as data, its policy lets
the browser apply the one style sheet that it brings, and text is escaped where it is put in.
"""

from __future__ import annotations

import base64
import hashlib
import math
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from annotate.errors import shown

MISSING = "–"
"""What stands where there is no figure."""


def render_page(template: str, **values: Any) -> str:
    """A page of `templates/` that extends base.html, which wants `title`.

    Filters for its text: shown(limit) for a stranger's words, whose invisible characters become
    escapes; number(digits), percent(digits) and count for figures, a dash for None; data_uri for
    pictures.
    """
    return _environment().get_template(template).render(**values)


def data_uri(picture: bytes) -> str:
    """A PNG or JPEG file as an address that holds it."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def number(value: float | None, digits: int = 2) -> str:
    """A figure in so many decimals; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    """A share from 0 to 1 in per cent, without the sign; a dash where there is none."""
    return number(None if value is None else 100 * value, digits)


def count(value: int | None) -> str:
    """A whole number with its thousands apart."""
    return MISSING if value is None else f"{value:,}"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("annotate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = environment.get_template("style.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment.globals.update(
        policy=f"default-src 'none'; img-src data:; style-src 'sha256-{digest}';"
        " base-uri 'none'; form-action 'none'"
    )
    environment.filters.update(
        shown=lambda value, limit=80: shown(value, limit, quote=False),
        number=number,
        percent=percent,
        count=count,
        data_uri=data_uri,
    )
    return environment
