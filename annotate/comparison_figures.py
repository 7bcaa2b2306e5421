"""Comparison figures: the rows of a comparison in, counts and distributions out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from annotate.central_faces import floats
from annotate.comparison_rows import FLIPS
from annotate.matching import Found, Matches
from annotate.metrics import Floats, Integers
from annotate.slices import BAND_NAMES, age_band

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Of the age shifts, those that are told."""

FAR_YEARS = (1, 5, 10, 20)
"""Years beyond which age shifts are counted."""


@dataclass(frozen=True, slots=True)
class InputCounts:
    """both: inputs that A and B have, by_path of them found by their path, since their bytes are
    not known to one. rewritten: the same path, other bytes. new: only in B; vanished: only in A.
    A has both + rewritten + vanished, B has both + rewritten + new.
    """

    both: int
    by_path: int
    rewritten: int
    new: int
    vanished: int


@dataclass(frozen=True, slots=True)
class FaceCounts:
    """Faces in the inputs that both have: found by both, new in B, and gone from A. Then those in
    inputs that are not compared: new, vanished, and rewritten ones as A and as B have them.
    """

    both: int
    new: int
    gone: int
    in_new_inputs: int
    in_vanished_inputs: int
    in_rewritten_a: int
    in_rewritten_b: int


@dataclass(frozen=True, slots=True)
class AgeShifts:
    """Age of B less age of A, years, over the n faces for which both say one.

    mean_size: of |shift|. quantiles: by QUANTILES. beyond: faces with |shift| over each FAR_YEARS.
    None where there is no face.
    """

    n: int
    mean: float | None
    mean_size: float | None
    quantiles: Mapping[float, float | None]
    beyond: Mapping[int, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as comparison.json holds them."""
        levels = {f"{level:g}": rounded(value) for level, value in self.quantiles.items()}
        return {
            "n": self.n,
            "mean": rounded(self.mean),
            "mean_size": rounded(self.mean_size),
            "quantiles": levels,
            "beyond": {str(years): n for years, n in self.beyond.items()},
        }


@dataclass(frozen=True, slots=True)
class GenderFlips:
    """Faces whose gender both say, and those of them that changed it."""

    n: int
    to_female: int
    to_male: int

    @property
    def flips(self) -> int:
        """All that changed."""
        return self.to_female + self.to_male

    def to_dict(self) -> dict[str, int]:
        """Plain values, as comparison.json holds them."""
        return asdict(self) | {"flips": self.flips}


@dataclass(frozen=True, slots=True)
class BandShifts:
    """What moved among the faces that A puts into one age band."""

    band: str
    age: AgeShifts
    gender: GenderFlips

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as comparison.json holds them."""
        return {"band": self.band, "age": self.age.to_dict(), "gender": self.gender.to_dict()}


def input_counts(matches: Matches) -> InputCounts:
    by_path, rewritten = (
        int((matches.found == found).sum()) for found in (Found.PATH, Found.REWRITTEN)
    )
    paired = len(matches.found)
    return InputCounts(
        both=paired - rewritten,
        by_path=by_path,
        rewritten=rewritten,
        new=len(matches.b) - paired,
        vanished=len(matches.a) - paired,
    )


def statuses_of(
    a: pa.Table, b: pa.Table, matches: Matches, *, rewritten: bool = False
) -> dict[tuple[str, str], int]:
    """Inputs by their statuses in A and in B: those that both have, or those rewritten."""
    is_meant = (matches.found == Found.REWRITTEN) == rewritten
    sides = (
        (a, matches.a.first[matches.input_a[is_meant]]),
        (b, matches.b.first[matches.input_b[is_meant]]),
    )
    statuses = [
        table.column("status").cast(pa.string()).take(pa.array(rows)).to_pylist()
        for table, rows in sides
    ]
    return dict(Counter(zip(*statuses, strict=True)))


def face_counts(rows: pa.Table) -> FaceCounts:
    groups = rows.group_by(["input", "face"]).aggregate([([], "count_all")]).to_pylist()
    counts = Counter({(group["input"], group["face"]): group["count_all"] for group in groups})
    return FaceCounts(
        both=counts["both", "both"],
        new=counts["both", "new"],
        gone=counts["both", "gone"],
        in_new_inputs=counts["new", "new"],
        in_vanished_inputs=counts["vanished", "gone"],
        in_rewritten_a=counts["rewritten", "gone"],
        in_rewritten_b=counts["rewritten", "new"],
    )


def age_shifts(shift: Floats) -> AgeShifts:
    """shift: float64, years, NaN where there is none."""
    shift = shift[np.isfinite(shift)]
    size = np.abs(shift)
    if not len(shift):
        nothing = dict.fromkeys(QUANTILES)
        return AgeShifts(0, None, None, nothing, dict.fromkeys(FAR_YEARS, 0))
    levels = np.quantile(shift, QUANTILES).tolist()
    return AgeShifts(
        n=len(shift),
        mean=float(shift.mean()),
        mean_size=float(size.mean()),
        quantiles=dict(zip(QUANTILES, levels, strict=True)),
        beyond={years: int((size > years).sum()) for years in FAR_YEARS},
    )


def gender_flips(codes: Integers) -> GenderFlips:
    counts = [int((codes == code).sum()) for code in range(len(FLIPS))]
    return GenderFlips(sum(counts), counts[1], counts[2])


def flip_codes(rows: pa.Table) -> Integers:
    """Index into FLIPS of each row, -1 for null."""
    codes = rows.column("gender_flip").combine_chunks().indices.fill_null(-1)
    return np.asarray(codes.to_numpy(zero_copy_only=False), np.int64)


def by_band(rows: pa.Table) -> tuple[BandShifts, ...]:
    bands = age_band(floats(rows, "age_a"))
    shift, flips = floats(rows, "age_shift"), flip_codes(rows)
    parts = (
        BandShifts(name, age_shifts(shift[bands == code]), gender_flips(flips[bands == code]))
        for code, name in enumerate(BAND_NAMES)
    )
    return tuple(part for part in parts if part.age.n or part.gender.n)


def rounded(value: float | None) -> float | None:
    """To six decimals, so that the last bits of a sum do not show; None for what is no number."""
    return None if value is None or not math.isfinite(value) else round(value, 6)
