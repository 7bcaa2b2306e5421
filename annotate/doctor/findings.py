"""Findings: what a check found out. Imports nothing that could be broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

Figure = int | float | str | None

ANNOTATE_AGAIN = "in a fresh copy of annotate's folder: pip install --force-reinstall --no-deps ."
"""What mends files that belong to annotate itself."""

OTHERS_FIRST = "mend what else is at fault; if nothing is, install annotate again"
"""Where annotate's own code fails, mostly because of a package that another line is about."""


def again(*packages: str) -> str:
    """What mends packages that are installed, but broken."""
    return f"pip install --force-reinstall --no-cache-dir {' '.join(packages)}"


class Verdict(StrEnum):
    """ok: it works. note: it works, and you may want to know. fault: it does not work."""

    OK = "ok"
    NOTE = "note"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, and what was found.

    said: one line for people. to_do: what mends it, "" where there is nothing to mend. figures: the
    same in numbers, for scripts. brief: a few words for it where it may stand in a list of what is
    well, "" for a line of its own. area, name: the heading and the line that it stands under; a
    check may leave them to whoever runs it.
    """

    verdict: Verdict
    said: str
    to_do: str = ""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    brief: str = ""
    name: str = ""
    area: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        found = asdict(self)
        return {"area": found.pop("area"), "name": found.pop("name"), **found}

    @staticmethod
    def of(found: Mapping[str, Any]) -> Finding:
        """What to_dict has given. Raises TypeError, ValueError."""
        return Finding(**{**found, "verdict": Verdict(found["verdict"])})


def ok(
    said: str, figures: Mapping[str, Figure] | None = None, *, name: str = "", brief: str = ""
) -> Finding:
    """It works."""
    return Finding(Verdict.OK, said, figures=figures or {}, brief=brief, name=name)


def note(
    said: str, to_do: str = "", figures: Mapping[str, Figure] | None = None, *, name: str = ""
) -> Finding:
    """It works, and you may want to know."""
    return Finding(Verdict.NOTE, said, to_do, figures or {}, name=name)


def fault(
    said: str, to_do: str, figures: Mapping[str, Figure] | None = None, *, name: str = ""
) -> Finding:
    """It does not work. Whoever is told so is told what to do as well."""
    return Finding(Verdict.FAULT, said, to_do, figures or {}, name=name)
