"""Label pictures and look at the rows with pandas.

    python examples/pandas_analysis.py people.parquet
    python examples/pandas_analysis.py faces/ --faces crop

Prints who is in the pictures, how sure the model is, and what went wrong.
"""

from __future__ import annotations

import pandas as pd
from labelled import arguments, labelled, run

import annotate
from annotate.errors import shown
from annotate.records import Status

NONE = "-"
"""What is printed where there is nothing: NaN says nothing to people."""

FAILURES = [str(status) for status in Status if status.is_failure]
"""Statuses of what went wrong. Duplicates, RAW and video went as they should."""


def main(rows: pd.DataFrame) -> None:
    """Print what is in the rows."""
    print(rows["status"].value_counts().loc[lambda count: count > 0], end="\n\n")

    faces = rows[rows["status"] == "ok"]
    ages = faces.groupby("gender", observed=True)["age"].describe().round(1)
    print(ages.to_string(na_rep=NONE), end="\n\n")
    bands = faces.groupby(["age_band", "gender"], observed=False).size().unstack()
    print(bands.to_string(), end="\n\n")

    # The least certain faces are the ones worth a person's look.
    widest = faces.assign(years=faces["age_p90"] - faces["age_p10"]).nlargest(5, "years")
    listed = widest[["path", "age", "age_p10", "age_p90", "gender"]]
    # A name may hold what a terminal would obey; `shown` makes escapes of it.
    print(
        listed.to_string(
            index=False, na_rep=NONE, float_format="{:.1f}".format, formatters={"path": shown}
        ),
        end="\n\n",
    )

    failed = rows[rows["status"].isin(FAILURES)]
    for row in failed.fillna({"error": NONE}).to_dict("records"):
        print(f"{shown(annotate.resolve(row), 300)}: {row['status']}: {row['error']}")


if __name__ == "__main__":
    run(lambda: main(labelled(arguments(__doc__).parse_args())))
