"""Train a preset on a few images, and measure the model on images that it never saw.

    python examples/train_small.py $UTKFACE --out small --limit 500 --epochs 2

The same as `python -m training fit`, `export` and `evaluate`, from Python. `small/model` is a model
folder then: annotate run faces/ --faces crop --model small/model -o people.parquet

A rehearsal: a few hundred images and epochs show that all works, not how good a preset is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from labelled import run

import annotate
from annotate.engines import import_keras
from annotate.errors import shown
from training.presets import PRESETS


def train(data: Path, out: Path, preset: str, limit: int | None, epochs: int) -> Path:
    """Fit and export. Returns the model folder, `out`/model; the run is in `out`/run."""
    import_keras()  # quietly, and only here: it takes seconds
    from training.export import export
    from training.fit import fit
    from training.material import Sources

    fit(PRESETS[preset], Sources(data), out / "run", limit=limit, epochs=epochs, progress=False)
    # Without the figures of a card, which take as long as labelling its parts many times.
    return export(out / "run", data, out / "model", name=f"{preset}-small", score=False)


def main() -> None:
    """Train, and print how it went and what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="faces with UTKFace names")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--preset", choices=list(PRESETS), default="gray128")
    parser.add_argument("--limit", type=int, default=500, help="images, evenly spaced")
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    model = train(options.data, options.out, options.preset, options.limit, options.epochs)

    history = pd.read_csv(options.out / "run" / "history.csv", index_col="epoch")
    print(history.filter(like="mae").round(2).to_string(), end="\n\n")

    from training.scoring import evaluate_part

    report = evaluate_part(model, options.data, "test", report_dir=options.out / "report")
    rows = report.predictions[["path", "label_age", "age", "label_gender", "gender"]]
    rows = rows.head().assign(path=rows["path"].map(shown))
    print(rows.to_string(index=False, float_format="{:.1f}".format), end="\n\n")
    scores = report.scores
    mae, accuracy = scores.overall.age.mae.value, scores.overall.gender.accuracy.value
    print(
        f"{scores.scored:,} images it never saw: age MAE {mae:.1f} years,"
        f" gender accuracy {accuracy:.3f}"
    )
    print(f"{annotate.load_model(str(model)).name} is in {model}")


if __name__ == "__main__":
    run(main)
