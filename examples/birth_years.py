"""When the people in an archive were born, as their faces and the capture times of pictures say.

    python examples/birth_years.py people.parquet --plot births.png
    python examples/birth_years.py photos/ --model nano

An estimate for each face, with the 80 % interval of its age: nothing here knows which faces are
one person's. Ten pictures of somebody give ten estimates that differ, and their mean is not ten
times as good: whoever looks young for their age does so in all ten.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from labelled import arguments, labelled, run

from annotate.errors import shown
from annotate.report.plots import MAIN, SOFT, figure, look, png

DAYS_A_YEAR = 365.25
MOST_DRAWN = 300


def births(rows: pd.DataFrame) -> pd.DataFrame:
    """`born`, `born_p10` and `born_p90`, years with their fractions, of each face with an age, an
    interval and a capture time; `taken`, and the `path` and `face_index` that say which face it is.

    One born later is younger: the late end of the interval comes of `age_p10`.
    """
    faces = rows.dropna(subset=["captured_at", "age", "age_p10", "age_p90"])
    taken = faces["captured_at"].dt.year + (faces["captured_at"].dt.day_of_year - 1) / DAYS_A_YEAR
    return faces[["path", "face_index"]].assign(
        taken=taken,
        born=taken - faces["age"],
        born_p10=taken - faces["age_p90"],
        born_p90=taken - faces["age_p10"],
    )


def plot(estimates: pd.DataFrame, target: Path) -> None:
    """Draw the interval of each face against the time of its picture."""
    some = estimates.sample(min(len(estimates), MOST_DRAWN), random_state=0)
    with look():
        drawing, axes = figure(8.0, 5.0)
        axes.vlines(some["taken"], some["born_p10"], some["born_p90"], color=MAIN, alpha=0.25)
        axes.scatter(some["taken"], some["born"], color=MAIN, s=12, label="a face, 80 % interval")
        ends = [some["taken"].min(), some["taken"].max()]
        axes.plot(ends, ends, color=SOFT, linestyle="--", linewidth=1, label="born when taken")
        axes.set(title="Estimated births by capture time", xlabel="taken", ylabel="born")
        axes.legend(loc="upper left")
        target.write_bytes(png(drawing))


def main() -> None:
    """Print the estimates and how many were born in which decade, and draw them."""
    parser = arguments(__doc__)
    parser.add_argument("--plot", type=Path, help="a PNG to write")
    options = parser.parse_args()
    rows = labelled(options)
    estimates = births(rows)
    others = rows["age"].notna().sum() - len(estimates)
    print(f"{len(estimates):,} faces; {others:,} more without a capture time or an interval")
    if estimates.empty:
        return
    listed = estimates.assign(path=estimates["path"].map(shown)).round(1)
    print(listed.to_string(index=False, max_rows=20), end="\n\n")
    decades = (estimates["born"] // 10 * 10).astype(int).value_counts().sort_index()
    print(decades.rename_axis("born from").rename("faces").to_frame().to_string(), end="\n\n")
    width = (estimates["born_p90"] - estimates["born_p10"]).median()
    print(f"half of the intervals are wider than {width:.0f} years")
    if options.plot:
        plot(estimates, options.plot)


if __name__ == "__main__":
    run(main)
