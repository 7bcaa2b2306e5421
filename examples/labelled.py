"""Rows for the other examples: those of an output, or of pictures that are labelled now."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import annotate

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
