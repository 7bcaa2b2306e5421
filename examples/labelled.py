"""For the other examples: rows, of an output or of pictures that are labelled now; and their end,
where something is not there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

import annotate
from annotate.errors import one_line, shown

OUTPUTS = (".parquet", ".csv", ".jsonl")


def arguments(about: str | None) -> argparse.ArgumentParser:
    """A parser with what every example takes. about: the docstring of the example."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="an output of annotate run, or pictures: a folder, a zip …")
    parser.add_argument("--faces", choices=("detect", "crop"), default="detect")
    parser.add_argument("--model", default="base")
    return parser


def labelled(options: argparse.Namespace) -> pd.DataFrame:
    """A row a face, and one for every input without a face, with an `age_band`."""
    source = Path(options.source)
    if source.suffix in OUTPUTS or any(source.glob("part-*.parquet")):
        return annotate.read(options.source, age_bands=True)
    rows = annotate.run(options.source, faces=options.faces, model=options.model)
    return rows.assign(age_band=annotate.age_bands(rows["age"]))


def run(main: Callable[[], object]) -> None:
    """Call the `main` of an example. What cannot be done, for a missing file say, is one line on
    stderr and exit code 1; an error of the example itself keeps its traceback.
    """
    try:
        main()
    except annotate.AnnotateError as error:
        sys.exit(one_line(error, 500))
    except OSError as error:
        name = "" if error.filename is None else f"{shown(error.filename, 300)}: "
        sys.exit(f"{name}{error.strerror or one_line(error)}")
