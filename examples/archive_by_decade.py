"""An archive by decade and age band: who is in the pictures of which years.

    python examples/archive_by_decade.py people.parquet --plot decades.png
    python examples/archive_by_decade.py photos/ --model nano

Counts faces, not people: who is in ten pictures counts ten times. Pictures that do not say when
they were taken are left out, and counted. A camera whose clock was never set says 1970, 2000 or the
like: look at what is there before you believe a decade.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from labelled import arguments, labelled, run

from annotate.report.plots import figure, look, png


def by_decade(rows: pd.DataFrame) -> pd.DataFrame:
    """Number of faces by decade of capture (index) and age band (columns)."""
    dated = rows.dropna(subset=["captured_at", "age_band"])
    decade = (dated["captured_at"].dt.year // 10 * 10).rename("decade")
    return pd.crosstab(decade, dated["age_band"], dropna=False)


def plot(faces: pd.DataFrame, target: Path) -> None:
    """Draw the shares of the age bands in each decade."""
    total = faces.sum(axis="columns")
    shares = faces.div(total, axis="index") * 100
    with look():
        drawing, axes = figure(8.0, 4.5)
        shares.plot.bar(ax=axes, stacked=True, width=0.82, colormap="viridis")
        axes.set(title="Faces by decade and apparent age", xlabel="", ylabel="% of the faces")
        axes.set_xticklabels([f"{year}s\nn = {total[year]:,}" for year in shares.index], rotation=0)
        axes.grid(visible=False, axis="x")
        axes.set_ylim(0, 100)
        handles, names = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], names[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0))
        target.write_bytes(png(drawing))


def main() -> None:
    """Print the table, and draw it."""
    parser = arguments(__doc__)
    parser.add_argument("--plot", type=Path, help="a PNG to write")
    options = parser.parse_args()
    rows = labelled(options)
    faces = by_decade(rows)
    print(faces.to_string(), end="\n\n")
    undated = rows["age"].notna() & rows["captured_at"].isna()
    print(f"{faces.to_numpy().sum():,} faces; {undated.sum():,} more without a capture time")
    if options.plot and len(faces):
        plot(faces, options.plot)


if __name__ == "__main__":
    run(main)
