"""Frames: a table of rows in, a pandas DataFrame out, with the types that an analyst expects."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from annotate.errors import AnnotateError, shown
from annotate.names import MEMBER_MARK, resolve, unescape
from annotate.records import Status
from annotate.rows import attributes_of
from annotate.slices import AGE_BANDS, GENDERS

if TYPE_CHECKING:
    import pandas as pd

CLOSED: Mapping[str, tuple[str, ...]] = {
    "status": tuple(str(status) for status in Status),
    "gender": GENDERS,
    "label_gender": GENDERS,
}
"""By column, all categories that it may hold, in the order in which a frame has them."""

AGE_BAND, FILE = "age_band", "file"
"""The columns that are made on request."""

MAX_EDGE = 1000
"""Years. Edges of age bands are below it."""


def to_frame(table: pa.Table) -> pd.DataFrame:
    """A table of rows as a DataFrame, its metadata in `.attrs`.

    Integers are nullable, times know their zone, and the columns of CLOSED have all their
    categories, whichever occur: frames of several outputs can be put together as they are.
    """
    frame: pd.DataFrame = table.to_pandas()
    frame.attrs.update(attributes_of(table.schema))
    for name, categories in CLOSED.items():
        if name in frame.columns and frame[name].dtype == "category":
            frame[name] = frame[name].cat.set_categories(list(categories))
    return frame


def age_bands(ages: npt.ArrayLike, edges: Iterable[float] | None = None) -> pd.Categorical:
    """The age band of each face, an ordered category; missing where there is no age.

    ages: years (N,), such as the column `age` of a run. edges: the first age of each band in whole
    years, such as [0, 18, 65] for `0-17`, `18-64` and `65+`; None for the bands of reports.
    Raises AnnotateError where the edges make no bands.
    """
    import pandas as pd

    starts = [start for start, _ in AGE_BANDS] if edges is None else _checked(edges)
    years = np.asarray(ages, np.float64)
    # Ages below the first edge get -1, which is how a category says that there is none.
    bands = np.searchsorted(starts, years, side="right") - 1
    bands = np.where(np.isfinite(years), bands, -1)
    names: pd.Index[Any] = pd.Index(band_names(starts))
    return pd.Categorical.from_codes(bands, names, ordered=True)


def band_names(starts: Sequence[int]) -> tuple[str, ...]:
    """What bands are called: `0-17`, `18` for a band of one year, `65+` for the last.

    starts: the first age of each, whole years, rising.
    """
    closed = (
        str(first) if following == first + 1 else f"{first}-{following - 1}"
        for first, following in itertools.pairwise(starts)
    )
    return *closed, f"{starts[-1]}+"


def _checked(edges: Iterable[float]) -> list[int]:
    """Edges as whole numbers. Raises AnnotateError."""
    try:
        given = list(edges)
        starts = [int(edge) for edge in given if 0 <= edge == int(edge) < MAX_EDGE]
        fits = len(starts) == len(given)
    except (TypeError, ValueError, OverflowError):
        starts, fits = [], False
    if not (fits and starts and all(low < high for low, high in itertools.pairwise(starts))):
        raise AnnotateError(
            f"age_bands={shown(edges, quote=False)}: expected True, or the first age of each band"
            " in whole years, rising, such as [0, 18, 65]"
        )
    return starts


def files(frame: pd.DataFrame) -> pd.Series[Any]:
    """What `annotate.resolve` gives of each row; None where a row has no `source` or no `path`.

    frame: has these two columns. The texts are Python's own: a name that is not UTF-8 fits into
    no other.
    """
    import pandas as pd

    sources, paths = (
        [None if missing else text for text, missing in zip(column, column.isna(), strict=True)]
        for column in (frame["source"], frame["path"])
    )
    folders = {
        source: os.fsdecode(unescape(source)) for source in set(sources) if source is not None
    }
    found = [
        None if source is None or path is None else _file(folders[source], source, path)
        for source, path in zip(sources, paths, strict=True)
    ]
    return pd.Series(found, frame.index, dtype=object)


def _file(folder: str, source: str, path: str) -> str:
    """As `resolve`, but quick where nothing is escaped. folder: the source as it opens."""
    if "\\" not in path and MEMBER_MARK not in path:
        return os.path.join(folder, path)
    return resolve({"source": source, "path": path})
