"""The Python interface: the same runs as the command line's, into pandas or row by row."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from annotate.frames import to_frame
from annotate.model import Model
from annotate.pipeline import prepare, run_table
from annotate.run_config import RunConfig

if TYPE_CHECKING:
    import pandas as pd

Sources = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def run(
    sources: Sources = (), *, faces: str = "detect", model: str | Model = "base", **options: Any
) -> pd.DataFrame:
    """Label images and return the rows.

    sources: a folder, file, archive or glob pattern, or several of them; "-" is a list of paths on
    stdin. table=PATH and column=NAME, beside them or alone, read a table of paths. faces: "detect"
    for whole photographs, "crop" where each image is one aligned face. model: the name of a bundled
    model, a model folder, or a loaded model.
    options: the other fields of `annotate.run_config.RunConfig`, such as batch_size or exclude.
    Returns a DataFrame with the columns of the output, one row a face and at least one an input;
    inputs that failed are rows with a `status`, not exceptions.
    Raises AnnotateError where the run cannot be done.
    """
    config, loaded = _config(sources, faces, model, options)
    return to_frame(run_table(config, model=loaded).table)


def iter_rows(
    sources: Sources = (), *, faces: str = "detect", model: str | Model = "base", **options: Any
) -> Iterator[dict[str, Any]]:
    """Label images and yield each row as a dict as soon as its batch is done; flat in memory.

    Takes what `run` takes. Values are Python's own; missing ones are None.
    Raises AnnotateError where the run cannot be done, at the first row.
    """
    config, loaded = _config(sources, faces, model, options)
    with contextlib.closing(prepare(config, model=loaded).batches()) as batches:
        for batch in batches:
            yield from batch.to_pylist()


def _config(
    sources: Sources, faces: str, model: str | Model, options: dict[str, Any]
) -> tuple[RunConfig, Model | None]:
    several = [sources] if isinstance(sources, str | os.PathLike) else sources
    named = tuple(os.fspath(source) for source in several)
    if isinstance(model, Model):
        return RunConfig(named, faces=faces, batch_size=model.batch_size, **options), model
    return RunConfig(named, faces=faces, model=model, **options), None
