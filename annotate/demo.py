"""The demo: portraits that ship inside installed packages in, a labelled table and files out."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from annotate.errors import AnnotateError
from annotate.pipeline import RunConfig, prepare, write
from annotate.readers import read

HOPPER_BOX = (156, 131, 374, 349)
"""Pixels in matplotlib's grace_hopper.jpg: the eyes at 26 % and the mouth at 68 % of the height,
as in UTKFace's crops."""

COLLINS_BOX = (173, 77, 274, 178)
"""The same in scikit-image's astronaut.png."""

SHOWN = {"path": "{}", "age": "{:.1f}", "age_p10": "{:.1f}", "age_p90": "{:.1f}"}
SHOWN |= {"gender": "{}", "female_probability": "{:.2f}", "status": "{}"}
"""Columns of the printed table and their formats; the outputs hold all columns in full."""


def run_demo(folder: str) -> str:
    """Crop the portraits, label the crops, and return what there is to tell.

    folder: gets `faces/*.png`, `people.parquet` and `people.csv`.
    Raises AnnotateError where the folder cannot be written.
    """
    out = Path(folder)
    faces = out / "faces"
    try:
        faces.mkdir(parents=True, exist_ok=True)
        for name, source, box in _portraits():
            with Image.open(source) as picture:
                picture.convert("RGB").crop(box).save(faces / f"{name}.png")
    except OSError as error:
        raise AnnotateError(f"cannot write the demo to {folder}: {error}") from error
    config = RunConfig((str(faces),), faces="crop")
    outputs = [out / "people.parquet", out / "people.csv"]
    for output in outputs:
        run = prepare(config)
        write(run, str(output), overwrite=True)
    formats = {column: form.format for column, form in SHOWN.items()}
    table = read(outputs[0])[list(SHOWN)].to_string(index=False, formatters=formats)
    written = "\n".join(f"  {path}" for path in [*sorted(faces.iterdir()), *outputs])
    return f"{table}\n\n{run.summary.render()}\n\nwritten:\n{written}\n"


def _portraits() -> Iterator[tuple[str, Path, tuple[int, int, int, int]]]:
    """(name, picture, box of the face) of each portrait that is installed."""
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib is not None and matplotlib.origin is not None:
        data = Path(matplotlib.origin).parent / "mpl-data" / "sample_data"
        yield "grace_hopper", data / "grace_hopper.jpg", HOPPER_BOX
    skimage = importlib.util.find_spec("skimage")
    if skimage is not None and skimage.origin is not None:
        data = Path(skimage.origin).parent / "data"
        yield "eileen_collins", data / "astronaut.png", COLLINS_BOX
