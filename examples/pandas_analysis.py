"""Label a folder of face crops and look at it with pandas.

Usage: python examples/pandas_analysis.py SOURCE, where SOURCE is a folder of face crops, or an
output of `annotate run` such as people.parquet.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

import annotate

DECADES = [0, 10, 20, 30, 40, 50, 60, 70, 80, 150]


def labelled(source: str) -> pd.DataFrame:
    """The rows of a folder of face crops, or of an output that is there already."""
    if Path(source).suffix in (".parquet", ".csv", ".jsonl"):
        return annotate.read(source)
    return annotate.run(source, faces="crop")


def main(source: str) -> None:
    """Print who is in the pictures, how sure the model is, and what went wrong."""
    rows = labelled(source)
    print(rows.status.value_counts(), end="\n\n")

    faces = rows[rows.status == "ok"].copy()
    print(faces.groupby("gender").age.describe().round(1), end="\n\n")

    faces["decade"] = pd.cut(faces.age, DECADES, right=False)
    print(faces.pivot_table(index="decade", columns="gender", values="path", aggfunc="count"))
    print()

    # The least certain faces are the ones worth a person's look.
    faces["interval"] = faces.age_p90 - faces.age_p10
    widest = faces.nlargest(5, "interval")[["path", "age", "age_p10", "age_p90", "gender"]]
    print(widest.round(1).to_string(index=False))

    failed = rows[~rows.status.isin(["ok", "no_face"])]
    for _, row in failed.iterrows():
        print(f"{annotate.resolve(row)}: {row.status}: {row.error}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
