"""Central faces: the rows of many inputs in, the row that stands for each of them out.

A label is about one person, so one face of a picture is scored: the one nearest its centre. R is
the number of rows, I of inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from annotate.metrics import Floats, Integers, Metric, share
from annotate.records import Status

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FaceCounts:
    """What was found in the labelled inputs that were searched for faces.

    searched: those inputs. not_found: of them, without a face. several: of them, with more than
    one. passed_over: faces that are farther from the centre than the one that stands for them.
    """

    searched: int
    not_found: int
    several: int
    passed_over: int

    @property
    def not_found_share(self) -> Metric:
        """The share of the inputs in which no face was found, 0 to 1."""
        return share(self.not_found, self.searched)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `metrics.json` holds them."""
        return {
            "searched": self.searched,
            "not_found": self.not_found,
            "not_found_share": self.not_found_share.to_dict(),
            "several": self.several,
            "passed_over": self.passed_over,
        }


@dataclass(frozen=True)
class Standing:
    """rows: int64 (I,), the row that stands for each input, inputs in the order of the rows.

    faces: int64 (I,), the number of its faces.
    """

    rows: Integers
    faces: Integers


def standing_rows(table: pa.Table) -> Standing:
    """The row of each input that stands for it; rows of one `path` are one input.

    That of the face nearest the centre of its picture: by the distance of the box's centre from
    the picture's, each coordinate as a share of that side. Of faces that are equally near it is
    the larger one, by area, then the one of the lower face_index. Of an input without faces it
    is the only row.
    """
    numbers: dict[str, int] = {}
    paths = table.column("path").to_pylist()
    inputs = np.array([numbers.setdefault(path, len(numbers)) for path in paths], np.int64)
    x_min, x_max, width = (floats(table, name) for name in ("x_min", "x_max", "width"))
    y_min, y_max, height = (floats(table, name) for name in ("y_min", "y_max", "height"))
    # An output may be a stranger's: a picture of no width, or an infinite box, is no reason to end.
    with np.errstate(all="ignore"):
        # Twice the shares, squared: without roundings by which equal distances would differ.
        distance = ((x_min + x_max - width) / width) ** 2
        distance += ((y_min + y_max - height) / height) ** 2
        area = (x_max - x_min) * (y_max - y_min)
    keys = (floats(table, "face_index"), -area, distance)
    ranked = [np.where(np.isfinite(key), key, np.inf) for key in keys]
    order = np.lexsort((*ranked, inputs))
    first = np.unique(inputs[order], return_index=True)[1]
    is_face = np.array([status == Status.OK for status in table.column("status").to_pylist()], bool)
    return Standing(order[first], np.bincount(inputs[is_face], minlength=len(numbers)))


def were_searched(table: pa.Table) -> bool:
    """Whether the rows come of looking for faces: crops have neither scores nor `no_face`."""
    scores = table.column("detection_score")
    statuses = table.column("status").unique().to_pylist()
    return scores.null_count < len(scores) or str(Status.NO_FACE) in statuses


def floats(table: pa.Table, name: str) -> Floats:
    """A numeric column as float64 (R,), NaN for null."""
    return np.asarray(
        table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64
    )
