"""The demo: photographs that ship inside installed packages in, labels and a picture out."""

from __future__ import annotations

import importlib.util
import io
import os
import tempfile
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from annotate.errors import AnnotateError, shown
from annotate.frames import to_frame
from annotate.images import decode
from annotate.pipeline import run_table
from annotate.report.pictures import draw_faces, side_by_side
from annotate.run_config import RunConfig
from annotate.writers import open_output

if TYPE_CHECKING:
    import pandas as pd

PHOTOGRAPHS = (
    ("eileen_collins.png", "skimage", "data/astronaut.png"),
    ("grace_hopper.jpg", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
)
"""Name here, package and file there. Both are in the public domain."""

PICTURE_HEIGHT_PX = 640
"""Every photograph is drawn at this height, whatever its own."""

CAPTION = (
    "apparent age (80 % interval), apparent gender and its probability;"
    " dashes and ? mark what is uncertain"
)


def run_demo(folder: str) -> str:
    """Label the photographs that are installed, and return what there is to tell.

    folder: gets `photographs/`, `people.parquet`, `people.csv` and `annotated.jpg`; what bears
    these names is replaced. Raises AnnotateError where there is no photograph, or the folder
    cannot be written.
    """
    out = Path(folder)
    try:
        photographs = [
            _copy(source, out / "photographs" / name) for name, source in installed_photographs()
        ]
        if not photographs:
            raise AnnotateError(
                "the demo found no photograph: expected grace_hopper.jpg in matplotlib's sample"
                " data; pip install --force-reinstall matplotlib brings it back"
            )
        result = run_table(RunConfig(tuple(map(str, photographs)), faces="detect"))
        outputs = [out / "people.parquet", out / "people.csv"]
        for output in outputs:
            with open_output(str(output), result.table.schema, overwrite=True) as writer:
                for batch in result.table.to_batches():
                    writer.write(batch)
        people = to_frame(result.table)
        picture = out / "annotated.jpg"
        _put(picture, _jpeg(_annotated(photographs, people), comment=table(people)))
    except OSError as error:
        reason = error.strerror or str(error)
        raise AnnotateError(f"cannot write the demo to {shown(folder, 300)}: {reason}") from error
    written = "\n".join(f"  {path}" for path in (*photographs, *outputs, picture))
    return f"{table(people)}\n\n{result.summary.render()}\n\nwritten:\n{written}\n"


def table(people: pd.DataFrame) -> str:
    """The labels for a terminal: a line a face, without a final newline."""
    heads = ("path", "face", "age", "80 % interval", "gender", "P(female)", "score", "status")
    lines = [(*heads, "flags"), *(_cells(row) for row in people.to_dict("records"))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells(row: Mapping[Hashable, Any]) -> tuple[str, ...]:
    """One line of the table; a dash where a value is missing."""
    import pandas as pd

    def said(form: str, *columns: str) -> str:
        values = [row[column] for column in columns]
        return "-" if any(pd.isna(value) for value in values) else form.format(*values)

    face = "-" if pd.isna(row["face_index"]) else f"{row['face_index'] + 1} of {row['face_count']}"
    return (
        row["path"],
        face,
        said("{:.0f}", "age"),
        said("{:.0f} to {:.0f}", "age_p10", "age_p90"),
        said("{}", "gender"),
        said("{:.2f}", "female_probability"),
        said("{:.3f}", "detection_score"),
        row["status"],
        said("{}", "flags"),
    )


def installed_photographs() -> Iterator[tuple[str, Path]]:
    """The name here and the file of each photograph that is there, without an import."""
    for name, package, inside in PHOTOGRAPHS:
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            source = Path(found.origin).parent / inside
            if source.is_file():
                yield name, source


def _annotated(photographs: Sequence[Path], people: pd.DataFrame) -> Image.Image:
    """The photographs with their labels, side by side."""
    pictures = []
    for photograph in photographs:
        whole = Image.fromarray(decode(photograph.read_bytes()).pixels)
        size = round(whole.width * PICTURE_HEIGHT_PX / whole.height), PICTURE_HEIGHT_PX
        scaled = whole.resize(size, Image.Resampling.LANCZOS)
        rows = people[people["path"] == photograph.name]
        pictures.append(draw_faces(np.asarray(scaled), rows))
    return side_by_side(pictures, CAPTION)


def _jpeg(picture: Image.Image, *, comment: str) -> bytes:
    """A JPEG file whose comment says in words what the picture shows."""
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=88, subsampling=0, optimize=True, comment=comment)
    return data.getvalue()


def _copy(source: Path, target: Path) -> Path:
    _put(target, source.read_bytes())
    return target


def _put(target: Path, data: bytes) -> None:
    """Write a file that appears at its name when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
