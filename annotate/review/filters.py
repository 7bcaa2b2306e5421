"""Filters: what the person wants to see in, the rows of it in order, out.

Filters look at what the output says, and corrections change nothing of that: a face stays where it
is listed while it is corrected. R is the number of rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotate.central_faces import Flags, floats
from annotate.errors import shown
from annotate.labels import GENDERS
from annotate.metrics import Floats, Integers
from annotate.records import FLAGS, Status
from annotate.review.faces import Faces, filled, is_text

FULL_DOUBT_AGE_SD = 25.0
"""Years. An age whose standard deviation is so large is as doubtful as a gender of even odds; one
of 10 years, over which it is flagged `uncertain`, as a gender of 0.2 or 0.8, between which that is:
the faces with this flag are those whose doubt is over 0.4."""

ORDERS = ("doubt", "output", "youngest", "oldest")
MAX_TEXT_CHARS = 1000

MAX_FOLDERS = 1000
"""Folders that are proposed; of more those with the most rows."""


class State(IntEnum):
    """What a person did about a row."""

    OPEN = 0
    CORRECTED = 1
    SKIPPED = 2


@dataclass(frozen=True, slots=True)
class Filters:
    """What is to be seen; an empty text and None are no filter.

    status, flag, gender: as the output has them. age_min, age_max: years, both included. folder:
    of the path, what lies below it too. search: a part of the path, in upper or lower case. state:
    a name of State in lower case. order: one of ORDERS. Raises ValueError.
    """

    status: str = ""
    flag: str = ""
    gender: str = ""
    age_min: float | None = None
    age_max: float | None = None
    folder: str = ""
    search: str = ""
    state: str = ""
    order: str = ORDERS[0]

    def __post_init__(self) -> None:
        known = {
            "status": tuple(map(str, Status)),
            "flag": FLAGS,
            "gender": GENDERS,
            "state": tuple(state.name.lower() for state in State),
            "order": ORDERS,
        }
        for name, values in known.items():
            value = getattr(self, name)
            if value not in values and (value or name == "order"):
                raise ValueError(f"{name} {shown(value)}: expected {', '.join(values)}")
        if max(len(self.folder), len(self.search)) > MAX_TEXT_CHARS:
            raise ValueError(f"over {MAX_TEXT_CHARS} characters to look for")

    @staticmethod
    def of(asked: Mapping[str, str]) -> Filters:
        """From the words of an address; others than the filters' are passed over."""
        names = {field.name for field in fields(Filters)}
        words = {name: value for name, value in asked.items() if name in names and value}
        ages = {name: _years(words.pop(name)) for name in ("age_min", "age_max") if name in words}
        return Filters(**words, **ages)  # type: ignore[arg-type]


class Listing:
    """All rows of an output, in every order."""

    def __init__(self, faces: Faces) -> None:
        self._faces = faces
        self._table = faces.table
        self.age = np.where(faces.is_face, finite(self._table, "age"), np.nan)

    def select(self, filters: Filters, states: Integers) -> Integers:
        """The rows that pass, in the order that is asked for. states: of all rows, (R,)."""
        passes = np.ones(len(self._faces), bool)
        if filters.status:
            passes &= is_text(self._table, "status", filters.status)
        if filters.gender:
            passes &= is_text(self._table, "gender", filters.gender)
        if filters.flag:
            flag = rf"(^|;){filters.flag}(;|$)"
            passes &= filled(pc.match_substring_regex(self._table["flags"], flag))
        if filters.search:
            found = pc.match_substring(self._table["path"], filters.search, ignore_case=True)
            passes &= filled(found)
        if filters.folder:
            passes &= self._in_folder(filters.folder)
        if filters.state:
            # A row without a face leaves nothing to do.
            passes &= states == State[filters.state.upper()]
            passes &= self._faces.is_correctable
        if filters.age_min is not None:
            passes &= self.age >= filters.age_min
        if filters.age_max is not None:
            passes &= self.age <= filters.age_max
        order = self.orders[filters.order]
        return order[passes[order]]

    @cached_property
    def orders(self) -> Mapping[str, Integers]:
        """All rows in each order. Rows without a face come last."""
        doubt = np.nan_to_num(doubts(self._table), nan=-1.0)
        return {
            "doubt": np.argsort(-np.where(self._faces.is_face, doubt, -2.0), kind="stable"),
            "output": np.arange(len(self._faces)),
            "youngest": np.argsort(self.age, kind="stable"),
            "oldest": np.argsort(-self.age, kind="stable"),
        }

    @cached_property
    def statuses(self) -> Mapping[str, int]:
        """How many rows have which status, the most frequent first."""
        return dict(Counter(self._table["status"].to_pylist()).most_common())

    @cached_property
    def folders(self) -> Mapping[str, int]:
        """How many rows lie in which folder or below it, by name; MAX_FOLDERS of them."""
        names, of_row = self._folders
        counts: Counter[str] = Counter()
        sizes = np.bincount(of_row, minlength=len(names)).tolist()
        for name, size in zip(names, sizes, strict=True):
            while name:
                counts[name] += size
                name = name.rpartition("/")[0]
        return dict(sorted(counts.most_common(MAX_FOLDERS)))

    def _in_folder(self, folder: str) -> Flags:
        names, of_row = self._folders
        below = f"{folder.rstrip('/')}/"
        is_inside = np.array([f"{name}/".startswith(below) for name in names], bool)
        return is_inside[of_row]

    @cached_property
    def _folders(self) -> tuple[list[str], Integers]:
        """The folders that rows lie in, and which of them each row does, int64 (R,).

        Where there are several SOURCEs, they are the first part of the name.
        """
        paths = pc.fill_null(self._table["path"], "")
        found = pc.replace_substring_regex(paths, r"/?[^/]*$", "")
        sources = pc.fill_null(self._table["source"].cast(pa.string()), "")
        if len(sources.unique()) > 1:
            found = pc.utf8_rtrim(pc.binary_join_element_wise(sources, found, "/"), "/")
        encoded = found.combine_chunks().dictionary_encode()
        return encoded.dictionary.to_pylist(), np.asarray(encoded.indices, np.int64)


def doubts(table: pa.Table) -> Floats:
    """How uncertain the model is of each row, 0 to 1; NaN where it says nothing; (R,).

    The larger one of two doubts: that of the gender, 1 at even odds and 0 at a probability of 0 or
    1, and that of the age, which grows with its standard deviation to 1 at FULL_DOUBT_AGE_SD.
    """
    female = np.clip(finite(table, "female_probability"), 0, 1)
    age = np.clip(finite(table, "age_sd") / FULL_DOUBT_AGE_SD, 0, 1)
    return np.asarray(np.fmax(1 - np.abs(2 * female - 1), age))


def finite(table: pa.Table, name: str) -> Floats:
    """A numeric column as float64 (R,), NaN for what is null or endless."""
    values = floats(table, name)
    return np.where(np.isfinite(values), values, np.nan)


def _years(word: str) -> float:
    try:
        years = float(word)
    except ValueError:
        years = math.nan
    if not math.isfinite(years):
        raise ValueError(f"age {shown(word)}: expected years")
    return years
