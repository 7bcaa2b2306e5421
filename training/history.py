"""Training history: one row an epoch, as CSV for analysis and as a picture of its curves."""

from __future__ import annotations

import csv
import io
import os
from math import isnan
from pathlib import Path

from annotate.errors import AnnotateError, one_line


def check_file(path: Path) -> None:
    """Refuse a place where write_text could not write, before long work. Raises AnnotateError."""
    if path.is_dir():
        raise AnnotateError(f"cannot write {path}: it is a folder, name a file in it")
    if not path.parent.is_dir():
        raise AnnotateError(f"cannot write {path}: there is no folder {path.parent}")


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all. Raises AnnotateError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    except OSError as error:
        raise AnnotateError(f"cannot write {path}: {error.strerror}") from error


def write(path: Path, rows: list[dict[str, float]]) -> None:
    """Write the rows as CSV, complete or not at all; all have the same columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read(path: Path) -> list[dict[str, float]]:
    """The rows that write wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def read_whole(path: Path, monitor: str) -> list[dict[str, float]]:
    """The rows of a run of one epoch or more, with what a model's card takes of them.

    monitor: the column by which an epoch was kept. Raises AnnotateError.
    """
    try:
        rows = read(path)
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise AnnotateError(f"cannot read {path}: {one_line(error)}") from error
    lacking = {"epoch", "seconds", monitor} - set(rows[0] if rows else ())
    if lacking:
        raise AnnotateError(
            f"{path} does not tell of epochs: it lacks {', '.join(sorted(lacking))}"
        )
    return rows


def best_row(rows: list[dict[str, float]], monitor: str) -> dict[str, float]:
    """The row of the epoch whose weights are kept: the lowest `monitor`, the first of equals."""
    # A training that diverged has epochs without a number: the worst there are.
    return min(rows, key=lambda row: (isnan(row[monitor]), row[monitor]))


def plot(path: Path, rows: list[dict[str, float]], title: str) -> None:
    """Draw loss, age error and gender accuracy of the training and validation parts over epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    panels = (
        ("loss", "loss", "Loss"),
        ("age_mae", "MAE, years", "Age error"),
        ("gender_accuracy", "accuracy", "Gender accuracy"),
    )
    for axes, (key, unit, name) in zip(figure.subplots(1, 3), panels, strict=True):
        for column, label in ((key, "training"), (f"val_{key}", "validation")):
            if column in rows[0]:
                axes.plot(epochs, [row[column] for row in rows], marker=".", label=label)
        axes.set(xlabel="epoch", ylabel=unit, title=name)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(f"Training of {title}")
    temporary = path.with_name(f".{path.stem}.tmp.png")
    figure.savefig(temporary, dpi=110)
    os.replace(temporary, path)
