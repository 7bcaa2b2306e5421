"""Duplicates: the contents and labels of inputs in; which are byte-identical, and disagree, out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from annotate.labels import LABEL_COLUMNS, Fault, Label


@dataclass(frozen=True, slots=True)
class DuplicateContent:
    """Byte-identical files. groups: of two files or more. files: in all groups together.

    *_conflicts: groups whose files are labelled differently.
    """

    groups: int
    files: int
    age_conflicts: int
    gender_conflicts: int
    race_conflicts: int


def identical_groups(sha256: Sequence[str | None]) -> list[list[int]]:
    """Indices of the inputs that share their content with others, by content, in their order."""
    groups: dict[str, list[int]] = {}
    for index, digest in enumerate(sha256):
        if digest is not None:
            groups.setdefault(digest, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def duplicate_content(
    names: Sequence[str], labels: Sequence[Label], sha256: Sequence[str | None]
) -> tuple[list[Fault], DuplicateContent]:
    """What is byte-identical, and a "label_conflict" for each group whose labels disagree.

    names, labels, sha256: of each input.
    """
    groups = identical_groups(sha256)
    conflicts: Counter[str] = Counter()
    faults = []
    for group in groups:
        differing = {
            name: found
            for name in LABEL_COLUMNS
            if len(found := _distinct([getattr(labels[index], name) for index in group])) > 1
        }
        conflicts.update(differing.keys())
        if differing:
            said = ", ".join(f"{name} {' / '.join(f)}" for name, f in differing.items())
            others = "; ".join(names[index] for index in group[1:])
            detail = f"{said}; same bytes as {others}"
            faults.append(Fault("label_conflict", names[group[0]], detail))
    return faults, DuplicateContent(
        groups=len(groups),
        files=sum(map(len, groups)),
        age_conflicts=conflicts["age"],
        gender_conflicts=conflicts["gender"],
        race_conflicts=conflicts["race"],
    )


def _distinct(values: list[Any]) -> list[str]:
    """The different labels among some, in order, as text; absent ones say nothing."""
    known = dict.fromkeys(value for value in values if value is not None)
    return [f"{value:g}" if isinstance(value, float) else value for value in known]
