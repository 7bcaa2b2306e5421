"""Label pictures and look at the rows with pandas.

    python examples/pandas_analysis.py people.parquet
    python examples/pandas_analysis.py faces/ --faces crop

Prints who is in the pictures, how sure the model is, and what went wrong.
"""

from __future__ import annotations

import pandas as pd
from labelled import arguments, labelled

import annotate
from annotate.errors import shown


def main(rows: pd.DataFrame) -> None:
    """Print what is in the rows."""
    print(rows["status"].value_counts().loc[lambda count: count > 0], end="\n\n")

    faces = rows[rows["status"] == "ok"]
    print(faces.groupby("gender")["age"].describe().round(1), end="\n\n")
    print(pd.crosstab(faces["age_band"], faces["gender"], dropna=False), end="\n\n")

    # The least certain faces are the ones worth a person's look.
    widest = faces.assign(years=faces["age_p90"] - faces["age_p10"]).nlargest(5, "years")
    listed = widest[["path", "age", "age_p10", "age_p90", "gender"]]
    # A name may hold what a terminal would obey; `shown` makes escapes of it.
    print(
        listed.to_string(index=False, float_format="{:.1f}".format, formatters={"path": shown}),
        end="\n\n",
    )

    failed = rows[~rows["status"].isin(["ok", "no_face"])]
    for row in failed.to_dict("records"):
        print(f"{shown(annotate.resolve(row), 300)}: {row['status']}: {row['error']}")


if __name__ == "__main__":
    main(labelled(arguments(__doc__).parse_args()))
